//! One simulated ramp under the guard itself: traffic comes, the guard looks after every few requests, and what it
//! decides is done.

use contract::evidence::{Clusters, Evidence, Feedback, Users, VERSION};
use contract::share::Share;
use guard::decision::{Action, Check, Verdict};
use guard::observation::{Observation, Part, SeenModel, SeenShare};
use guard::plan::Plan;
use guard::{Guard, Order};
use stats::moments::Moments;

use crate::random::Random;
use crate::traffic::{Agreement, Habits, position};

/// Time between looks, in milliseconds.
const LOOK_MS: u64 = 5_000;

/// What a ramp meets.
pub(crate) struct World<'a> {
    pub(crate) plan: &'a Plan,
    /// Number of users; they come with the square of an even number, so some come often.
    pub(crate) users: usize,
    pub(crate) agreement: &'a Agreement,
    /// Agreement from the change on.
    pub(crate) changed: Option<&'a Agreement>,
    /// When the change comes, in requests after the first step's start; the last step's when `None`.
    pub(crate) change_after: u64,
    pub(crate) rule_habits: &'a Habits,
    pub(crate) model_habits: &'a Habits,
    /// Chance that a request brings a feedback.
    pub(crate) feedback: f64,
    /// Does a user give more than one?
    pub(crate) feedback_once: bool,
    /// Chance that a canary request falls back.
    pub(crate) fallback: f64,
    /// Chance that a canary answer is slow; the rules' are not.
    pub(crate) slow: f64,
    /// Part of the model arm's events that gets lost.
    pub(crate) lost: f64,
    /// Requests between two looks.
    pub(crate) per_look: u64,
    /// Does the trial end when the ramp has arrived at its last step?
    pub(crate) until_complete: bool,
    /// The ramp is given up after so many requests.
    pub(crate) at_most: u64,
}

/// How a ramp ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) end: End,
    /// Requests in all.
    pub(crate) requests: u64,
    /// Requests since the change (or since the last step's start without one).
    pub(crate) since_change: u64,
    /// Users with feedback in the last step.
    pub(crate) feedback_users: u64,
    /// Users seen in the last step.
    pub(crate) seen_users: u64,
    pub(crate) looks: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Complete,
    RolledBack(Check),
    Froze,
    GivenUp,
}

/// What is kept of each user within a step; allocated once for many ramps.
pub(crate) struct Memory {
    users: Vec<User>,
    step: u32,
}

#[derive(Clone, Copy, Default)]
struct User {
    step: u32,
    given: u32,
    accepted: u32,
}

impl Memory {
    pub(crate) fn new(users: usize) -> Self {
        Self { users: vec![User::default(); users], step: 0 }
    }
}

struct Step {
    users: Users,
    rule: Clusters,
    model: Clusters,
    requests: u64,
}

impl Step {
    fn new(memory: &mut Memory) -> Self {
        memory.step += 1;
        let none = Clusters::default();
        Self { users: Users { rule: 0, model: 0, sampled_one_in: 1 }, rule: none, model: none, requests: 0 }
    }
}

pub(crate) fn run(world: &World<'_>, seed: u64, memory: &mut Memory) -> Outcome {
    let mut random = Random::new(seed);
    let mut guard = Guard::new(world.plan.clone());
    let mut seen = empty();
    let (mut now, mut share, mut looks, mut requests) = (1_u64, Share::OFF, 0_u64, 0_u64);
    seen.share = SeenShare::Is(share);
    guard.judge_quietly(now, &seen);
    if guard.order(now, Order::Start(Box::new(world.plan.clone()))).is_err() {
        return Outcome { end: End::GivenUp, requests, since_change: 0, feedback_users: 0, seen_users: 0, looks };
    }
    let mut step = Step::new(memory);
    let mut first_step_at = None;
    let end = loop {
        for _ in 0..world.per_look {
            let changed = first_step_at.is_some_and(|at| requests >= at + world.change_after);
            let agreement = if changed { world.changed.unwrap_or(world.agreement) } else { world.agreement };
            request(world, agreement, seed, share, &mut seen, &mut step, memory, &mut random);
            requests += 1;
        }
        now += LOOK_MS;
        looks += 1;
        seen.evidence = Some(Evidence {
            version: VERSION,
            since_ms: guard.evidence_since(),
            users: step.users,
            feedback: Some(Feedback { rule: step.rule, model: step.model }),
        });
        seen.share = SeenShare::Is(share);
        let decision = guard.judge_quietly(now, &seen);
        match decision.action {
            Action::Hold => {
                let last = guard.next_step().is_none();
                if world.until_complete && last && step.requests >= 1_000 {
                    break End::Complete;
                }
                if requests >= world.at_most {
                    break End::GivenUp;
                }
            }
            Action::Freeze => break End::Froze,
            Action::Rollback => {
                let breach = decision.judgements.iter().find(|judgement| judgement.verdict == Verdict::Breach);
                break End::RolledBack(breach.map_or(Check::Agreement, |judgement| judgement.check));
            }
            Action::Advance => {
                share = decision.set_share.as_deref().and_then(Share::from_runtime).unwrap_or(share);
                guard.applied(now, &seen);
                step = Step::new(memory);
                first_step_at.get_or_insert(requests);
            }
        }
    };
    let since = first_step_at.map_or(0, |at| requests.saturating_sub(at + world.change_after));
    Outcome {
        end,
        requests,
        since_change: since,
        feedback_users: step.rule.users + step.model.users,
        seen_users: step.users.rule + step.users.model,
        looks,
    }
}

#[allow(clippy::too_many_arguments)]
fn request(
    world: &World<'_>,
    agreement: &Agreement,
    seed: u64,
    share: Share,
    seen: &mut Observation,
    step: &mut Step,
    memory: &mut Memory,
    random: &mut Random,
) {
    step.requests += 1;
    if let Some(moments) = &mut seen.requests {
        moments.push(agreement.draw(random));
    }
    add(&mut seen.dropped, 1.0, 0.0);
    add(&mut seen.unavailable, 1.0, 0.0);
    if share == Share::OFF {
        return;
    }
    let point = random.unit();
    let index = ((point * point * world.users as f64) as usize).min(world.users - 1);
    let model = position(seed, index) < share.fraction();
    if model && world.lost > 0.0 && random.chance(world.lost) {
        return;
    }
    add(&mut seen.assigned, 1.0, if model { 1.0 } else { 0.0 });
    if model {
        add(&mut seen.canary, 1.0, if random.chance(world.fallback) { 1.0 } else { 0.0 });
        add(&mut seen.canary_slow, 1.0, if random.chance(world.slow) { 1.0 } else { 0.0 });
    } else {
        add(&mut seen.rule_slow, 1.0, 0.0);
    }
    let Some(user) = memory.users.get_mut(index) else { return };
    if user.step != memory.step {
        *user = User { step: memory.step, given: 0, accepted: 0 };
        if model {
            step.users.model += 1;
        } else {
            step.users.rule += 1;
        }
    }
    if random.chance(world.feedback) && !(world.feedback_once && user.given > 0) {
        let habits = if model { world.model_habits } else { world.rule_habits };
        let accepted = u32::from(habits.accepts(seed, index, random));
        let arm = if model { &mut step.model } else { &mut step.rule };
        give(arm, user, accepted);
    }
}

/// One more feedback of a user: the sums of `Clusters`, kept up one by one.
fn give(arm: &mut Clusters, user: &mut User, accepted: u32) {
    let (k, a, one) = (u64::from(user.given), u64::from(user.accepted), u64::from(accepted));
    arm.users += u64::from(user.given == 0);
    arm.given += 1;
    arm.accepted += one;
    arm.given_squared += 2 * k + 1;
    arm.accepted_squared += one * (2 * a + 1);
    arm.given_accepted += (k + 1) * (a + one) - k * a;
    user.given += 1;
    user.accepted += accepted;
}

fn add(part: &mut Option<Part>, all: f64, some: f64) {
    if let Some(part) = part {
        part.all += all;
        part.part += some;
    }
}

fn empty() -> Observation {
    let none = Some(Part::default());
    Observation {
        requests: Some(Moments::NONE),
        canary: none,
        assigned: none,
        canary_slow: none,
        rule_slow: none,
        dropped: none,
        unavailable: none,
        model: SeenModel::Is("simulated".to_owned()),
        ..Observation::default()
    }
}
