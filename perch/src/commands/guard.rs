//! `perch guard`: runs the guard and the console until a signal ends them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clients::error_chain;
use console::{Console, Settings, Token};
use contract::ports::{self, Part};
use guard::plan::Plan;
use guard_runtime::control_loop::{ControlLoop, ControlLoopError, EvaluationReport};
use guard_runtime::lease;
use guard_runtime::sink;
use guard_runtime::source::system::{Addresses, System};
use logging::LogOptions;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::gateways::{Gateways, local};
use super::operator::{Folder, RuntimeLinks};

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Options {
    #[command(flatten)]
    log: LogOptions,
    #[command(flatten)]
    gateways: Gateways,
    #[command(flatten)]
    runtime: RuntimeLinks,
    #[command(flatten)]
    folder: Folder,
    /// URL of a scorer; repeat it for each. The guard reads per-user counts (accept rate, sample ratio) from the first,
    /// and metrics from all [default: the local one]
    #[arg(long = "scorer", value_name = "URL", env = "PERCH_SCORERS", value_delimiter = ',')]
    scorers: Vec<String>,
    /// URL of Prometheus [default: none, and the guard reads the gateways and scorers directly; for the other commands
    /// the default is the local one]
    #[arg(long, value_name = "URL", env = "PERCH_PROMETHEUS")]
    prometheus: Option<String>,
    /// Seconds between two evaluations
    #[arg(long, value_name = "SECONDS", env = "PERCH_GUARD_INTERVAL", default_value_t = 5,
          value_parser = clap::value_parser!(u64).range(1..=3_600))]
    interval: u64,
    /// This guard's name in the audit log [default: host and process number]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Address of the console and of the guard's metrics [default: 127.0.0.1:8030, or PERCH_CONSOLE_PORT]
    #[arg(long, value_name = "HOST:PORT", env = "PERCH_CONSOLE_LISTEN")]
    listen: Option<String>,
    /// A host name by which browsers reach the console, besides `localhost` and IP addresses; repeat it for each
    #[arg(long = "host", value_name = "NAME", env = "PERCH_CONSOLE_HOSTS", value_delimiter = ',')]
    hosts: Vec<String>,
    /// File with the operator's token, which signs in to the console; without one the console is read-only
    #[arg(long, value_name = "FILE", env = "PERCH_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// File with Alertmanager's bearer token; without one its posts are rejected
    #[arg(long, value_name = "FILE", env = "PERCH_HOOK_TOKEN_FILE")]
    hook_token_file: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
The guard changes no share before `perch ramp start`. Several guards may share one folder: one leads, and another takes
over when the leader stops. Each evaluation that differs from the one before is logged on standard error. SIGTERM and
SIGINT shut it down.

Examples:
  perch guard --prometheus http://127.0.0.1:9090
  perch guard --gateway http://10.0.0.4:9901 --gateway http://10.0.0.5:9901 --folder /var/lib/perch
  perch guard --token-file console-token            operators with the token can act at the console

Exit codes:
  0  it was shut down
  1  failure, e.g. it could not start; the message has the reason
  2  wrong usage";

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    options.log.start();
    let gateways = options.gateways.urls()?;
    let scorers = if options.scorers.is_empty() { vec![local(Part::Scorer)?] } else { options.scorers.clone() };
    let folder = options.folder.required()?;
    let links = options.runtime.links(&options.gateways);
    let sink = sink::Gateways::new(&gateways, links.clone())?;
    let prometheus = options.prometheus.clone();
    let addresses = Addresses { gateways: gateways.clone(), scorers: scorers.clone(), prometheus: prometheus.clone() };
    let source = System::new(&addresses)?;
    let token = |file: &Option<PathBuf>| file.as_deref().map(Token::from_file).transpose();
    let console = Console::new(Settings {
        folder: folder.clone(),
        gateways,
        runtime_links: links,
        scorers,
        prometheus,
        hosts: options.hosts.clone(),
        operator_token: token(&options.token_file)?,
        hook_token: token(&options.hook_token_file)?,
    })?;
    let listener = listener(options.listen.as_deref()).await?;
    let me = options.name.clone().unwrap_or_else(name);
    let interval = Duration::from_secs(options.interval);
    let mut shell = ControlLoop::new(source, sink, &folder, me, interval, Plan::parse("")?)
        .with_context(|| format!("opening the guard's folder {}", folder.display()))?;
    warn_of_locks(&folder);
    let mut last = None;
    let (stop, mut stopped) = tokio::sync::watch::channel(());
    let serving = tokio::spawn(console.clone().serve(listener, async move {
        // Also ready when the sender is dropped.
        let _ = stopped.changed().await;
    }));
    let ran = shell
        .run(ended()?, |evaluation| {
            if let Ok(report) = evaluation {
                console.record(report);
            }
            log(evaluation, &mut last);
        })
        .await;
    drop(stop);
    serving.await?;
    Ok(ran?)
}

async fn listener(address: Option<&str>) -> anyhow::Result<TcpListener> {
    let usual = || ports::address(Part::Console, |name| std::env::var(name).ok());
    let address = address.map_or_else(usual, |address| Ok(address.to_owned()))?;
    TcpListener::bind(&address).await.with_context(|| {
        format!("listening on {address}; if another guard runs here, give this one an address with --listen HOST:PORT")
    })
}

/// Ready on SIGTERM or SIGINT.
fn ended() -> anyhow::Result<impl Future<Output = ()>> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}

/// Logs an evaluation that differs from the last one.
fn log(evaluation: Result<&EvaluationReport, &ControlLoopError>, last: &mut Option<EvaluationReport>) {
    match evaluation {
        Ok(report) => {
            let new = last.as_ref().is_none_or(|before| report.differs_from(before));
            *last = Some(report.clone());
            if new {
                log_evaluation(report);
            }
        }
        Err(error) => tracing::error!(error = error_chain(error), effect = "no share was set", "evaluation_failed"),
    }
}

fn log_evaluation(report: &EvaluationReport) {
    for problem in &report.problems {
        tracing::warn!(error = problem, "evaluation_incomplete");
    }
    match &report.decision {
        Some(decision) => tracing::info!(
            action = decision.action.as_str(),
            set_share = decision.set_share.as_ref().map(tracing::field::display),
            carried_out = report.carried_out,
            reasons = decision.reasons.join("; "),
            "evaluated"
        ),
        None => tracing::info!(leader = report.leader.as_deref().unwrap_or("another guard"), "standing_by"),
    }
}

/// Warns if other machines can mount the folder and do not see this one's locks.
fn warn_of_locks(folder: &Path) {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    if !lease::locks_on_one_machine_only(&folder, &mounts) {
        return;
    }
    tracing::warn!(
        folder = %folder.display(),
        error = "the folder is on NFS, mounted with locks that other machines do not see",
        effect = "a guard or an operator on another machine could write the audit log at the same time",
        fix = "mount it without nolock and local_lock, or run everything on this machine",
        "folder_locks_are_local"
    );
}

fn name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    format!("{}-{}", if host.is_empty() { "guard" } else { host }, std::process::id())
}
