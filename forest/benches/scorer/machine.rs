//! Where and when: what a number means nothing without.

use std::fs;
use std::process::Command;

use anyhow::Result;
use serde_json::{Value, json};

const PINNED: &str = "PERCH_BENCH_CORE";

/// Runs this program again on one core, without what slows peers down, and says so; false if this is that run.
pub(crate) fn pin_to_one_core() -> Result<bool> {
    if std::env::var_os(PINNED).is_some() {
        return Ok(false);
    }
    let core = std::thread::available_parallelism().map_or(0, |cores| cores.get() - 1).to_string();
    let mut command = Command::new("taskset");
    command.args(["-c", &core]).arg(std::env::current_exe()?).args(std::env::args_os().skip(1));
    // tract would capture a backtrace at every leaf.
    command.env_remove("RUST_BACKTRACE").env_remove("RUST_LIB_BACKTRACE").env(PINNED, &core);
    match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => {
            eprintln!("not pinned to a core, taskset does not start: {error}");
            Ok(false)
        }
    }
}

/// A core that this program does not run on, if there is one.
pub(crate) fn other_core() -> String {
    let mine = std::env::var(PINNED).ok().and_then(|core| core.parse::<usize>().ok()).unwrap_or(0);
    mine.saturating_sub(1).to_string()
}

pub(crate) fn describe() -> Value {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    json!({
        "cpu": model.trim_start_matches(['\t', ' ', ':']),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "kernel": output("uname", &["-sr"]),
        "pinned_to_core": std::env::var(PINNED).ok(),
        "load_at_end": load.split(' ').next(),
    })
}

/// The machine in one line.
pub(crate) fn line() -> String {
    let machine = describe();
    let text = |field: &str| machine.get(field).and_then(Value::as_str).unwrap_or("unknown").to_owned();
    let cores = machine.get("cores").and_then(Value::as_u64).unwrap_or(0);
    format!("{}, {cores} cores, {}", text("cpu"), text("kernel"))
}

pub(crate) fn date() -> String {
    output("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"])
}

pub(crate) fn commit() -> String {
    output("git", &["rev-parse", "HEAD"])
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}
