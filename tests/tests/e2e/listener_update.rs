//! The gateway's configuration changes while requests are under way.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use contract::series::{FAILURES, INTERCEPTED, OBSERVATION};
use contract::share::Share;
use e2e::client::{Client, Protocol, request_body, suggest};
use e2e::eventually::eventually;
use e2e::scripted_stack::{ScriptedStack, good_response, with_observer};
use serde_json::json;

/// Longer than the drain after which Envoy closes what the old listener still has.
const CANDIDATE: Duration = Duration::from_secs(4);
/// Longer than any client may be left without a response or an end.
const HANGS: Duration = Duration::from_secs(20);
const UNDER_WAY: u64 = 8;

/// The configuration with its listener in the file `lds`, from which Envoy takes updates.
fn dynamic(text: &str, lds: &Path) -> anyhow::Result<String> {
    const LISTENERS: &str = "static_resources:\n  listeners:\n  - name: gateway\n";
    let (before, rest) = text.split_once(LISTENERS).context("the listener is not where it was")?;
    let (listener, clusters) = rest.split_once("\n  clusters:\n").context("the clusters are not where they were")?;
    let kind = "type.googleapis.com/envoy.config.listener.v3.Listener";
    std::fs::write(lds, format!("resources:\n  - \"@type\": {kind}\n    name: gateway\n{listener}\n"))?;
    Ok(format!(
        "node: {{id: gateway, cluster: gateway}}\n{before}dynamic_resources:\n  lds_config: {{path_config_source: {{path: \
         {lds:?}}}}}\nstatic_resources:\n  clusters:\n{clusters}"
    ))
}

/// As a control plane does: a new file under the old name.
fn update(lds: &Path, from: &str, to: &str) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(lds)?;
    ensure!(text.contains(from), "the listener has no {from:?}");
    let fresh = lds.with_extension("fresh");
    std::fs::write(&fresh, text.replace(from, to))?;
    Ok(std::fs::rename(&fresh, lds)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_update_in_the_middle_of_calls_ends_neither_envoy_nor_the_filter() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let lds = dir.path().join("lds.yaml");
    let gateway = ScriptedStack::start(|builder| {
        let lds = lds.clone();
        builder
            .share(Share::ALL)
            .concurrency(1)
            .filter_config(&json!({"scorer": {"deadline_ms": 20_000}}))
            // An error goes where Envoy refuses it, and shows it.
            .edit_config(move |text| dynamic(&text, &lds).unwrap_or_else(|error| format!("{error:#}")))
    })
    .await?;
    let pid = gateway.stack.pid(stack::Part::Gateway);
    // The listener alone, and the filter with it.
    let updates =
        [("request_headers_timeout: 10s", "request_headers_timeout: 11s"), ("20000", "20001"), ("20001", "20002")];
    let mut cut = 0;
    for (from, to) in updates {
        gateway.scorer.respond_with(with_observer(|request| good_response(request).after(CANDIDATE)));
        let mut clients = tokio::task::JoinSet::new();
        for number in 0..UNDER_WAY {
            let protocol = if number % 2 == 0 { Protocol::H1 } else { Protocol::H2 };
            let request = suggest(&format!("user-{number}"), request_body([88]))?;
            let address = gateway.address();
            clients.spawn(async move { tokio::time::timeout(HANGS, Client::once(address, protocol, request)).await });
        }
        eventually("the candidate is called for each", || async {
            let open = gateway.scorer.open();
            ensure!(open >= UNDER_WAY, "for {open}");
            Ok(())
        })
        .await?;
        update(&lds, from, to)?;
        while let Some(ended) = clients.join_next().await {
            // Served, or its connection closed with the old listener.
            let ended = ended?.context("a client was left without a response and without an end")?;
            match ended {
                Ok(response) => assert_eq!(response.status, 200),
                Err(_) => cut += 1,
            }
        }
        gateway.scorer.respond_with(with_observer(good_response));
        eventually("new requests are served by the candidate", || async {
            let response = gateway.send(suggest("ann", request_body([88]))?).await?;
            ensure!(
                (response.status.as_u16(), response.arm()) == (200, "candidate"),
                "{} {}",
                response.status,
                response.arm()
            );
            Ok(())
        })
        .await?;
        assert_eq!(gateway.stack.pid(stack::Part::Gateway), pid, "Envoy lives");
    }
    assert!(cut > 0, "no call was cut off in its middle, so this has shown nothing");
    eventually("every request is accounted for, and nothing is under way", || async {
        let scrape = gateway.scrape().await?;
        let [intercepted, ended] = [INTERCEPTED, OBSERVATION].map(|name| scrape.sum(name, &[]));
        ensure!(intercepted == ended && intercepted >= 27.0, "{ended} of {intercepted} ended");
        ensure!(scrape.sum(FAILURES, &[]) == 0.0, "a callback failed");
        ensure!(gateway.scorer.open() + gateway.rules.open() == 0, "calls are under way");
        let updated = scrape.sum("envoy_listener_manager_lds_update_success", &[]);
        ensure!(updated >= 4.0, "{updated} updates were taken");
        Ok(())
    })
    .await
}
