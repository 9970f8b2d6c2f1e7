//! `perch guard`: looks, decides, acts and tells, until it is ended.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use contract::ports::{self, Part};
use perch::console::{Console, Settings, Token};
use perch::guard::control_loop::{ControlLoop, ControlLoopError, EvaluationReport};
use perch::guard::plan::Plan;
use perch::guard::sink;
use perch::guard::source::system::{Addresses, System};
use perch::guard::{clock, error_chain, lease};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::gateways::{Gateways, local};
use super::operator::{Folder, Layers};

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Options {
    #[command(flatten)]
    gateways: Gateways,
    #[command(flatten)]
    layers: Layers,
    #[command(flatten)]
    folder: Folder,
    /// A scorer, once for each; the first is asked for evidence by user [default: the local one]
    #[arg(long = "scorer", value_name = "URL", env = "PERCH_SCORERS", value_delimiter = ',')]
    scorers: Vec<String>,
    /// Prometheus; without it the gateways and scorers themselves are read
    #[arg(long, value_name = "URL", env = "PERCH_PROMETHEUS")]
    prometheus: Option<String>,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", env = "PERCH_GUARD_INTERVAL", default_value_t = 5,
          value_parser = clap::value_parser!(u64).range(1..=3_600))]
    interval: u64,
    /// This guard's name in the audit log [default: host and process number]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Where the console and the guard's metrics are served [default: the contract's console port on loopback]
    #[arg(long, value_name = "HOST:PORT", env = "PERCH_CONSOLE_LISTEN")]
    listen: Option<String>,
    /// A name under which browsers reach the console, beside `localhost` and IP addresses; once for each
    #[arg(long = "host", value_name = "NAME", env = "PERCH_CONSOLE_HOSTS", value_delimiter = ',')]
    hosts: Vec<String>,
    /// The token that the console asks for before it acts; without one it only shows
    #[arg(long, value_name = "FILE", env = "PERCH_CONSOLE_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// The token that Alertmanager shows; without one its posts are refused
    #[arg(long, value_name = "FILE", env = "PERCH_HOOK_TOKEN_FILE")]
    hook_token_file: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
It moves nothing until `perch ramp start`. Several may run on one folder: one acts, the others take over when it is gone.
Each look that differs from the one before is a line of JSON on standard output. SIGTERM and SIGINT end it in order.

Examples:
  perch guard --prometheus http://127.0.0.1:9090
  perch guard --gateway http://10.0.0.4:9901 --gateway http://10.0.0.5:9901 --folder /var/lib/perch
  perch guard --token-file console-token            people who show the token may act at the console

Exit codes:
  0  it was ended
  1  it could not start; the message says why";

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let gateways = options.gateways.urls()?;
    let scorers = if options.scorers.is_empty() { vec![local(Part::Scorer)?] } else { options.scorers.clone() };
    let folder = options.folder.required()?;
    let links = options.layers.links(&options.gateways);
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
        .with_context(|| format!("the guard's folder {}", folder.display()))?;
    warn_of_locks(&folder);
    let mut last = None;
    let (stop, mut stopped) = tokio::sync::watch::channel(());
    let serving = tokio::spawn(console.clone().serve(listener, async move {
        // Ready when the sender is gone, too.
        let _ = stopped.changed().await;
    }));
    let ran = shell
        .run(ended()?, |look| {
            if let Ok(report) = look {
                console.tell(report);
            }
            tell(look, &mut last);
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
        format!("listening on {address}: does another guard run here? Give this one an address with --listen HOST:PORT")
    })
}

/// Ready when somebody wants it to end.
fn ended() -> anyhow::Result<impl Future<Output = ()>> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}

/// A line for what is new.
fn tell(look: Result<&EvaluationReport, &ControlLoopError>, last: &mut Option<EvaluationReport>) {
    let line = match look {
        Ok(report) => {
            let new = last.as_ref().is_none_or(|before| report.differs_from(before));
            *last = Some(report.clone());
            if !new {
                return;
            }
            json!({"level": "info", "message": report.line(), "report": report})
        }
        Err(error) => {
            json!({"level": "error", "at_ms": clock::now_ms(), "message": format!("nothing was set: {}", error_chain(error))})
        }
    };
    // A reader that has gone is no reason to end.
    let _ = std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{line}\n"));
}

/// Says when other machines may have the folder and do not see this one's locks.
fn warn_of_locks(folder: &Path) {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    if !lease::locks_on_one_machine_only(&folder, &mounts) {
        return;
    }
    let message = format!(
        "{} is on NFS mounted with locks of its own: a guard or an operator on another machine would write the audit log \
         at the same time. Mount it without nolock and local_lock, or run everything on this machine",
        folder.display()
    );
    let line = json!({"level": "warn", "at_ms": clock::now_ms(), "message": message});
    let _ = std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{line}\n"));
}

fn name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    format!("{}-{}", if host.is_empty() { "guard" } else { host }, std::process::id())
}
