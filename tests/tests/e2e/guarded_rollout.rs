//! A real guard drives a rollout while clients misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use contract::series::{FALLBACK, PASSED_THROUGH};
use contract::share::Share;
use e2e::client::{PATH, request_body};
use e2e::load::Load;
use e2e::raw_client::{self, GARBAGE, RawClient};
use e2e::real_stack::{RealStack, TRANSACTIONS};
use serde_json::Value;
use stack::{Part, Stack};

/// The default plan in seconds instead of weeks, with fewer steps.
const PLAN: &str = "
steps: [50%, 100%]
minimum_time: 4s
minimum_requests: 1000
settle_time: 2s
baseline: {minimum_time: 4s, minimum_requests: 1000}
agreement: {tolerated_drop: 0.05}
signals: {drift_at_most: null}
";
/// Requests of a round by clients that behave, and rounds in which the rollout must be through.
const REQUESTS: u64 = 400;
const ROUNDS: usize = 300;
const SLOW: usize = 33;

async fn perch(stack: &Stack, arguments: &[&str]) -> anyhow::Result<String> {
    let done = tokio::process::Command::new(stack.program("perch"))
        .args(arguments)
        .env("PERCH_GUARD_FOLDER", stack.guard_folder())
        .env("PERCH_RUNTIME_LINK", stack.runtime_link())
        .env("PERCH_GATEWAYS", stack.url(Part::Admin))
        .env("PERCH_OPERATOR", "test")
        .output()
        .await?;
    ensure!(done.status.success(), "perch {}: {}", arguments.join(" "), String::from_utf8_lossy(&done.stderr));
    Ok(String::from_utf8(done.stdout)?)
}

/// Uploads that take seconds, one after another, until `over`.
async fn uploads_slowly(gateway: std::net::SocketAddr, over: Arc<AtomicBool>) -> anyhow::Result<()> {
    let whole = raw_client::post(PATH, &[("x-user-id", "slow")], &request_body([88]));
    while !over.load(Relaxed) {
        let mut client = RawClient::connect(gateway).await?;
        client.trickle(&whole, whole.len().div_ceil(20), Duration::from_millis(250)).await?;
        let response = client.read(12).await?;
        ensure!(response.starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&response));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_beside_ill_behaved_clients_is_neither_rolled_back_nor_frozen() -> anyhow::Result<()> {
    let real = RealStack::start(|builder| {
        builder.guard(true).share(Share::OFF).concurrency(2).access_log(false).env(
            Part::Console,
            "PERCH_GUARD_INTERVAL",
            "1",
        )
    })
    .await?;
    let plan = real.stack.dir().join("plan.yaml");
    std::fs::write(&plan, PLAN)?;
    perch(&real.stack, &["ramp", "start", "--plan", &plan.display().to_string(), "--reason", "test"]).await?;
    let over = Arc::new(AtomicBool::new(false));
    let mut slow = tokio::task::JoinSet::new();
    for _ in 0..SLOW {
        slow.spawn(uploads_slowly(real.address(), Arc::clone(&over)));
    }
    let whole = raw_client::post(PATH, &[("x-user-id", "leaves")], &request_body([88]));
    let mut share = None;
    for round in 0..ROUNDS {
        let load = Load::start(real.address(), REQUESTS, 8, TRANSACTIONS);
        // One in twenty sends garbage, and as many leave: in the middle of their request, or before the response.
        for number in 0..usize::try_from(REQUESTS / 20)? {
            let body = GARBAGE.get(number % GARBAGE.len()).copied().unwrap_or_default();
            let mut client = RawClient::connect(real.address()).await?;
            client
                .write(&raw_client::post(PATH, &[("x-user-id", &format!("garbage-{number}"))], body.as_bytes()))
                .await?;
            ensure!(client.read(9).await?.starts_with(b"HTTP/1.1 "), "garbage gets no response");
            let mut client = RawClient::connect(real.address()).await?;
            let sent = if number % 2 == 0 { whole.len() - 5 } else { whole.len() };
            client.write(whole.get(..sent).unwrap_or_default()).await?;
            client.reset()?;
        }
        load.finish().await.with_context(|| format!("round {round}"))?;
        let status: Value = serde_json::from_str(&perch(&real.stack, &["ramp", "status", "--json"]).await?)?;
        for stopped in ["/report/latched/reason", "/report/frozen/reason"] {
            let reason = status.pointer(stopped).and_then(Value::as_str);
            ensure!(reason.is_none(), "round {round}: {stopped}: {reason:?}");
        }
        share = status.pointer("/report/share").and_then(Value::as_f64);
        if share == Some(1.0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(share, Some(1.0), "the rollout is through");
    over.store(true, Relaxed);
    while let Some(client) = slow.join_next().await {
        client?.context("a slow client")?;
    }
    let scrape = real.scrape().await?;
    let [fallbacks, passed] = [FALLBACK, PASSED_THROUGH].map(|name| scrape.sum(name, &[]));
    assert_eq!(fallbacks, 0.0);
    assert!(passed > 0.0, "garbage and departures were the clients' doing");
    Ok(())
}
