//! Two operators, a guard and alerts change the share at once: the audit log has one order of entries, and the last
//! manual override holds.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

use std::time::Duration;

use console::{Console, Settings, Token};
use contract::alerts::{ACTION_LABEL, ACTION_ROLLBACK, HOOK_PATH};
use contract::share::Share;
use guard_runtime::audit_log::{Actor, Event};
use guard_runtime::clock::now_ms;
use guard_runtime::manual_override::ManualOverride;
use guard_runtime::testing::Harness;
use serde_json::json;

const TOKEN: &str = "0123456789abcdef";
/// An alert that began before every command of the operators, and one that begins after all of them.
const ALERTS: [(&str, &str); 2] = [("old", "2020-01-01T00:00:00Z"), ("new", "2099-01-01T00:00:00Z")];

/// Serves the console; where Alertmanager posts.
async fn hook(harness: &Harness) -> String {
    let console = Console::new(Settings {
        folder: harness.folder.path().join("guard"),
        gateways: harness.addresses.gateways.clone(),
        runtime_links: vec![harness.link.clone()],
        hook_token: Some(Token::new(TOKEN).unwrap()),
        ..Settings::default()
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}{HOOK_PATH}", listener.local_addr().unwrap());
    tokio::spawn(console.unwrap().serve(listener, std::future::pending()));
    url
}

async fn operator(mut manual_override: ManualOverride, percents: [u32; 6]) {
    for percent in percents {
        manual_override.set(now_ms(), Share::percent(percent), "as planned").await.unwrap();
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
async fn operators_a_guard_and_alerts_at_once_make_one_audit_log_in_which_the_last_manual_override_holds() {
    let mut harness = Harness::new().await;
    harness.now_ms = now_ms();
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    let before = harness.cluster.lock().unwrap().shares_set.len();
    let url = hook(&harness).await;
    harness.agreement = 0.5;
    let (ada, bob) = (harness.manual_override("ada"), harness.manual_override("bob"));
    let guard = async {
        for _ in 0..30 {
            harness.evaluate(&mut control_loop).await;
        }
    };
    tokio::join!(operator(ada, [11, 12, 13, 14, 15, 16]), operator(bob, [21, 22, 23, 24, 25, 26]), alerts(&url), guard);

    harness.manual_override("ada").set(now_ms(), Share::percent(30), "my last change").await.unwrap();
    alerts(&url).await;
    for _ in 0..30 {
        harness.evaluate(&mut control_loop).await;
    }
    assert_eq!(harness.share(), "30");
    assert_eq!(canary::disk::get(&harness.link, contract::share::RUNTIME_KEY).as_deref(), Some("30"));
    let report = harness.evaluate(&mut control_loop).await;
    assert_eq!(report.paused.unwrap().reason, "ada set the share to 30%: my last change");

    let entries = harness.audit_log().read().unwrap();
    let numbers: Vec<u64> = entries.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, (1..=entries.len() as u64).collect::<Vec<_>>());
    let sets: Vec<(&Actor, &str, &str)> = entries
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::ShareSet { from, to } => Some((&entry.actor, from.as_deref().unwrap(), to.as_str())),
            _ => None,
        })
        .collect();
    for pair in sets.windows(2) {
        assert_eq!(pair[0].2, pair[1].1, "each change begins where the one before ended: {sets:?}");
        let guard_after_operator = matches!(pair[0].0, Actor::Operator(_)) && matches!(pair[1].0, Actor::Guard(_));
        assert!(!guard_after_operator, "the guard fought an operator: {sets:?}");
    }
    let set_on_gateway = harness.cluster.lock().unwrap().shares_set.clone();
    let written: Vec<&str> = sets.iter().map(|(_, _, to)| *to).collect();
    assert_eq!(written, set_on_gateway, "the audit log has every share that was set on the gateway, in that order");
    assert!(set_on_gateway.len() > before + 12, "every actor changed the share: {set_on_gateway:?}");
    let of_alert = |name: &str| sets.iter().filter(|(by, _, _)| **by == Actor::Alert(name.into())).count();
    assert_eq!(
        (of_alert("old"), of_alert("new")),
        (0, 1),
        "an alert rolls back once, and not against a later override"
    );
}
