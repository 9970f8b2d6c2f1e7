//! What cannot work is refused with one clear message that says how to fix it, and nothing is left half started.

use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context as _, ensure};
use contract::share::Share;
use e2e::client::{request_body, suggest};
use e2e::real_stack::{self, RealStack};
use e2e::scripted_stack::ScriptedStack;
use serde_json::{Value, json};
use stack::Part;
use stack::ports::Ports;

/// The filter is given `patch`: it logs `expected` once, and clients get the baseline.
async fn refused_by_the_filter(patch: Value, expected: &[&str]) -> anyhow::Result<()> {
    let what = patch.to_string();
    let gateway =
        ScriptedStack::start(|builder| builder.share(Share::ALL).concurrency(2).filter_config(&patch)).await?;
    for _ in 0..3 {
        let response = gateway.send(suggest("ann", request_body([88]))?).await?;
        assert_eq!((response.status.as_u16(), response.arm()), (200, ""), "{what}");
        assert_eq!(
            response.body,
            e2e::scripted_stack::items(&gateway.rules.last()?, e2e::scripted_stack::BASELINE_LABEL)
        );
    }
    assert_eq!(gateway.scorer.hits(), 0, "{what}: the scorer was called");
    let log = gateway.stack.log(Part::Gateway);
    let mut lines: Vec<&str> = log
        .lines()
        .filter(|line| expected.iter().all(|part| line.contains(part)))
        // The two plugins and each worker's VM say the same; what stands before it is Envoy's.
        .map(|line| line.split_once("perch").map_or(line, |(_, said)| said))
        .collect();
    lines.sort_unstable();
    lines.dedup();
    ensure!(!lines.is_empty(), "{what}: no line of the log has all of {expected:?}:\n{log}");
    Ok(())
}

#[tokio::test]
async fn a_bad_filter_configuration_is_named_with_its_fix_and_clients_get_the_baseline() -> anyhow::Result<()> {
    refused_by_the_filter(json!({"salt": "short"}), &["salt", "16"]).await?;
    refused_by_the_filter(json!({"identity": [{"haeder": "x-user-id"}]}), &["identity", "haeder"]).await?;
    refused_by_the_filter(json!({"response": {"label": "candidates"}}), &["response.label", "/"]).await?;
    refused_by_the_filter(json!({"scorer": {"deadline_ms": 0}}), &["scorer.deadline_ms", "0"]).await?;
    refused_by_the_filter(json!({"limits": {"body_byte": 1}}), &["limits", "body_byte"]).await
}

#[tokio::test]
async fn the_salt_is_never_in_the_log_not_even_a_bad_one() -> anyhow::Result<()> {
    let patch = json!({"salt": "hush-hush"});
    let gateway = ScriptedStack::start(|builder| builder.filter_config(&patch)).await?;
    let log = gateway.stack.log(Part::Gateway);
    ensure!(!log.contains("hush-hush"), "{log}");
    Ok(())
}

/// Nothing listens on the parts' ports.
fn nothing_runs(ports: &Ports, parts: &[Part]) -> anyhow::Result<()> {
    for part in parts {
        let address = ports.address(*part);
        TcpListener::bind(address).with_context(|| format!("{part:?} is left on {address}"))?;
    }
    Ok(())
}

const PARTS: [Part; 4] = [Part::Rules, Part::Scorer, Part::Gateway, Part::Admin];

/// Starting fails with one message that has all of `expected`, and leaves nothing behind.
async fn refused_at_start(
    change: impl FnOnce(stack::Builder) -> stack::Builder,
    taken: Option<Part>,
    expected: &[&str],
) -> anyhow::Result<()> {
    let ports = Ports::free()?;
    let dir = tempfile::tempdir()?;
    let builder = change(real_stack::builder(dir.path())?.ports(ports.clone()));
    let holder = taken.map(|part| TcpListener::bind(ports.address(part))).transpose()?;
    let message = match builder.start().await {
        Ok(_) => anyhow::bail!("it started; {expected:?} should have kept it from that"),
        Err(error) => error.to_string(),
    };
    for part in expected {
        ensure!(message.contains(part), "the message lacks {part:?}: {message}");
    }
    drop(holder);
    nothing_runs(&ports, &PARTS)
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_variable_before_anything_starts() -> anyhow::Result<()> {
    for (part, variable) in [
        (Part::Rules, "PERCH_RULES_PORT"),
        (Part::Scorer, "PERCH_SCORER_PORT"),
        (Part::Gateway, "PERCH_GATEWAY_PORT"),
        (Part::Admin, "PERCH_ADMIN_PORT"),
    ] {
        refused_at_start(|builder| builder, Some(part), &["taken", variable]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_missing_store_is_named_with_its_fix_and_nothing_is_left_running() -> anyhow::Result<()> {
    let missing = "sqlite:///nowhere/at/all/perch.sqlite";
    refused_at_start(|builder| builder.store(missing), None, &["/nowhere/at/all/perch.sqlite", "make"]).await
}

#[tokio::test]
async fn a_missing_filter_module_is_named_with_the_command_that_makes_it() -> anyhow::Result<()> {
    refused_at_start(|builder| builder.module("/nowhere/filter.wasm"), None, &["/nowhere/filter.wasm", "make build"])
        .await
}

#[tokio::test]
async fn a_configuration_that_envoy_refuses_is_shown_and_nothing_is_left_running() -> anyhow::Result<()> {
    let edit = |config: String| config.replace("static_resources:", "statik_resources:");
    refused_at_start(move |builder| builder.edit_config(edit), None, &["gateway", "statik_resources"]).await
}

fn champion(registry: &Path) -> anyhow::Result<std::path::PathBuf> {
    let version = std::fs::read_to_string(registry.join("champion"))?;
    Ok(registry.join(version.trim()))
}

/// Only the champion is left of the registry, and its model is cut in half.
fn cut_in_half(registry: &Path) -> anyhow::Result<()> {
    for other in ["previous", "challenger"] {
        let _ = std::fs::remove_file(registry.join(other));
    }
    let model = champion(registry)?.join("model.onnx");
    let file = std::fs::OpenOptions::new().write(true).open(&model).with_context(|| model.display().to_string())?;
    Ok(file.set_len(file.metadata()?.len() / 2)?)
}

#[tokio::test]
async fn a_model_cut_in_half_is_refused_with_its_fix_and_clients_get_the_baseline() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let builder = real_stack::builder(dir.path())?.share(Share::ALL);
    cut_in_half(&dir.path().join("registry"))?;
    let stack = builder.start().await?;
    e2e::scripted_stack::wait_for_shares(&stack).await?;
    let response =
        e2e::client::Client::once(stack.gateway(), e2e::client::Protocol::H1, suggest("ann", request_body([1, 2]))?)
            .await?;
    assert_eq!((response.status.as_u16(), response.arm(), response.fallback()), (200, "baseline", "unavailable"));
    assert_eq!(e2e::scripted_stack::item_count(&response)?, 2);
    let log = stack.log(Part::Scorer);
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("model.onnx")).collect();
    ensure!(lines.len() == 1, "one line should name the model: {log}");
    ensure!(lines.iter().all(|line| line.contains("copy it again")), "without the fix: {lines:?}");
    Ok(())
}

#[tokio::test]
async fn a_model_cut_in_half_while_the_scorer_runs_leaves_the_good_one_serving() -> anyhow::Result<()> {
    let real = RealStack::start(|builder| builder.share(Share::ALL)).await?;
    let before = real.send(suggest("ann", request_body([1]))?).await?;
    assert_eq!(before.arm(), "candidate");
    cut_in_half(&real.registry())?;
    let mut reload = e2e::client::post("/ml/v2/model/reload", "")?;
    let token = std::fs::read_to_string(real.stack.console_token()?)?;
    reload.headers_mut().insert("authorization", format!("Bearer {}", token.trim()).parse()?);
    let reload = real.send(reload).await?;
    ensure!(reload.status != 200 && reload.status != 401, "it took half a model: {:?}", reload.json());
    let after = real.send(suggest("ann", request_body([1]))?).await?;
    let version = |response: &e2e::client::ClientResponse| response.header(contract::headers::MODEL_VERSION).to_owned();
    assert_eq!((after.arm(), version(&after)), ("candidate", version(&before)));
    Ok(())
}
