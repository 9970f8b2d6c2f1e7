//! Two operators, a guard and alerts move the share at once: the audit log tells one story, and the last human word
//! holds.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

use std::time::Duration;

use console::{Console, Settings, Token};
use contract::alerts::{ACTION_LABEL, ACTION_ROLLBACK, HOOK_PATH};
use contract::share::Share;
use guard_runtime::clock::now_ms;
use guard_runtime::hand::Hand;
use guard_runtime::ledger::{By, What};
use guard_runtime::testing::World;
use serde_json::json;

const TOKEN: &str = "0123456789abcdef";
/// An alert that began before every word of the operators, and one that begins after all of them.
const ALERTS: [(&str, &str); 2] = [("old", "2020-01-01T00:00:00Z"), ("new", "2099-01-01T00:00:00Z")];

/// Serves the console; where Alertmanager posts.
async fn hook(world: &World) -> String {
    let console = Console::new(Settings {
        folder: world.folder.path().join("guard"),
        gateways: world.addresses.gateways.clone(),
        runtime_links: vec![world.link.clone()],
        hook_token: Some(Token::new(TOKEN).unwrap()),
        ..Settings::default()
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}{HOOK_PATH}", listener.local_addr().unwrap());
    tokio::spawn(console.unwrap().serve(listener, std::future::pending()));
    url
}

async fn operator(mut hand: Hand, percents: [u32; 6]) {
    for percent in percents {
        hand.set(now_ms(), Share::percent(percent), "as planned").await.unwrap();
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

/// Each alert is posted again and again, as Alertmanager does while it fires.
async fn alerts(url: &str) {
    for _ in 0..4 {
        for (fingerprint, starts_at) in ALERTS {
            let post = json!({"version": "4", "alerts": [{
                "status": "firing", "fingerprint": fingerprint, "startsAt": starts_at,
                "labels": {"alertname": fingerprint, ACTION_LABEL: ACTION_ROLLBACK}, "annotations": {},
            }]});
            let sent = reqwest::Client::new().post(url).bearer_auth(TOKEN).json(&post).send().await.unwrap();
            assert!(sent.status().is_success(), "{}", sent.status());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn operators_a_guard_and_alerts_at_once_make_one_story_in_which_the_last_human_word_holds() {
    let mut world = World::new().await;
    world.now_ms = now_ms();
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    let before = world.town.lock().unwrap().told.len();
    let url = hook(&world).await;
    world.agreement = 0.5;
    let (ada, bob) = (world.hand("ada"), world.hand("bob"));
    let guard = async {
        for _ in 0..30 {
            world.look(&mut shell).await;
        }
    };
    tokio::join!(operator(ada, [11, 12, 13, 14, 15, 16]), operator(bob, [21, 22, 23, 24, 25, 26]), alerts(&url), guard);

    world.hand("ada").set(now_ms(), Share::percent(30), "my last word").await.unwrap();
    alerts(&url).await;
    for _ in 0..30 {
        world.look(&mut shell).await;
    }
    assert_eq!(world.share(), "30");
    assert_eq!(canary::disk::get(&world.link, contract::share::RUNTIME_KEY).as_deref(), Some("30"));
    let report = world.look(&mut shell).await;
    assert_eq!(report.paused.unwrap().reason, "ada set the share to 30%: my last word");

    let entries = world.ledger().read().unwrap();
    let numbers: Vec<u64> = entries.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, (1..=entries.len() as u64).collect::<Vec<_>>());
    let sets: Vec<(&By, &str, &str)> = entries
        .iter()
        .filter_map(|entry| match &entry.what {
            What::Set { from, to } => Some((&entry.by, from.as_deref().unwrap(), to.as_str())),
            _ => None,
        })
        .collect();
    for pair in sets.windows(2) {
        assert_eq!(pair[0].2, pair[1].1, "each change begins where the one before ended: {sets:?}");
        let guard_after_human = matches!(pair[0].0, By::Human(_)) && matches!(pair[1].0, By::Guard(_));
        assert!(!guard_after_human, "the guard fought an operator: {sets:?}");
    }
    let told = world.town.lock().unwrap().told.clone();
    let written: Vec<&str> = sets.iter().map(|(_, _, to)| *to).collect();
    assert_eq!(written, told, "what was written is what the gateway was told, in that order");
    assert!(told.len() > before + 12, "everybody had a say: {told:?}");
    let of_alert = |name: &str| sets.iter().filter(|(by, _, _)| **by == By::Alert(name.into())).count();
    assert_eq!((of_alert("old"), of_alert("new")), (0, 1), "an alert rolls back once, and not against a later word");
}
