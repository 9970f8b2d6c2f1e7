//! The shell in a small deployment.

use canary::disk;
use contract::share::RUNTIME_KEY;
use guard::decision::{Check, Verdict};

use super::*;
use crate::testing::{LOOK_MS, World, ada};

#[tokio::test]
async fn a_ramp_goes_up_on_both_layers_and_the_ledger_tells_it() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    let report = world.until_moved(&mut shell).await;
    assert_eq!((report.carried_out, world.share().as_str()), (Some(true), "10"), "{}", report.line());
    assert_eq!(disk::get(&world.link, RUNTIME_KEY).as_deref(), Some("10"), "it must survive the gateway's restart");
    world.until_moved(&mut shell).await;
    assert_eq!(world.share(), "50");
    assert_eq!(world.entries().await, ["ada start", "g1 set 10", "g1 set 50"]);
}

#[tokio::test]
async fn by_prometheus_it_decides_the_same() {
    let mut world = World::new().await;
    world.addresses.prometheus = Some(world.addresses.scorers[0].clone());
    let mut shell = world.started().await;
    assert_eq!(world.until_moved(&mut shell).await.carried_out, Some(true));
    world.agreement = 0.7;
    let report = world.until_moved(&mut shell).await;
    assert_eq!(report.decision.unwrap().of(Check::Agreement).unwrap().verdict, Verdict::Breach);
    assert_eq!(world.share(), "0");
}

#[tokio::test]
async fn a_gateway_that_cannot_be_told_is_told_again() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    world.agreement = 0.7;
    world.town.lock().unwrap().down = true;
    let report = world.until_moved(&mut shell).await;
    assert_eq!(report.carried_out, Some(false));
    assert!(report.troubles.iter().any(|trouble| trouble.contains("503")), "{:?}", report.troubles);
    assert_eq!(world.look(&mut shell).await.carried_out, Some(false));
    world.town.lock().unwrap().down = false;
    assert_eq!(world.look(&mut shell).await.carried_out, Some(true));
    assert_eq!(world.share(), "0");
    assert_eq!(world.look(&mut shell).await.carried_out, None);
}

#[tokio::test]
async fn a_guard_that_restarts_keeps_its_evidence_and_its_latch() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    drop(shell);
    let mut shell = world.shell("g1");
    world.agreement = 0.7;
    world.until_moved(&mut shell).await;
    drop(shell);
    let mut shell = world.shell("g1");
    for _ in 0..100 {
        assert_eq!(world.look(&mut shell).await.carried_out, None);
    }
    assert!(world.look(&mut shell).await.latched.unwrap().reason.contains("agreement has fallen"));
}

#[tokio::test]
async fn two_guards_do_not_duel_and_the_second_takes_over() {
    let mut world = World::new().await;
    let mut first = world.started().await;
    let mut second = world.shell("g2");
    world.until_moved(&mut first).await;
    let report = world.look(&mut second).await;
    assert!(!report.leading && report.decision.is_none());
    assert_eq!(report.leader.as_deref(), Some("g1"));
    world.now_ms += 60_000;
    world.agreement = 0.7;
    let report = world.until_moved(&mut second).await;
    assert_eq!((report.guard.as_str(), world.share().as_str()), ("g2", "0"), "with what the first one had learnt");
    assert!(!world.look(&mut first).await.leading);
}

#[tokio::test]
async fn the_last_human_word_holds_against_the_guard_and_an_alert() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    world.agreement = 0.5;
    // Between two looks: an alert asks for a rollback, then an operator sets 20 %.
    world.say(By::Alert("agreement".into()), What::Rollback).await;
    world.say(ada(), What::Set { from: Some("10".into()), to: "20".into() }).await;
    world.town.lock().unwrap().runtime = "20".into();
    for _ in 0..50 {
        world.look(&mut shell).await;
    }
    assert_eq!(world.share(), "20");
    let report = world.look(&mut shell).await;
    assert!(report.paused.unwrap().reason.starts_with("ada set the share to 20"));
    let entries = world.entries().await;
    assert_eq!(entries, ["ada start", "g1 set 10", "agreement rollback", "ada set 20", "g1 refused"]);
}

#[tokio::test]
async fn an_operator_who_speaks_while_the_guard_decides_wins() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    world.agreement = 0.5;
    // Held while the guard wants to act: it has read the ledger before.
    let decision = loop {
        world.now_ms += LOOK_MS;
        world.traffic(200.0);
        let seen = shell.source.look(0).await;
        let seen = shell.take_in(world.now_ms, seen, &mut Vec::new());
        let decision = shell.guard.judge(world.now_ms, &seen);
        if decision.action == Action::Rollback {
            world.say(ada(), What::Set { from: None, to: "20".into() }).await;
            let mut troubles = Vec::new();
            let done = shell.act(world.now_ms, &decision, &seen, true, &mut troubles).await.unwrap();
            break (done, troubles);
        }
    };
    assert_eq!(decision.0, Some(false));
    assert!(decision.1[0].contains("ada spoke meanwhile"));
    assert_eq!(world.share(), "10");
}

#[tokio::test]
async fn a_change_past_the_ledger_is_found_and_written_down() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    world.town.lock().unwrap().runtime = "30".into();
    let report = world.look(&mut shell).await;
    assert!(report.paused.unwrap().reason.contains("by hand from 10 % to 30 %"));
    world.look(&mut shell).await;
    assert_eq!(world.entries().await.last().unwrap(), "g1 found 10>30");
    assert_eq!(world.entries().await.len(), 3);
}

#[tokio::test]
async fn an_alerts_rollback_is_carried_out() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    world.say(By::Alert("SuggestAgreementDrop".into()), What::Rollback).await;
    let report = world.look(&mut shell).await;
    assert_eq!((report.carried_out, world.share().as_str()), (Some(true), "0"));
    assert!(report.latched.unwrap().reason.contains("alert SuggestAgreementDrop"));
}

#[tokio::test]
async fn a_state_that_cannot_be_read_is_put_aside_and_the_guard_begins_paused() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    drop(shell);
    let folder = world.folder.path().join("guard");
    std::fs::write(folder.join("state.json"), "{\"guard\": 5").unwrap();
    let mut shell = world.shell_after_a_term("g1");
    let report = world.look(&mut shell).await;
    assert!(report.paused.unwrap().reason.contains("could not be read"));
    assert!(folder.join("state.unreadable.json").exists());
    assert_eq!(world.share(), "10");
}

#[tokio::test]
async fn parts_that_are_gone_are_named_and_nothing_moves() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    world.addresses.scorers = vec!["http://127.0.0.1:9".into()];
    let mut shell = world.shell_after_a_term("g1");
    for _ in 0..60 {
        let report = world.look(&mut shell).await;
        assert_eq!(report.carried_out, None);
        assert!(report.troubles.iter().any(|trouble| trouble.contains("127.0.0.1:9")));
        assert!(report.line().contains("no data"), "{}", report.line());
    }
}

#[tokio::test]
async fn a_word_between_reading_the_log_and_looking_is_not_lost() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    // The alert's rollback has been read; then an operator decides otherwise, and only that share is seen.
    let alert = {
        let mut held = world.ledger().hold().await.unwrap();
        held.append(world.now_ms, By::Alert("old".into()), What::Rollback, "").unwrap();
        held.log().clone()
    };
    world.hand("ada").set(world.now_ms, Share::percent(20), "seen and meant").await.unwrap();
    world.now_ms += 1_000;
    let seen = shell.source.look(0).await;
    let seen = shell.take_in(world.now_ms, seen, &mut Vec::new());
    shell.guard.see(world.now_ms, &seen);
    shell.carry_out(world.now_ms, &alert);
    let decision = shell.guard.judge(world.now_ms, &seen);
    assert_eq!(decision.action, Action::Rollback);
    assert_eq!(shell.act(world.now_ms, &decision, &seen, true, &mut Vec::new()).await.unwrap(), Some(false));
    for _ in 0..5 {
        world.look(&mut shell).await;
    }
    assert_eq!(world.share(), "20");
    assert!(world.look(&mut shell).await.paused.unwrap().reason.contains("seen and meant"));
}
