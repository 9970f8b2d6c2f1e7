//! The control loop in a small deployment.

use canary::disk;
use contract::share::{RUNTIME_KEY, Share};
use guard::decision::{Check, CheckOutcome};

use super::*;
use crate::testing::{EVALUATION_MS, Harness, ada};

#[tokio::test]
async fn a_rollout_advances_on_both_layers_and_is_recorded() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    let report = harness.until_moved(&mut control_loop).await;
    assert_eq!((report.carried_out, harness.share().as_str()), (Some(true), "10"), "{}", report.line());
    assert_eq!(disk::get(&harness.link, RUNTIME_KEY).as_deref(), Some("10"), "it must survive the gateway's restart");
    harness.until_moved(&mut control_loop).await;
    assert_eq!(harness.share(), "50");
    assert_eq!(harness.entries().await, ["ada start", "g1 set 10", "g1 set 50"]);
}

#[tokio::test]
async fn by_prometheus_it_decides_the_same() {
    let mut harness = Harness::new().await;
    harness.addresses.prometheus = Some(harness.addresses.scorers[0].clone());
    let mut control_loop = harness.started().await;
    assert_eq!(harness.until_moved(&mut control_loop).await.carried_out, Some(true));
    harness.agreement = 0.7;
    let report = harness.until_moved(&mut control_loop).await;
    assert_eq!(report.decision.unwrap().check(Check::Agreement).unwrap().outcome, CheckOutcome::Breach);
    assert_eq!(harness.share(), "0");
}

#[tokio::test]
async fn a_gateway_that_rejects_a_rollback_is_called_again() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    harness.agreement = 0.7;
    harness.cluster.lock().unwrap().down = true;
    let report = harness.until_moved(&mut control_loop).await;
    assert_eq!(report.carried_out, Some(false));
    assert!(report.problems.iter().any(|problem| problem.contains("503")), "{:?}", report.problems);
    assert_eq!(harness.evaluate(&mut control_loop).await.carried_out, Some(false));
    harness.cluster.lock().unwrap().down = false;
    assert_eq!(harness.evaluate(&mut control_loop).await.carried_out, Some(true));
    assert_eq!(harness.share(), "0");
    assert_eq!(harness.evaluate(&mut control_loop).await.carried_out, None);
}

#[tokio::test]
async fn a_guard_that_restarts_keeps_its_evidence_and_its_latch() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    drop(control_loop);
    let mut control_loop = harness.control_loop("g1");
    harness.agreement = 0.7;
    harness.until_moved(&mut control_loop).await;
    drop(control_loop);
    let mut control_loop = harness.control_loop("g1");
    for _ in 0..100 {
        assert_eq!(harness.evaluate(&mut control_loop).await.carried_out, None);
    }
    assert!(harness.evaluate(&mut control_loop).await.latched.unwrap().reason.contains("agreement has fallen"));
}

#[tokio::test]
async fn of_two_guards_one_acts_and_the_second_takes_over() {
    let mut harness = Harness::new().await;
    let mut first = harness.started().await;
    let mut second = harness.control_loop("g2");
    harness.until_moved(&mut first).await;
    let report = harness.evaluate(&mut second).await;
    assert!(!report.leading && report.decision.is_none());
    assert_eq!(report.leader.as_deref(), Some("g1"));
    harness.now_ms += 60_000;
    harness.agreement = 0.7;
    let report = harness.until_moved(&mut second).await;
    assert_eq!(
        (report.guard.as_str(), harness.share().as_str()),
        ("g2", "0"),
        "with the baseline that the first one had measured"
    );
    assert!(!harness.evaluate(&mut first).await.leading);
}

#[tokio::test]
async fn the_last_manual_override_holds_against_the_guard_and_an_alert() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    harness.agreement = 0.5;
    // Between two evaluations: an alert requests a rollback, then an operator sets 20%.
    harness.record(Actor::Alert("agreement".into()), Event::Rollback).await;
    harness.record(ada(), Event::ShareSet { from: Some("10".into()), to: "20".into() }).await;
    harness.cluster.lock().unwrap().runtime = "20".into();
    for _ in 0..50 {
        harness.evaluate(&mut control_loop).await;
    }
    assert_eq!(harness.share(), "20");
    let report = harness.evaluate(&mut control_loop).await;
    assert!(report.paused.unwrap().reason.starts_with("ada set the share to 20"));
    let entries = harness.entries().await;
    assert_eq!(entries, ["ada start", "g1 set 10", "agreement rollback", "ada set 20", "g1 rejected"]);
}

#[tokio::test]
async fn an_operator_who_acts_while_the_guard_decides_wins() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    harness.agreement = 0.5;
    // The operator acts after the guard has read the audit log.
    let decision = loop {
        harness.now_ms += EVALUATION_MS;
        harness.traffic(200.0);
        let snapshot = control_loop.source.read(0).await;
        let snapshot = control_loop.snapshot(harness.now_ms, snapshot, &mut Vec::new());
        let decision = control_loop.guard.evaluate(harness.now_ms, &snapshot);
        if decision.action == Action::Rollback {
            harness.record(ada(), Event::ShareSet { from: None, to: "20".into() }).await;
            let mut problems = Vec::new();
            let done = control_loop.act(harness.now_ms, &decision, &snapshot, true, &mut problems).await.unwrap();
            break (done, problems);
        }
    };
    assert_eq!(decision.0, Some(false));
    assert!(decision.1[0].contains("superseded by ada meanwhile"));
    assert_eq!(harness.share(), "10");
}

#[tokio::test]
async fn a_change_without_an_entry_is_found_and_recorded() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    harness.cluster.lock().unwrap().runtime = "30".into();
    let report = harness.evaluate(&mut control_loop).await;
    assert!(report.paused.unwrap().reason.contains("changed manually from 10% to 30%"));
    harness.evaluate(&mut control_loop).await;
    assert_eq!(harness.entries().await.last().unwrap(), "g1 found 10>30");
    assert_eq!(harness.entries().await.len(), 3);
}

#[tokio::test]
async fn an_alerts_rollback_is_carried_out() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    harness.record(Actor::Alert("SuggestAgreementDrop".into()), Event::Rollback).await;
    let report = harness.evaluate(&mut control_loop).await;
    assert_eq!((report.carried_out, harness.share().as_str()), (Some(true), "0"));
    assert!(report.latched.unwrap().reason.contains("alert SuggestAgreementDrop"));
}

#[tokio::test]
async fn a_state_that_cannot_be_read_is_put_aside_and_the_guard_begins_paused() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    drop(control_loop);
    let folder = harness.folder.path().join("guard");
    std::fs::write(folder.join("state.json"), "{\"guard\": 5").unwrap();
    let mut control_loop = harness.control_loop_after_lease_end("g1");
    let report = harness.evaluate(&mut control_loop).await;
    assert!(report.paused.unwrap().reason.contains("could not be read"));
    assert!(folder.join("state.unreadable.json").exists());
    assert_eq!(harness.share(), "10");
}

#[tokio::test]
async fn parts_that_are_gone_are_named_and_nothing_moves() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    harness.addresses.scorers = vec!["http://127.0.0.1:9".into()];
    let mut control_loop = harness.control_loop_after_lease_end("g1");
    for _ in 0..60 {
        let report = harness.evaluate(&mut control_loop).await;
        assert_eq!(report.carried_out, None);
        assert!(report.problems.iter().any(|problem| problem.contains("127.0.0.1:9")));
        assert!(report.line().contains("no data"), "{}", report.line());
    }
}

#[tokio::test]
async fn a_command_between_reading_the_log_and_reading_the_system_is_not_lost() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    // The alert's rollback has been read; then an operator decides otherwise, and only that share is read.
    let alert = {
        let mut held = harness.audit_log().lock().await.unwrap();
        held.append(harness.now_ms, Actor::Alert("old".into()), Event::Rollback, "").unwrap();
        held.contents().clone()
    };
    harness.manual_override("ada").set(harness.now_ms, Share::percent(20), "intended").await.unwrap();
    harness.now_ms += 1_000;
    let snapshot = control_loop.source.read(0).await;
    let snapshot = control_loop.snapshot(harness.now_ms, snapshot, &mut Vec::new());
    control_loop.guard.note_share(harness.now_ms, &snapshot);
    control_loop.apply_commands(harness.now_ms, &alert);
    let decision = control_loop.guard.evaluate(harness.now_ms, &snapshot);
    assert_eq!(decision.action, Action::Rollback);
    assert_eq!(
        control_loop.act(harness.now_ms, &decision, &snapshot, true, &mut Vec::new()).await.unwrap(),
        Some(false)
    );
    for _ in 0..5 {
        harness.evaluate(&mut control_loop).await;
    }
    assert_eq!(harness.share(), "20");
    assert!(harness.evaluate(&mut control_loop).await.paused.unwrap().reason.contains("intended"));
}
