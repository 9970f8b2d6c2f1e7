//! `stack status`: what runs. The rollout itself is `perch status`.

use std::process::ExitCode;

use stack::error::name;

/// Exit code 0 when every part that `stack up` was told to start is ready, 1 otherwise.
pub(crate) async fn run() -> anyhow::Result<ExitCode> {
    let stack = super::deployment()?.prepare()?;
    let mut all = true;
    for part in stack.expected_parts() {
        match stack.left_running(part) {
            Some(process) => {
                let state = match stack.ready(part).await {
                    Ok(()) => "ready".to_owned(),
                    Err(why) => {
                        all = false;
                        format!("not ready: {why}")
                    }
                };
                say!("  {:<14} {:<24} pid {:<8} {state}", name(part), stack.url(part), process.pid());
            }
            None => {
                all = false;
                say!("  {:<14} {:<24} not running", name(part), stack.url(part));
            }
        }
    }
    match stack.share().await {
        Ok(Some(share)) => say!("  {:<14} {share}", "share"),
        Ok(None) => {
            say!("  {:<14} Envoy holds a value that is not a share, and treats it as off: run `make canary-0`", "share")
        }
        Err(_) => say!("  {:<14} no data (the gateway does not respond)", "share"),
    }
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
