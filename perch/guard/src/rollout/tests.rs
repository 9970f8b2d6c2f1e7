use contract::evidence::{Clusters, Evidence, Feedback, Users, VERSION as EVIDENCE_VERSION};
use contract::share::Share;
use stats::moments::Moments;

use super::super::decision::{Action, Check, CheckOutcome, Decision};
use super::super::plan::Plan;
use super::super::snapshot::{GatewayShare, PartCount, ServingModel, SystemSnapshot};
use super::*;

const EVALUATION_MS: u64 = 5_000;
const PLAN: &str = "
steps: [10%, {share: 50%, manual: true}, 100%]
minimum_time: 60s
minimum_requests: 500
baseline: {minimum_time: 60s, minimum_requests: 2000}
";

/// A simulated system with a guard whose decisions are carried out.
struct Harness {
    guard: Guard,
    now_ms: u64,
    snapshot: SystemSnapshot,
    share: Share,
    /// New requests per evaluation.
    requests: f64,
    agreement: f64,
    fallbacks: f64,
    accepts: (f64, f64),
    split: f64,
    step_users: f64,
}

impl Harness {
    fn new() -> Self {
        let none = PartCount::default();
        let snapshot = SystemSnapshot {
            requests: Some(Moments::NONE),
            canary: Some(none),
            assigned: Some(none),
            canary_slow: Some(none),
            baseline_slow: Some(none),
            dropped: Some(none),
            unavailable: Some(none),
            model: ServingModel::Known("m1".into()),
            ..SystemSnapshot::default()
        };
        Self {
            guard: Guard::new(Plan::parse(PLAN).unwrap()),
            now_ms: 1_000_000,
            snapshot,
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
        let mut harness = Self::new();
        harness.evaluate();
        harness.command(OperatorCommand::Start(Box::new(Plan::parse(PLAN).unwrap()))).unwrap();
        harness
    }

    fn command(&mut self, command: OperatorCommand) -> Result<(), CommandError> {
        self.guard.apply_command(self.now_ms, command)
    }

    /// Advances the time, counts requests, evaluates and carries out the decision.
    fn evaluate(&mut self) -> Decision {
        let decision = self.evaluate_only();
        if let Some(text) = &decision.set_share {
            self.share = Share::from_runtime(text).unwrap();
            self.step_users = 0.0;
            self.guard.applied(self.now_ms, &self.snapshot);
        }
        decision
    }

    fn evaluate_only(&mut self) -> Decision {
        self.now_ms += EVALUATION_MS;
        let (n, share) = (self.requests, self.share.fraction());
        let canary = n * share;
        let add = |part: &mut Option<PartCount>, all: f64, some: f64| {
            let held = part.unwrap();
            *part = Some(PartCount { all: held.all + all, part: held.part + some });
        };
        let requests = self.snapshot.requests.unwrap();
        let agree = n * self.agreement;
        self.snapshot.requests = Some(requests.plus(Moments { count: n, sum: agree, squares: agree }));
        add(&mut self.snapshot.canary, canary, canary * self.fallbacks);
        add(&mut self.snapshot.assigned, n, canary);
        add(&mut self.snapshot.canary_slow, canary, 0.0);
        add(&mut self.snapshot.baseline_slow, n - canary, 0.0);
        add(&mut self.snapshot.dropped, n, 0.0);
        add(&mut self.snapshot.unavailable, n, 0.0);
        self.step_users += n / 2.0;
        self.snapshot.evidence = Some(self.evidence());
        self.snapshot.share = GatewayShare::Known(self.share);
        self.guard.evaluate(self.now_ms, &self.snapshot)
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

    /// Evaluates until the guard decides something other than to hold.
    fn until_moved(&mut self, evaluations: usize) -> Decision {
        for _ in 0..evaluations {
            let decision = self.evaluate();
            if decision.action != Action::Hold {
                return decision;
            }
        }
        panic!("nothing in {evaluations} evaluations: {:?}", self.evaluate().reasons);
    }

    fn at_ten_percent() -> Self {
        let mut harness = Self::started();
        let decision = harness.until_moved(200);
        assert_eq!(decision.set_share.as_deref(), Some("10"), "{:?}", decision.reasons);
        harness
    }
}

#[test]
fn a_good_model_advances_step_by_step_and_waits_for_approval_where_the_plan_requires_it() {
    let mut harness = Harness::at_ten_percent();
    assert_eq!(harness.until_moved(500).set_share.as_deref(), Some("50"));
    (0..500).for_each(|_| assert_eq!(harness.evaluate().action, Action::Hold));
    let decision = harness.evaluate();
    assert_eq!(decision.reasons, ["this step requires approval: `perch ramp approve`"]);
    harness.command(OperatorCommand::Approve).unwrap();
    assert_eq!(harness.evaluate().set_share.as_deref(), Some("100"));
    (0..100).for_each(|_| assert_eq!(harness.evaluate().action, Action::Hold));
    assert_eq!(harness.share, Share::ALL);
}

#[test]
fn a_drop_in_agreement_rolls_back_with_value_bound_threshold_and_sample() {
    let mut harness = Harness::at_ten_percent();
    harness.agreement = 0.8;
    let decision = harness.until_moved(50);
    assert_eq!((decision.action, decision.set_share.as_deref()), (Action::Rollback, Some("0")));
    let result = decision.check(Check::Agreement).unwrap();
    assert_eq!(result.outcome, CheckOutcome::Breach);
    assert!(result.value.unwrap() < 0.81);
    assert!(result.upper.unwrap() < result.threshold.unwrap());
    assert!(result.sample > 100.0);
    assert!(decision.reasons[0].starts_with("agreement has fallen: 80.0% of"), "{:?}", decision.reasons);
}

#[test]
fn a_rollback_is_latched_until_an_operator_resumes_from_zero() {
    let mut harness = Harness::at_ten_percent();
    harness.agreement = 0.8;
    harness.until_moved(50);
    harness.agreement = 0.9;
    for _ in 0..1000 {
        assert_eq!(harness.evaluate().action, Action::Hold);
    }
    assert_eq!(harness.share, Share::OFF);
    harness.command(OperatorCommand::Resume).unwrap();
    assert_eq!(harness.until_moved(200).set_share.as_deref(), Some("10"));
}

#[test]
fn a_rollback_that_failed_is_decided_again() {
    let mut harness = Harness::at_ten_percent();
    harness.agreement = 0.8;
    while harness.evaluate_only().action == Action::Hold {}
    assert_eq!(harness.evaluate_only().action, Action::Rollback);
    harness.snapshot.share = GatewayShare::Differs("a holds 0%, b holds 10%".into());
    let snapshot = harness.snapshot.clone();
    assert_eq!(harness.guard.evaluate(harness.now_ms, &snapshot).action, Action::Rollback);
    assert_eq!(harness.evaluate().action, Action::Rollback);
    assert_eq!(harness.evaluate().action, Action::Hold);
}

#[test]
fn a_lower_accept_rate_rolls_back() {
    let mut harness = Harness::at_ten_percent();
    harness.until_moved(500);
    harness.accepts = (0.6, 0.5);
    let decision = harness.until_moved(200);
    assert_eq!(decision.action, Action::Rollback);
    assert!(decision.reasons[0].starts_with("users accept the candidate less often"), "{:?}", decision.reasons);
}

#[test]
fn a_difference_that_may_be_chance_does_not_hold_a_small_share_for_ever() {
    let mut harness = Harness::at_ten_percent();
    harness.accepts = (0.6, 0.56);
    let decision = harness.until_moved(100);
    assert_eq!(decision.action, Action::Advance);
    assert_ne!(decision.check(Check::AcceptRate).unwrap().outcome, CheckOutcome::Breach);
}

#[test]
fn a_missing_scorer_rolls_back_within_a_few_evaluations() {
    let mut harness = Harness::at_ten_percent();
    (0..5).for_each(|_| drop(harness.evaluate()));
    harness.fallbacks = 1.0;
    let decision = harness.until_moved(8);
    assert_eq!(decision.action, Action::Rollback);
    assert_eq!(decision.check(Check::Fallback).unwrap().outcome, CheckOutcome::Breach);
}

#[test]
fn a_sample_ratio_mismatch_freezes_and_keeps_the_share() {
    let mut harness = Harness::at_ten_percent();
    harness.split = 0.4;
    let decision = harness.until_moved(200);
    assert_eq!((decision.action, decision.set_share), (Action::Freeze, None));
    assert_eq!(harness.share, Share::percent(10));
    harness.split = 1.0;
    harness.step_users = 0.0;
    (0..50).for_each(|_| assert_eq!(harness.evaluate().action, Action::Freeze));
    harness.command(OperatorCommand::Resume).unwrap();
    harness.step_users = 0.0;
    assert_eq!(harness.until_moved(500).set_share.as_deref(), Some("50"));
}

#[test]
fn a_model_change_during_a_rollout_freezes() {
    let mut harness = Harness::at_ten_percent();
    harness.evaluate();
    harness.snapshot.model = ServingModel::Known("m2".into());
    let decision = harness.evaluate();
    assert_eq!(decision.action, Action::Freeze);
    assert!(decision.reasons[0].contains("m1") && decision.reasons[0].contains("m2"));
}

#[test]
fn an_external_change_pauses_and_a_breach_is_reported_but_not_acted_on() {
    let mut harness = Harness::at_ten_percent();
    harness.share = Share::percent(20);
    harness.agreement = 0.5;
    for _ in 0..50 {
        assert_eq!(harness.evaluate().action, Action::Hold);
    }
    assert_eq!(harness.share, Share::percent(20), "the last manual override holds");
    let reasons = harness.evaluate().reasons;
    assert!(reasons[0].contains("changed manually from 10% to 20%"), "{reasons:?}");
    assert!(reasons[1].starts_with("would act: agreement has fallen"), "{reasons:?}");
    harness.command(OperatorCommand::Resume).unwrap();
    assert_eq!(harness.until_moved(50).action, Action::Rollback);
}

#[test]
fn resumed_after_an_external_change_it_continues_from_there() {
    let mut harness = Harness::at_ten_percent();
    harness.share = Share::percent(20);
    harness.evaluate();
    harness.command(OperatorCommand::Resume).unwrap();
    assert_eq!(harness.until_moved(500).set_share.as_deref(), Some("50"));
}

#[test]
fn a_guard_that_was_stopped_after_setting_a_share_recognises_it_as_its_own() {
    let mut harness = Harness::at_ten_percent();
    let decision = loop {
        let decision = harness.evaluate_only();
        if decision.action == Action::Advance {
            break decision;
        }
    };
    harness.guard = Guard::from_json(&harness.guard.to_json().unwrap()).unwrap();
    harness.share = Share::from_runtime(decision.set_share.as_deref().unwrap()).unwrap();
    harness.step_users = 0.0;
    let decision = harness.evaluate();
    assert!(harness.guard.state().paused.is_none(), "{:?}", decision.reasons);
    assert_eq!(harness.guard.state().phase, Phase::Step);
}

#[test]
fn restarted_at_every_evaluation_it_decides_the_same() {
    let run = |restarts: bool| {
        let mut harness = Harness::started();
        let mut snapshot = Vec::new();
        for evaluation in 0..400 {
            if evaluation == 250 {
                harness.agreement = 0.8;
            }
            if restarts {
                harness.guard = Guard::from_json(&harness.guard.to_json().unwrap()).unwrap();
            }
            let decision = harness.evaluate();
            snapshot.push((decision.action, decision.reasons));
        }
        snapshot
    };
    let (with, without) = (run(true), run(false));
    for (evaluation, (with, without)) in with.iter().zip(&without).enumerate() {
        assert_eq!(with, without, "at evaluation {evaluation}");
    }
    assert!(with.iter().any(|(action, _)| *action == Action::Rollback));
}

#[test]
fn nothing_moves_without_data() {
    let blind: [fn(&mut SystemSnapshot); 6] = [
        |snapshot| snapshot.requests = None,
        |snapshot| snapshot.canary = None,
        |snapshot| snapshot.dropped = None,
        |snapshot| snapshot.unavailable = None,
        |snapshot| snapshot.canary_slow = None,
        |snapshot| (snapshot.evidence, snapshot.assigned) = (None, None),
    ];
    for (index, blind) in blind.into_iter().enumerate() {
        let mut harness = Harness::at_ten_percent();
        for _ in 0..500 {
            harness.evaluate_only();
            let mut snapshot = harness.snapshot.clone();
            blind(&mut snapshot);
            harness.now_ms += 1;
            let decision = harness.guard.evaluate(harness.now_ms, &snapshot);
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
    let mut harness = Harness::started();
    harness.requests = 0.0;
    for _ in 0..2000 {
        assert_eq!(harness.evaluate().action, Action::Hold);
    }
}

#[test]
fn a_rollout_starts_from_zero_only() {
    let mut harness = Harness::new();
    let plan = || OperatorCommand::Start(Box::new(Plan::parse(PLAN).unwrap()));
    assert_eq!(harness.command(plan()), Err(CommandError::ShareUnknown));
    harness.share = Share::percent(10);
    harness.evaluate();
    assert_eq!(harness.command(plan()), Err(CommandError::NotAtZero(Share::percent(10))));
    assert_eq!(harness.command(OperatorCommand::Resume), Err(CommandError::NothingToResume));
}

#[test]
fn an_operators_rollback_is_latched_with_the_reason() {
    let mut harness = Harness::at_ten_percent();
    harness.command(OperatorCommand::Rollback("support is flooded".into())).unwrap();
    let decision = harness.evaluate();
    assert_eq!(decision.set_share.as_deref(), Some("0"));
    assert!(decision.reasons[0].contains("support is flooded"));
    assert_eq!(harness.evaluate().action, Action::Hold);
}

#[test]
fn a_state_of_another_version_is_refused_by_name() {
    let text = Guard::new(Plan::parse("").unwrap()).to_json().unwrap().replace("\"version\":1", "\"version\":9");
    assert!(Guard::from_json(&text).unwrap_err().to_string().contains('9'));
    assert!(Guard::from_json("{").is_err());
}
