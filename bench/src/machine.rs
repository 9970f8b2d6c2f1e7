//! Cores, processes' CPU time and memory, where and when.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// The gateway's core, and the others'.
#[derive(Debug, Clone)]
pub(crate) struct Cores {
    pub(crate) gateway: String,
    pub(crate) rest: String,
}

impl Cores {
    /// # Errors
    /// When there is only one.
    pub(crate) fn split() -> Result<Self> {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        ensure!(count > 1, "one core is not enough: the gateway needs one of its own");
        Ok(Self { gateway: (count - 1).to_string(), rest: format!("0-{}", count - 2) })
    }
}

/// All threads of `pid` run on these cores, and those that they start.
pub(crate) fn pin(pid: u32, cores: &str) -> Result<()> {
    run("taskset", &["-a", "-c", "-p", cores, &pid.to_string()])
}

/// Gives all threads of `pid` idle priority: they run only while no other thread wants the core.
pub(crate) fn lower_priority(pid: u32) -> Result<()> {
    run("chrt", &["-a", "-i", "-p", "0", &pid.to_string()])
}

/// Gives all threads of `pid` normal priority again.
pub(crate) fn restore_priority(pid: u32) -> Result<()> {
    run("chrt", &["-a", "-o", "-p", "0", &pid.to_string()])
}

/// Raises the limit of open files as far as the system allows: while a gateway stands still, every request that is due
/// takes a connection, which is two files here.
///
/// # Errors
/// When that cannot be set.
pub(crate) fn raise_open_file_limit() -> Result<()> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let most = line.and_then(|line| line.split_whitespace().nth(1)).context("no limit of open files")?;
    run("prlimit", &["--pid", &std::process::id().to_string(), &format!("--nofile={most}:{most}")])
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let done = Command::new(program).args(arguments).output().with_context(|| format!("{program} (util-linux)"))?;
    ensure!(done.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// CPU time of the threads of `pid`, in ns, by the scheduler's own account.
pub(crate) fn cpu_ns(pid: u32) -> Result<u64> {
    let folder = format!("/proc/{pid}/task");
    let mut total = 0;
    for task in fs::read_dir(&folder).with_context(|| folder.clone())? {
        // A thread may end after it was listed.
        let account = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        total += account.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(total)
}

/// Resident memory of `pid`, in bytes.
pub(crate) fn memory(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}

/// Makes the kernel wake the calling thread as near to the time it sleeps until as the clock allows.
pub(crate) fn minimise_timer_slack() {
    if let Ok(thread) = fs::read_link("/proc/thread-self")
        && let Some(id) = thread.file_name().and_then(|id| id.to_str())
    {
        // Without it the kernel may be 50 µs late, which would be part of every latency.
        let _ = fs::write(format!("/proc/{id}/timerslack_ns"), "1");
    }
}

/// `{"machine", "date", "commit"}`.
pub(crate) fn environment() -> Value {
    json!({
        "machine": name(),
        "date": output("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
        "commit": output("git", &["rev-parse", "HEAD"]),
    })
}

/// Processor, cores, kernel.
pub(crate) fn name() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let model = model.trim_start_matches(['\t', ':', ' ']);
    format!("{model}, {cores} cores, {}", output("uname", &["-sr"]))
}

fn output(program: &str, arguments: &[&str]) -> String {
    let run = Command::new(program).args(arguments).output();
    let text = run.ok().filter(|run| run.status.success()).and_then(|run| String::from_utf8(run.stdout).ok());
    text.map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
}
