//! Fault injection: parts that are read incompletely, disks that are full, files that are damaged or missing.

use std::path::PathBuf;

use guard::decision::{Check, CheckOutcome};

use super::*;
use crate::sink::Gateways;
use crate::source::system::System;
use crate::testing::{Harness, SharedCluster, ada, serve};

const LOG: &str = "audit_log.jsonl";
const STATE: &str = "state.json";

impl Harness {
    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("guard").join(name)
    }

    /// Makes the folder reject new files, as a full disk does: there is a folder in the place of each file.
    fn fill(&self, full: bool) {
        for name in ["lease.new", "state.new", "status.new", "audit_log.probe"] {
            let path = self.file(name);
            if full { std::fs::create_dir(path).unwrap() } else { std::fs::remove_dir(path).unwrap() }
        }
    }

    /// Adds a scorer that judges as many requests.
    async fn another_scorer(&mut self, agreement: f64) -> SharedCluster {
        let cluster = SharedCluster::default();
        self.addresses.scorers.push(serve(cluster.clone()).await);
        self.scorers.push((cluster.clone(), agreement));
        self.traffic(0.0);
        cluster
    }
}

async fn until(harness: &mut Harness, control_loop: &mut ControlLoop<System, Gateways>, share: &str) {
    for _ in 0..400 {
        if harness.share() == share {
            return;
        }
        harness.evaluate(control_loop).await;
    }
    panic!("the share is not {share}: {}", harness.evaluate(control_loop).await.line());
}

fn agreement(report: &EvaluationReport) -> (CheckOutcome, f64) {
    let result = report.decision.as_ref().unwrap().check(Check::Agreement).unwrap();
    (result.outcome, result.sample)
}

async fn quiet(
    harness: &mut Harness,
    control_loop: &mut ControlLoop<System, Gateways>,
    evaluations: usize,
) -> EvaluationReport {
    for _ in 0..evaluations {
        let report = harness.evaluate(control_loop).await;
        assert_ne!(report.carried_out, Some(true), "{}", report.line());
    }
    harness.evaluate(control_loop).await
}

#[tokio::test]
async fn case_4_a_scorer_that_is_missing_holds_the_ramp_and_its_past_is_not_the_next_steps() {
    let mut harness = Harness::new().await;
    let second = harness.another_scorer(0.9).await;
    let mut control_loop = harness.started().await;
    for _ in 0..8 {
        harness.evaluate(&mut control_loop).await;
    }
    second.lock().unwrap().hidden = true;
    let report = quiet(&mut harness, &mut control_loop, 60).await;
    assert!(report.line().contains("no data") && report.line().contains("500"), "{}", report.line());
    assert_eq!(harness.share(), "0");
    second.lock().unwrap().hidden = false;
    until(&mut harness, &mut control_loop, "10").await;
    // From now on both sides of the second scorer's requests differ.
    harness.scorers[0].1 = 0.0;
    let report = harness.evaluate(&mut control_loop).await;
    assert!(agreement(&report).1 <= 400.0, "one evaluation's requests: {:?}", agreement(&report));
    until(&mut harness, &mut control_loop, "0").await;
}

#[tokio::test]
async fn case_4_a_breach_that_one_scorer_shows_counts_while_the_other_is_missing() {
    let mut harness = Harness::new().await;
    let second = harness.another_scorer(0.9).await;
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    second.lock().unwrap().hidden = true;
    harness.agreement = 0.5;
    until(&mut harness, &mut control_loop, "0").await;
}

#[tokio::test]
async fn case_4_an_incomplete_response_of_prometheus_holds_the_ramp_and_a_breach_counts() {
    let mut harness = Harness::new().await;
    harness.addresses.prometheus = Some(harness.addresses.scorers[0].clone());
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    harness.cluster.lock().unwrap().warnings = vec!["store b did not respond in time".to_owned()];
    let report = quiet(&mut harness, &mut control_loop, 100).await;
    assert!(report.line().contains("store b did not respond"), "{}", report.line());
    harness.fallbacks = 0.588;
    until(&mut harness, &mut control_loop, "0").await;
}

#[tokio::test]
async fn a_scorer_that_is_named_twice_counts_once() {
    let mut harness = Harness::new().await;
    let url = harness.addresses.scorers[0].clone();
    harness.addresses.scorers.extend([url.clone(), format!("{url}/")]);
    let mut control_loop = harness.started().await;
    for _ in 0..3 {
        harness.evaluate(&mut control_loop).await;
    }
    let report = harness.evaluate(&mut control_loop).await;
    assert_eq!(agreement(&report).1, 3.0 * 200.0);
}

#[tokio::test]
async fn case_8_and_9_a_page_of_any_size_and_with_odd_bytes_is_read() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    let mut foreign = b"envoy_cluster_x{cluster=\"c\xff\"} 1\n".to_vec();
    while foreign.len() < 20 * 1024 * 1024 {
        foreign.extend_from_slice(&[b'x'; 1000]);
        foreign.extend_from_slice(b"{a=\"b\"} 1\n");
    }
    harness.cluster.lock().unwrap().foreign = foreign;
    let report = harness.evaluate(&mut control_loop).await;
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    let report = harness.evaluate(&mut control_loop).await;
    assert!(agreement(&report).1 > 0.0);
}

#[tokio::test]
async fn case_5_of_two_guards_with_one_name_one_acts() {
    let mut harness = Harness::new().await;
    let mut first = harness.started().await;
    let mut second = harness.control_loop("g1");
    for _ in 0..20 {
        let leading = (harness.evaluate(&mut first).await.leading, harness.evaluate(&mut second).await.leading);
        assert_eq!(leading, (true, false));
    }
}

#[tokio::test]
async fn case_6a_with_a_full_disk_the_guard_rolls_back_and_advances_nothing() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    harness.fill(true);
    let report = quiet(&mut harness, &mut control_loop, 100).await;
    assert!(report.problems.iter().any(|problem| problem.contains("does not advance")), "{:?}", report.problems);
    assert_eq!(harness.share(), "10");
    harness.fallbacks = 0.588;
    until(&mut harness, &mut control_loop, "0").await;
    harness.fill(false);
    let report = harness.evaluate(&mut control_loop).await;
    assert!(report.latched.unwrap().reason.contains("fell back") && report.problems.is_empty());
    assert_eq!(harness.entries().await, ["ada start", "g1 set 10", "g1 set 0"]);
}

#[tokio::test]
async fn case_6a_a_guard_that_starts_on_a_full_disk_watches_over_the_ramp() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    drop(control_loop);
    harness.fill(true);
    let mut control_loop = harness.control_loop_after_lease_end("g1");
    harness.fallbacks = 0.588;
    until(&mut harness, &mut control_loop, "0").await;
}

#[tokio::test]
async fn case_6b_a_flipped_bit_costs_one_entry_and_an_operators_command_is_carried_out() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    let mut bytes = std::fs::read(harness.file(LOG)).unwrap();
    bytes[12] ^= 0x40;
    std::fs::write(harness.file(LOG), &bytes).unwrap();
    harness.record(ada(), Event::Pause).await;
    let report = harness.evaluate(&mut control_loop).await;
    assert!(report.paused.is_some() && report.frozen.is_none(), "an old line is not a reason to freeze");
    assert!(report.problems.iter().any(|problem| problem.contains("line 1 cannot be read")), "{:?}", report.problems);
    assert_eq!(harness.entries().await, ["g1 set 10", "ada pause"]);
}

#[tokio::test]
async fn case_6b_a_new_line_that_cannot_be_read_may_be_a_command_and_freezes() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    let text = std::fs::read_to_string(harness.file(LOG)).unwrap();
    std::fs::write(harness.file(LOG), text + "{\"number\":3,\"event\":\"pausf\"}\n").unwrap();
    let report = quiet(&mut harness, &mut control_loop, 60).await;
    assert!(report.frozen.unwrap().reason.contains("line 3 of the audit log"));
    // Frozen, it still rolls back.
    harness.fallbacks = 0.588;
    until(&mut harness, &mut control_loop, "0").await;
}

#[tokio::test]
async fn case_6b_after_the_log_was_lost_commands_are_carried_out_and_the_ramp_waits_for_an_operator() {
    for status_too in [false, true] {
        let mut harness = Harness::new().await;
        let mut control_loop = harness.started().await;
        harness.until_moved(&mut control_loop).await;
        harness.now_ms += 1_000;
        std::fs::remove_file(harness.file(LOG)).unwrap();
        if status_too {
            std::fs::remove_file(harness.file(STATUS_FILE)).unwrap();
        }
        harness.record(ada(), Event::Pause).await;
        let report = harness.evaluate(&mut control_loop).await;
        assert!(report.paused.is_some(), "{}", report.line());
        harness.record(ada(), Event::Abort).await;
        let report = harness.evaluate(&mut control_loop).await;
        assert_eq!(report.phase, Some(guard::state::Phase::Watching));
    }
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    std::fs::remove_file(harness.file(LOG)).unwrap();
    let report = quiet(&mut harness, &mut control_loop, 60).await;
    assert!(report.frozen.unwrap().reason.contains("it was lost"));
    harness.record(ada(), Event::Rollback).await;
    let report = harness.evaluate(&mut control_loop).await;
    assert!(report.latched.is_some() && harness.share() == "0");
    let entries = harness.entries().await;
    assert_eq!(entries.iter().filter(|entry| entry.contains("lost")).count(), 1, "{entries:?}");
}

#[tokio::test]
async fn case_6d_a_guard_whose_state_was_lost_knows_the_ramp_from_the_log_and_rolls_back() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    drop(control_loop);
    std::fs::remove_file(harness.file(STATE)).unwrap();
    let mut control_loop = harness.control_loop_after_lease_end("g1");
    let report = quiet(&mut harness, &mut control_loop, 60).await;
    assert!(report.frozen.unwrap().reason.contains("state was lost") && report.paused.is_none());
    assert_eq!(harness.share(), "10");
    harness.fallbacks = 0.588;
    until(&mut harness, &mut control_loop, "0").await;
    drop(control_loop);
    // Again, and now the log knows of the rollback.
    std::fs::remove_file(harness.file(STATE)).unwrap();
    let mut control_loop = harness.control_loop_after_lease_end("g1");
    assert!(quiet(&mut harness, &mut control_loop, 60).await.latched.is_some());
}

#[tokio::test]
async fn case_6d_a_state_that_cannot_be_read_does_not_cost_the_plan() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    drop(control_loop);
    std::fs::write(harness.file(STATE), "{\"guard\": 5").unwrap();
    let mut control_loop = harness.control_loop_after_lease_end("g1");
    assert!(quiet(&mut harness, &mut control_loop, 5).await.paused.is_some());
    harness.record(ada(), Event::Resume).await;
    harness.fallbacks = 0.588;
    until(&mut harness, &mut control_loop, "0").await;
}

#[tokio::test]
async fn case_6d_the_last_manual_override_holds_also_without_the_state() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    harness.record(ada(), Event::Pause).await;
    harness.evaluate(&mut control_loop).await;
    drop(control_loop);
    std::fs::remove_file(harness.file(STATE)).unwrap();
    harness.fallbacks = 0.588;
    let mut control_loop = harness.control_loop_after_lease_end("g1");
    assert!(quiet(&mut harness, &mut control_loop, 60).await.paused.is_some());
    assert_eq!(harness.share(), "10");
    harness.record(ada(), Event::Abort).await;
    harness.evaluate(&mut control_loop).await;
    drop(control_loop);
    std::fs::remove_file(harness.file(STATE)).unwrap();
    let mut control_loop = harness.control_loop_after_lease_end("g1");
    let report = quiet(&mut harness, &mut control_loop, 5).await;
    assert_eq!((report.phase, report.paused), (Some(guard::state::Phase::Watching), None));
}

#[tokio::test]
async fn a_log_that_was_put_back_from_an_old_copy_repeats_no_order() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    harness.evaluate(&mut control_loop).await;
    let copy = std::fs::read(harness.file(LOG)).unwrap();
    harness.until_moved(&mut control_loop).await;
    harness.record(ada(), Event::Pause).await;
    harness.evaluate(&mut control_loop).await;
    std::fs::write(harness.file(LOG), copy).unwrap();
    let report = quiet(&mut harness, &mut control_loop, 10).await;
    assert!(report.paused.is_some() && report.frozen.is_some(), "not started again, and not forgotten");
    assert_eq!(harness.entries().await, ["ada start", "g1 entrieslost { last: 3 }", "g1 frozen"]);
}

#[tokio::test]
async fn a_lease_that_cannot_be_read_does_not_keep_the_guard_from_rolling_back() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    std::fs::remove_file(harness.file("lease.json")).unwrap();
    std::fs::create_dir(harness.file("lease.json")).unwrap();
    quiet(&mut harness, &mut control_loop, 100).await;
    assert_eq!(harness.share(), "10", "without the lease nothing is advanced");
    harness.fallbacks = 0.588;
    until(&mut harness, &mut control_loop, "0").await;
}

#[tokio::test]
async fn after_the_clock_was_set_back_the_guard_goes_on_watching() {
    let mut harness = Harness::new().await;
    harness.now_ms = 7_200_000;
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    harness.now_ms -= 3_600_000;
    harness.fallbacks = 0.588;
    let (from_ms, control_loop) = (harness.now_ms, &mut control_loop);
    until(&mut harness, control_loop, "0").await;
    assert!(harness.now_ms - from_ms < 1_200_000, "and does not wait until the clock is where it was");
}

#[tokio::test]
async fn a_share_that_got_through_although_that_could_not_be_confirmed_is_written_down() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    harness.fallbacks = 0.588;
    harness.cluster.lock().unwrap().down = true;
    assert_eq!(harness.until_moved(&mut control_loop).await.carried_out, Some(false));
    harness.cluster.lock().unwrap().runtime = "0".to_owned();
    assert!(harness.evaluate(&mut control_loop).await.paused.is_none());
    harness.evaluate(&mut control_loop).await;
    assert_eq!(harness.entries().await, ["ada start", "g1 set 10", "g1 set 0"]);
}
