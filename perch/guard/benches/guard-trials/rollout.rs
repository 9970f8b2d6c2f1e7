//! One simulated rollout with the real guard: it evaluates after every few requests, and its decisions are carried out.

use contract::evidence::{Clusters, Evidence, Feedback, Users, VERSION};
use contract::switch::Share;
use perch::guard::decision::{Action, Check, CheckOutcome};
use perch::guard::plan::Plan;
use perch::guard::snapshot::{GatewayShare, PartCount, ServingModel, SystemSnapshot};
use perch::guard::{Guard, OperatorCommand};
use perch::stats::moments::Moments;

use crate::random::Random;
use crate::traffic::{Agreement, Habits, position};

/// Time between evaluations, in milliseconds.
const EVALUATION_MS: u64 = 5_000;

/// The conditions of a rollout.
pub(crate) struct Scenario<'a> {
    pub(crate) plan: &'a Plan,
    /// Number of users; a user's index is the square of a uniform number, so some make many requests.
    pub(crate) users: usize,
    pub(crate) agreement: &'a Agreement,
    /// Agreement after the change.
    pub(crate) changed: Option<&'a Agreement>,
    /// Time of the change, in requests after the start of the first step.
    pub(crate) change_after: u64,
    pub(crate) rule_habits: &'a Habits,
    pub(crate) model_habits: &'a Habits,
    /// Probability that a request is followed by feedback.
    pub(crate) feedback: f64,
    /// Each user gives feedback once at most.
    pub(crate) feedback_once: bool,
    /// Probability that a canary request falls back.
    pub(crate) fallback: f64,
    /// Probability that a canary response is slow; baseline responses never are.
    pub(crate) slow: f64,
    /// Part of the candidate arm's events that is lost.
    pub(crate) lost: f64,
    /// Requests between two evaluations.
    pub(crate) requests_per_evaluation: u64,
    /// The trial ends when the rollout has reached its last step.
    pub(crate) until_complete: bool,
    /// The rollout is given up after this many requests.
    pub(crate) at_most: u64,
}

/// The result of a rollout.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TrialResult {
    pub(crate) end: RolloutEnd,
    /// Requests in all.
    pub(crate) requests: u64,
    /// Requests since the change (or since the last step's start without one).
    pub(crate) since_change: u64,
    /// Users with feedback in the last step.
    pub(crate) feedback_users: u64,
    /// Users seen in the last step.
    pub(crate) seen_users: u64,
    pub(crate) evaluations: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RolloutEnd {
    Complete,
    RolledBack(Check),
    Frozen,
    GivenUp,
}

/// Counts of each user within a step; allocated once for many rollouts.
pub(crate) struct UserTable {
    users: Vec<User>,
    step: u32,
}

#[derive(Clone, Copy, Default)]
struct User {
    step: u32,
    given: u32,
    accepted: u32,
}

impl UserTable {
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
    fn new(user_table: &mut UserTable) -> Self {
        user_table.step += 1;
        let none = Clusters::default();
        Self { users: Users { rule: 0, model: 0, sampled_one_in: 1 }, rule: none, model: none, requests: 0 }
    }
}

pub(crate) fn run(scenario: &Scenario<'_>, seed: u64, user_table: &mut UserTable) -> TrialResult {
    let mut random = Random::new(seed);
    let mut guard = Guard::new(scenario.plan.clone());
    let mut snapshot = empty();
    let (mut now, mut share, mut evaluations, mut requests) = (1_u64, Share::OFF, 0_u64, 0_u64);
    snapshot.share = GatewayShare::Known(share);
    guard.evaluate_without_text(now, &snapshot);
    if guard.apply_command(now, OperatorCommand::Start(Box::new(scenario.plan.clone()))).is_err() {
        return TrialResult {
            end: RolloutEnd::GivenUp,
            requests,
            since_change: 0,
            feedback_users: 0,
            seen_users: 0,
            evaluations,
        };
    }
    let mut step = Step::new(user_table);
    let mut first_step_at = None;
    let end = loop {
        for _ in 0..scenario.requests_per_evaluation {
            let changed = first_step_at.is_some_and(|at| requests >= at + scenario.change_after);
            let agreement = if changed { scenario.changed.unwrap_or(scenario.agreement) } else { scenario.agreement };
            request(scenario, agreement, seed, share, &mut snapshot, &mut step, user_table, &mut random);
            requests += 1;
        }
        now += EVALUATION_MS;
        evaluations += 1;
        snapshot.evidence = Some(Evidence {
            version: VERSION,
            since_ms: guard.evidence_since(),
            users: step.users,
            feedback: Some(Feedback { rule: step.rule, model: step.model }),
        });
        snapshot.share = GatewayShare::Known(share);
        let decision = guard.evaluate_without_text(now, &snapshot);
        match decision.action {
            Action::Hold => {
                let last = guard.next_step().is_none();
                if scenario.until_complete && last && step.requests >= 1_000 {
                    break RolloutEnd::Complete;
                }
                if requests >= scenario.at_most {
                    break RolloutEnd::GivenUp;
                }
            }
            Action::Freeze => break RolloutEnd::Frozen,
            Action::Rollback => {
                let breach = decision.checks.iter().find(|result| result.outcome == CheckOutcome::Breach);
                break RolloutEnd::RolledBack(breach.map_or(Check::Agreement, |result| result.check));
            }
            Action::Advance => {
                share = decision.set_share.as_deref().and_then(Share::from_runtime).unwrap_or(share);
                guard.applied(now, &snapshot);
                step = Step::new(user_table);
                first_step_at.get_or_insert(requests);
            }
        }
    };
    let since = first_step_at.map_or(0, |at| requests.saturating_sub(at + scenario.change_after));
    TrialResult {
        end,
        requests,
        since_change: since,
        feedback_users: step.rule.users + step.model.users,
        seen_users: step.users.rule + step.users.model,
        evaluations,
    }
}

#[allow(clippy::too_many_arguments)]
fn request(
    scenario: &Scenario<'_>,
    agreement: &Agreement,
    seed: u64,
    share: Share,
    snapshot: &mut SystemSnapshot,
    step: &mut Step,
    user_table: &mut UserTable,
    random: &mut Random,
) {
    step.requests += 1;
    if let Some(moments) = &mut snapshot.requests {
        moments.push(agreement.draw(random));
    }
    add(&mut snapshot.dropped, 1.0, 0.0);
    add(&mut snapshot.unavailable, 1.0, 0.0);
    if share == Share::OFF {
        return;
    }
    let point = random.unit();
    let index = ((point * point * scenario.users as f64) as usize).min(scenario.users - 1);
    let model = position(seed, index) < share.fraction();
    if model && scenario.lost > 0.0 && random.chance(scenario.lost) {
        return;
    }
    add(&mut snapshot.assigned, 1.0, if model { 1.0 } else { 0.0 });
    if model {
        add(&mut snapshot.canary, 1.0, if random.chance(scenario.fallback) { 1.0 } else { 0.0 });
        add(&mut snapshot.canary_slow, 1.0, if random.chance(scenario.slow) { 1.0 } else { 0.0 });
    } else {
        add(&mut snapshot.baseline_slow, 1.0, 0.0);
    }
    let Some(user) = user_table.users.get_mut(index) else { return };
    if user.step != user_table.step {
        *user = User { step: user_table.step, given: 0, accepted: 0 };
        if model {
            step.users.model += 1;
        } else {
            step.users.rule += 1;
        }
    }
    if random.chance(scenario.feedback) && !(scenario.feedback_once && user.given > 0) {
        let habits = if model { scenario.model_habits } else { scenario.rule_habits };
        let accepted = u32::from(habits.accepts(seed, index, random));
        let arm = if model { &mut step.model } else { &mut step.rule };
        give(arm, user, accepted);
    }
}

/// Adds one feedback of a user to the sums of `Clusters`.
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

fn add(part: &mut Option<PartCount>, all: f64, some: f64) {
    if let Some(part) = part {
        part.all += all;
        part.part += some;
    }
}

fn empty() -> SystemSnapshot {
    let none = Some(PartCount::default());
    SystemSnapshot {
        requests: Some(Moments::NONE),
        canary: none,
        assigned: none,
        canary_slow: none,
        baseline_slow: none,
        dropped: none,
        unavailable: none,
        model: ServingModel::Known("simulated".to_owned()),
        ..SystemSnapshot::default()
    }
}
