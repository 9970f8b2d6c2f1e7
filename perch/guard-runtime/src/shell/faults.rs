//! The shell against what goes wrong around it: parts that are read in part, files that are full, damaged or gone.

use std::path::PathBuf;

use guard::decision::{Check, Verdict};

use super::*;
use crate::sink::Gateways;
use crate::source::system::System;
use crate::testing::{Shared, World, ada, serve};

const LOG: &str = "ledger.jsonl";
const STATE: &str = "state.json";

impl World {
    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("guard").join(name)
    }

    /// A folder that takes no new file, as on a full disk: where a file is to be made there is a folder.
    fn fill(&self, full: bool) {
        for name in ["lease.new", "state.new", "status.new", "ledger.room"] {
            let path = self.file(name);
            if full { std::fs::create_dir(path).unwrap() } else { std::fs::remove_dir(path).unwrap() }
        }
    }

    /// Another scorer, which judges as many requests.
    async fn another_scorer(&mut self, agreement: f64) -> Shared {
        let town = Shared::default();
        self.addresses.scorers.push(serve(town.clone()).await);
        self.scorers.push((town.clone(), agreement));
        self.traffic(0.0);
        town
    }
}

async fn until(world: &mut World, shell: &mut Shell<System, Gateways>, share: &str) {
    for _ in 0..400 {
        if world.share() == share {
            return;
        }
        world.look(shell).await;
    }
    panic!("the share is not {share}: {}", world.look(shell).await.line());
}

fn agreement(report: &Report) -> (Verdict, f64) {
    let judgement = report.decision.as_ref().unwrap().of(Check::Agreement).unwrap();
    (judgement.verdict, judgement.sample)
}

async fn quiet(world: &mut World, shell: &mut Shell<System, Gateways>, looks: usize) -> Report {
    for _ in 0..looks {
        let report = world.look(shell).await;
        assert_ne!(report.carried_out, Some(true), "{}", report.line());
    }
    world.look(shell).await
}

#[tokio::test]
async fn case_4_a_scorer_that_is_missing_holds_the_ramp_and_its_past_is_not_the_next_steps() {
    let mut world = World::new().await;
    let second = world.another_scorer(0.9).await;
    let mut shell = world.started().await;
    for _ in 0..8 {
        world.look(&mut shell).await;
    }
    second.lock().unwrap().hidden = true;
    let report = quiet(&mut world, &mut shell, 60).await;
    assert!(report.line().contains("no data") && report.line().contains("500"), "{}", report.line());
    assert_eq!(world.share(), "0");
    second.lock().unwrap().hidden = false;
    until(&mut world, &mut shell, "10").await;
    // From now on both sides of the second scorer's requests differ.
    world.scorers[0].1 = 0.0;
    let report = world.look(&mut shell).await;
    assert!(agreement(&report).1 <= 400.0, "one evaluation's requests: {:?}", agreement(&report));
    until(&mut world, &mut shell, "0").await;
}

#[tokio::test]
async fn case_4_a_breach_that_one_scorer_shows_counts_while_the_other_is_missing() {
    let mut world = World::new().await;
    let second = world.another_scorer(0.9).await;
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    second.lock().unwrap().hidden = true;
    world.agreement = 0.5;
    until(&mut world, &mut shell, "0").await;
}

#[tokio::test]
async fn case_4_an_answer_of_prometheus_that_is_not_whole_holds_the_ramp_and_a_breach_counts() {
    let mut world = World::new().await;
    world.addresses.prometheus = Some(world.addresses.scorers[0].clone());
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    world.town.lock().unwrap().warnings = vec!["store b did not answer in time".to_owned()];
    let report = quiet(&mut world, &mut shell, 100).await;
    assert!(report.line().contains("store b did not answer"), "{}", report.line());
    world.fallbacks = 0.588;
    until(&mut world, &mut shell, "0").await;
}

#[tokio::test]
async fn a_scorer_that_is_named_twice_counts_once() {
    let mut world = World::new().await;
    let url = world.addresses.scorers[0].clone();
    world.addresses.scorers.extend([url.clone(), format!("{url}/")]);
    let mut shell = world.started().await;
    for _ in 0..3 {
        world.look(&mut shell).await;
    }
    let report = world.look(&mut shell).await;
    assert_eq!(agreement(&report).1, 3.0 * 200.0);
}

#[tokio::test]
async fn case_8_and_9_a_page_of_any_size_and_with_odd_bytes_is_read() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    let mut foreign = b"envoy_cluster_x{cluster=\"c\xff\"} 1\n".to_vec();
    while foreign.len() < 20 * 1024 * 1024 {
        foreign.extend_from_slice(&[b'x'; 1000]);
        foreign.extend_from_slice(b"{a=\"b\"} 1\n");
    }
    world.town.lock().unwrap().foreign = foreign;
    let report = world.look(&mut shell).await;
    assert!(report.troubles.is_empty(), "{:?}", report.troubles);
    let report = world.look(&mut shell).await;
    assert!(agreement(&report).1 > 0.0);
}

#[tokio::test]
async fn case_5_of_two_guards_with_one_name_one_acts() {
    let mut world = World::new().await;
    let mut first = world.started().await;
    let mut second = world.shell("g1");
    for _ in 0..20 {
        let leading = (world.look(&mut first).await.leading, world.look(&mut second).await.leading);
        assert_eq!(leading, (true, false));
    }
}

#[tokio::test]
async fn case_6a_with_a_full_disk_the_guard_rolls_back_and_advances_nothing() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    world.fill(true);
    let report = quiet(&mut world, &mut shell, 100).await;
    assert!(report.troubles.iter().any(|trouble| trouble.contains("nothing is advanced")), "{:?}", report.troubles);
    assert_eq!(world.share(), "10");
    world.fallbacks = 0.588;
    until(&mut world, &mut shell, "0").await;
    world.fill(false);
    let report = world.look(&mut shell).await;
    assert!(report.latched.unwrap().reason.contains("fell back") && report.troubles.is_empty());
    assert_eq!(world.entries().await, ["ada start", "g1 set 10", "g1 set 0"]);
}

#[tokio::test]
async fn case_6a_a_guard_that_starts_on_a_full_disk_watches_over_the_ramp() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    drop(shell);
    world.fill(true);
    let mut shell = world.shell_after_a_term("g1");
    world.fallbacks = 0.588;
    until(&mut world, &mut shell, "0").await;
}

#[tokio::test]
async fn case_6b_a_flipped_bit_costs_one_entry_and_an_operators_word_is_carried_out() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    let mut bytes = std::fs::read(world.file(LOG)).unwrap();
    bytes[12] ^= 0x40;
    std::fs::write(world.file(LOG), &bytes).unwrap();
    world.say(ada(), What::Pause).await;
    let report = world.look(&mut shell).await;
    assert!(report.paused.is_some() && report.frozen.is_none(), "an old line is no reason to freeze");
    assert!(report.troubles.iter().any(|trouble| trouble.contains("line 1 cannot be read")), "{:?}", report.troubles);
    assert_eq!(world.entries().await, ["g1 set 10", "ada pause"]);
}

#[tokio::test]
async fn case_6b_a_new_line_that_cannot_be_read_may_be_a_word_and_freezes() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    let text = std::fs::read_to_string(world.file(LOG)).unwrap();
    std::fs::write(world.file(LOG), text + "{\"number\":3,\"what\":\"pausf\"}\n").unwrap();
    let report = quiet(&mut world, &mut shell, 60).await;
    assert!(report.frozen.unwrap().reason.contains("line 3 of the audit log"));
    // Frozen, it still rolls back.
    world.fallbacks = 0.588;
    until(&mut world, &mut shell, "0").await;
}

#[tokio::test]
async fn case_6b_after_the_log_was_lost_orders_are_carried_out_and_the_ramp_waits_for_an_operator() {
    for status_too in [false, true] {
        let mut world = World::new().await;
        let mut shell = world.started().await;
        world.until_moved(&mut shell).await;
        world.now_ms += 1_000;
        std::fs::remove_file(world.file(LOG)).unwrap();
        if status_too {
            std::fs::remove_file(world.file(STATUS_FILE)).unwrap();
        }
        world.say(ada(), What::Pause).await;
        let report = world.look(&mut shell).await;
        assert!(report.paused.is_some(), "{}", report.line());
        world.say(ada(), What::Abort).await;
        let report = world.look(&mut shell).await;
        assert_eq!(report.phase, Some(guard::state::Phase::Watching));
    }
    let mut world = World::new().await;
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    std::fs::remove_file(world.file(LOG)).unwrap();
    let report = quiet(&mut world, &mut shell, 60).await;
    assert!(report.frozen.unwrap().reason.contains("it was lost"));
    world.say(ada(), What::Rollback).await;
    let report = world.look(&mut shell).await;
    assert!(report.latched.is_some() && world.share() == "0");
    let entries = world.entries().await;
    assert_eq!(entries.iter().filter(|entry| entry.contains("lost")).count(), 1, "{entries:?}");
}

#[tokio::test]
async fn case_6d_a_guard_whose_state_was_lost_knows_the_ramp_from_the_log_and_rolls_back() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    drop(shell);
    std::fs::remove_file(world.file(STATE)).unwrap();
    let mut shell = world.shell_after_a_term("g1");
    let report = quiet(&mut world, &mut shell, 60).await;
    assert!(report.frozen.unwrap().reason.contains("state was lost") && report.paused.is_none());
    assert_eq!(world.share(), "10");
    world.fallbacks = 0.588;
    until(&mut world, &mut shell, "0").await;
    drop(shell);
    // Again, and now the log knows of the rollback.
    std::fs::remove_file(world.file(STATE)).unwrap();
    let mut shell = world.shell_after_a_term("g1");
    assert!(quiet(&mut world, &mut shell, 60).await.latched.is_some());
}

#[tokio::test]
async fn case_6d_a_state_that_cannot_be_read_does_not_cost_the_plan() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    drop(shell);
    std::fs::write(world.file(STATE), "{\"guard\": 5").unwrap();
    let mut shell = world.shell_after_a_term("g1");
    assert!(quiet(&mut world, &mut shell, 5).await.paused.is_some());
    world.say(ada(), What::Resume).await;
    world.fallbacks = 0.588;
    until(&mut world, &mut shell, "0").await;
}

#[tokio::test]
async fn case_6d_what_an_operator_said_last_holds_also_without_the_state() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    world.say(ada(), What::Pause).await;
    world.look(&mut shell).await;
    drop(shell);
    std::fs::remove_file(world.file(STATE)).unwrap();
    world.fallbacks = 0.588;
    let mut shell = world.shell_after_a_term("g1");
    assert!(quiet(&mut world, &mut shell, 60).await.paused.is_some());
    assert_eq!(world.share(), "10");
    world.say(ada(), What::Abort).await;
    world.look(&mut shell).await;
    drop(shell);
    std::fs::remove_file(world.file(STATE)).unwrap();
    let mut shell = world.shell_after_a_term("g1");
    let report = quiet(&mut world, &mut shell, 5).await;
    assert_eq!((report.phase, report.paused), (Some(guard::state::Phase::Watching), None));
}

#[tokio::test]
async fn a_log_that_was_put_back_from_an_old_copy_repeats_no_order() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    world.look(&mut shell).await;
    let copy = std::fs::read(world.file(LOG)).unwrap();
    world.until_moved(&mut shell).await;
    world.say(ada(), What::Pause).await;
    world.look(&mut shell).await;
    std::fs::write(world.file(LOG), copy).unwrap();
    let report = quiet(&mut world, &mut shell, 10).await;
    assert!(report.paused.is_some() && report.frozen.is_some(), "not started again, and not forgotten");
    assert_eq!(world.entries().await, ["ada start", "g1 lost { last: 3 }", "g1 froze"]);
}

#[tokio::test]
async fn a_lease_that_cannot_be_read_does_not_keep_the_guard_from_rolling_back() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    std::fs::remove_file(world.file("lease.json")).unwrap();
    std::fs::create_dir(world.file("lease.json")).unwrap();
    quiet(&mut world, &mut shell, 100).await;
    assert_eq!(world.share(), "10", "without the lease nothing is advanced");
    world.fallbacks = 0.588;
    until(&mut world, &mut shell, "0").await;
}

#[tokio::test]
async fn after_the_clock_was_set_back_the_guard_goes_on_watching() {
    let mut world = World::new().await;
    world.now_ms = 7_200_000;
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    world.now_ms -= 3_600_000;
    world.fallbacks = 0.588;
    let (from_ms, shell) = (world.now_ms, &mut shell);
    until(&mut world, shell, "0").await;
    assert!(world.now_ms - from_ms < 1_200_000, "and does not wait until the clock is where it was");
}

#[tokio::test]
async fn a_share_that_got_through_although_that_could_not_be_confirmed_is_written_down() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    world.fallbacks = 0.588;
    world.town.lock().unwrap().down = true;
    assert_eq!(world.until_moved(&mut shell).await.carried_out, Some(false));
    world.town.lock().unwrap().runtime = "0".to_owned();
    assert!(world.look(&mut shell).await.paused.is_none());
    world.look(&mut shell).await;
    assert_eq!(world.entries().await, ["ada start", "g1 set 10", "g1 set 0"]);
}
