use contract::evidence::{Clusters, Evidence, Feedback, Users, VERSION as EVIDENCE_VERSION};
use contract::share::Share;
use stats::moments::Moments;

use super::super::decision::{Action, Check, Decision, Verdict};
use super::super::observation::{Observation, Part, SeenModel, SeenShare};
use super::super::plan::Plan;
use super::*;

const LOOK_MS: u64 = 5_000;
const PLAN: &str = "
steps: [10%, {share: 50%, manual: true}, 100%]
minimum_time: 60s
minimum_requests: 500
baseline: {minimum_time: 60s, minimum_requests: 2000}
";

/// A system under guard: what a look would see, and the shell that carries decisions out.
struct World {
    guard: Guard,
    now_ms: u64,
    seen: Observation,
    share: Share,
    /// New requests per look.
    requests: f64,
    agreement: f64,
    fallbacks: f64,
    accepts: (f64, f64),
    split: f64,
    step_users: f64,
}

impl World {
    fn new() -> Self {
        let none = Part::default();
        let seen = Observation {
            requests: Some(Moments::NONE),
            canary: Some(none),
            assigned: Some(none),
            canary_slow: Some(none),
            rule_slow: Some(none),
            dropped: Some(none),
            unavailable: Some(none),
            model: SeenModel::Is("m1".into()),
            ..Observation::default()
        };
        Self {
            guard: Guard::new(Plan::parse(PLAN).unwrap()),
            now_ms: 1_000_000,
            seen,
            share: Share::OFF,
            requests: 200.0,
            agreement: 0.9,
            fallbacks: 0.0,
            accepts: (0.6, 0.6),
            split: 1.0,
            step_users: 0.0,
        }
    }

    fn started() -> Self {
        let mut world = Self::new();
        world.look();
        world.order(Order::Start(Box::new(Plan::parse(PLAN).unwrap()))).unwrap();
        world
    }

    fn order(&mut self, order: Order) -> Result<(), OrderError> {
        self.guard.order(self.now_ms, order)
    }

    /// Time passes, requests come, the guard looks and the shell obeys.
    fn look(&mut self) -> Decision {
        let decision = self.look_only();
        if let Some(text) = &decision.set_share {
            self.share = Share::from_runtime(text).unwrap();
            self.step_users = 0.0;
            self.guard.applied(self.now_ms, &self.seen);
        }
        decision
    }

    fn look_only(&mut self) -> Decision {
        self.now_ms += LOOK_MS;
        let (n, share) = (self.requests, self.share.fraction());
        let canary = n * share;
        let add = |part: &mut Option<Part>, all: f64, some: f64| {
            let held = part.unwrap();
            *part = Some(Part { all: held.all + all, part: held.part + some });
        };
        let requests = self.seen.requests.unwrap();
        let agree = n * self.agreement;
        self.seen.requests = Some(requests.plus(Moments { count: n, sum: agree, squares: agree }));
        add(&mut self.seen.canary, canary, canary * self.fallbacks);
        add(&mut self.seen.assigned, n, canary);
        add(&mut self.seen.canary_slow, canary, 0.0);
        add(&mut self.seen.rule_slow, n - canary, 0.0);
        add(&mut self.seen.dropped, n, 0.0);
        add(&mut self.seen.unavailable, n, 0.0);
        self.step_users += n / 2.0;
        self.seen.evidence = Some(self.evidence());
        self.seen.share = SeenShare::Is(self.share);
        self.guard.judge(self.now_ms, &self.seen)
    }

    fn evidence(&self) -> Evidence {
        let share = self.share.fraction();
        let arm = |users: f64, rate: f64| {
            let mut clusters = Clusters::default();
            for user in 0..users as u64 {
                clusters.add(2, if (user as f64 * 0.618).fract() < rate { 2 } else { 0 });
            }
            clusters
        };
        let model = self.step_users * share * self.split;
        let rule = self.step_users * (1.0 - share);
        Evidence {
            version: EVIDENCE_VERSION,
            since_ms: self.guard.evidence_since(),
            users: Users { rule: rule as u64, model: model as u64, sampled_one_in: 1 },
            feedback: Some(Feedback { rule: arm(rule * 0.5, self.accepts.0), model: arm(model * 0.5, self.accepts.1) }),
        }
    }

    /// Looks until the guard does something else than hold.
    fn until_moved(&mut self, looks: usize) -> Decision {
        for _ in 0..looks {
            let decision = self.look();
            if decision.action != Action::Hold {
                return decision;
            }
        }
        panic!("nothing in {looks} looks: {:?}", self.look().reasons);
    }

    fn at_ten_percent() -> Self {
        let mut world = Self::started();
        let decision = world.until_moved(200);
        assert_eq!(decision.set_share.as_deref(), Some("10"), "{:?}", decision.reasons);
        world
    }
}

#[test]
fn a_good_model_goes_up_step_by_step_and_waits_for_a_human_where_the_plan_says_so() {
    let mut world = World::at_ten_percent();
    assert_eq!(world.until_moved(500).set_share.as_deref(), Some("50"));
    (0..500).for_each(|_| assert_eq!(world.look().action, Action::Hold));
    let decision = world.look();
    assert_eq!(decision.reasons, ["this step waits for a human's word"]);
    world.order(Order::Approve).unwrap();
    assert_eq!(world.look().set_share.as_deref(), Some("100"));
    (0..100).for_each(|_| assert_eq!(world.look().action, Action::Hold));
    assert_eq!(world.share, Share::ALL);
}

#[test]
fn a_drop_in_agreement_rolls_back_with_value_bound_threshold_and_sample() {
    let mut world = World::at_ten_percent();
    world.agreement = 0.8;
    let decision = world.until_moved(50);
    assert_eq!((decision.action, decision.set_share.as_deref()), (Action::Rollback, Some("0")));
    let judgement = decision.of(Check::Agreement).unwrap();
    assert_eq!(judgement.verdict, Verdict::Breach);
    assert!(judgement.value.unwrap() < 0.81);
    assert!(judgement.upper.unwrap() < judgement.threshold.unwrap());
    assert!(judgement.sample > 100.0);
    assert!(decision.reasons[0].starts_with("agreement has fallen: 80.0% of"), "{:?}", decision.reasons);
}

#[test]
fn a_rollback_is_latched_until_an_operator_resumes_from_zero() {
    let mut world = World::at_ten_percent();
    world.agreement = 0.8;
    world.until_moved(50);
    world.agreement = 0.9;
    for _ in 0..1000 {
        assert_eq!(world.look().action, Action::Hold);
    }
    assert_eq!(world.share, Share::OFF);
    world.order(Order::Resume).unwrap();
    assert_eq!(world.until_moved(200).set_share.as_deref(), Some("10"));
}

#[test]
fn a_rollback_that_did_not_get_through_is_asked_for_again() {
    let mut world = World::at_ten_percent();
    world.agreement = 0.8;
    while world.look_only().action == Action::Hold {}
    assert_eq!(world.look_only().action, Action::Rollback);
    world.seen.share = SeenShare::Differs("a holds 0%, b holds 10%".into());
    let seen = world.seen.clone();
    assert_eq!(world.guard.judge(world.now_ms, &seen).action, Action::Rollback);
    assert_eq!(world.look().action, Action::Rollback);
    assert_eq!(world.look().action, Action::Hold);
}

#[test]
fn people_who_like_the_model_less_roll_it_back() {
    let mut world = World::at_ten_percent();
    world.until_moved(500);
    world.accepts = (0.6, 0.5);
    let decision = world.until_moved(200);
    assert_eq!(decision.action, Action::Rollback);
    assert!(decision.reasons[0].starts_with("people accept the model less"), "{:?}", decision.reasons);
}

#[test]
fn a_difference_that_may_be_chance_does_not_hold_a_small_share_for_ever() {
    let mut world = World::at_ten_percent();
    world.accepts = (0.6, 0.56);
    let decision = world.until_moved(100);
    assert_eq!(decision.action, Action::Advance);
    assert_ne!(decision.of(Check::AcceptRate).unwrap().verdict, Verdict::Breach);
}

#[test]
fn a_scorer_that_is_gone_rolls_back_within_a_few_looks() {
    let mut world = World::at_ten_percent();
    (0..5).for_each(|_| drop(world.look()));
    world.fallbacks = 1.0;
    let decision = world.until_moved(8);
    assert_eq!(decision.action, Action::Rollback);
    assert_eq!(decision.of(Check::Fallback).unwrap().verdict, Verdict::Breach);
}

#[test]
fn a_sample_ratio_mismatch_freezes_and_keeps_the_share() {
    let mut world = World::at_ten_percent();
    world.split = 0.4;
    let decision = world.until_moved(200);
    assert_eq!((decision.action, decision.set_share), (Action::Freeze, None));
    assert_eq!(world.share, Share::percent(10));
    world.split = 1.0;
    world.step_users = 0.0;
    (0..50).for_each(|_| assert_eq!(world.look().action, Action::Freeze));
    world.order(Order::Resume).unwrap();
    world.step_users = 0.0;
    assert_eq!(world.until_moved(500).set_share.as_deref(), Some("50"));
}

#[test]
fn another_model_under_the_ramp_freezes() {
    let mut world = World::at_ten_percent();
    world.look();
    world.seen.model = SeenModel::Is("m2".into());
    let decision = world.look();
    assert_eq!(decision.action, Action::Freeze);
    assert!(decision.reasons[0].contains("m1") && decision.reasons[0].contains("m2"));
}

#[test]
fn a_change_by_hand_pauses_and_a_breach_is_told_but_not_acted_on() {
    let mut world = World::at_ten_percent();
    world.share = Share::percent(20);
    world.agreement = 0.5;
    for _ in 0..50 {
        assert_eq!(world.look().action, Action::Hold);
    }
    assert_eq!(world.share, Share::percent(20), "the last human word holds");
    let reasons = world.look().reasons;
    assert!(reasons[0].contains("by hand from 10% to 20%"), "{reasons:?}");
    assert!(reasons[1].starts_with("would act: agreement has fallen"), "{reasons:?}");
    world.order(Order::Resume).unwrap();
    assert_eq!(world.until_moved(50).action, Action::Rollback);
}

#[test]
fn resumed_after_a_change_by_hand_it_goes_on_from_there() {
    let mut world = World::at_ten_percent();
    world.share = Share::percent(20);
    world.look();
    world.order(Order::Resume).unwrap();
    assert_eq!(world.until_moved(500).set_share.as_deref(), Some("50"));
}

#[test]
fn a_guard_that_was_ended_between_setting_and_saying_so_does_not_take_it_for_a_hand() {
    let mut world = World::at_ten_percent();
    let decision = loop {
        let decision = world.look_only();
        if decision.action == Action::Advance {
            break decision;
        }
    };
    world.guard = Guard::from_json(&world.guard.to_json().unwrap()).unwrap();
    world.share = Share::from_runtime(decision.set_share.as_deref().unwrap()).unwrap();
    world.step_users = 0.0;
    let decision = world.look();
    assert!(world.guard.state().paused.is_none(), "{:?}", decision.reasons);
    assert_eq!(world.guard.state().phase, Phase::Step);
}

#[test]
fn restarted_at_every_look_it_decides_the_same() {
    let run = |restarts: bool| {
        let mut world = World::started();
        let mut seen = Vec::new();
        for look in 0..400 {
            if look == 250 {
                world.agreement = 0.8;
            }
            if restarts {
                world.guard = Guard::from_json(&world.guard.to_json().unwrap()).unwrap();
            }
            let decision = world.look();
            seen.push((decision.action, decision.reasons));
        }
        seen
    };
    let (with, without) = (run(true), run(false));
    for (look, (with, without)) in with.iter().zip(&without).enumerate() {
        assert_eq!(with, without, "at look {look}");
    }
    assert!(with.iter().any(|(action, _)| *action == Action::Rollback));
}

#[test]
fn nothing_moves_without_data() {
    let blind: [fn(&mut Observation); 6] = [
        |seen| seen.requests = None,
        |seen| seen.canary = None,
        |seen| seen.dropped = None,
        |seen| seen.unavailable = None,
        |seen| seen.canary_slow = None,
        |seen| (seen.evidence, seen.assigned) = (None, None),
    ];
    for (index, blind) in blind.into_iter().enumerate() {
        let mut world = World::at_ten_percent();
        for _ in 0..500 {
            world.look_only();
            let mut seen = world.seen.clone();
            blind(&mut seen);
            world.now_ms += 1;
            let decision = world.guard.judge(world.now_ms, &seen);
            assert_eq!(decision.action, Action::Hold, "{index}");
            assert!(
                decision.reasons.iter().any(|reason| reason.contains("no data")),
                "{index}: {:?}",
                decision.reasons
            );
        }
    }
}

#[test]
fn an_empty_system_never_leaves_zero() {
    let mut world = World::started();
    world.requests = 0.0;
    for _ in 0..2000 {
        assert_eq!(world.look().action, Action::Hold);
    }
}

#[test]
fn a_ramp_starts_from_zero_only() {
    let mut world = World::new();
    let plan = || Order::Start(Box::new(Plan::parse(PLAN).unwrap()));
    assert_eq!(world.order(plan()), Err(OrderError::ShareUnknown));
    world.share = Share::percent(10);
    world.look();
    assert_eq!(world.order(plan()), Err(OrderError::NotAtZero(Share::percent(10))));
    assert_eq!(world.order(Order::Resume), Err(OrderError::NothingToResume));
}

#[test]
fn an_operators_rollback_is_latched_with_the_reason() {
    let mut world = World::at_ten_percent();
    world.order(Order::Rollback("support is flooded".into())).unwrap();
    let decision = world.look();
    assert_eq!(decision.set_share.as_deref(), Some("0"));
    assert!(decision.reasons[0].contains("support is flooded"));
    assert_eq!(world.look().action, Action::Hold);
}

#[test]
fn a_state_of_another_version_is_refused_by_name() {
    let text = Guard::new(Plan::parse("").unwrap()).to_json().unwrap().replace("\"version\":1", "\"version\":9");
    assert!(Guard::from_json(&text).unwrap_err().to_string().contains('9'));
    assert!(Guard::from_json("{").is_err());
}
