//! The reference rules backend: serves suggestions, makes the demo's store, exports training rows.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use contract::ports::{self, Part};
use logging::LogOptions;
use scorer_store::Options;
use suggestions::generator::{self, Plan};
use suggestions::rules::backend::{self, Application};
use suggestions::{create_store, export, open_store, transactions};
use tokio::signal::unix::{SignalKind, signal};

/// The reference application: suggestions from rules over a store of transactions.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Command {
    #[command(flatten)]
    log: LogOptions,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Serve POST /ml/suggestions until SIGTERM or Ctrl-C
    Serve(Serve),
    /// Make the demo's store: users and transactions from a fixed seed
    Seed(Seed),
    /// Write training rows for models/train.py
    Features(Features),
}

#[derive(Args)]
struct At {
    /// sqlite://PATH or postgres://USER@HOST:PORT/DATABASE
    #[arg(long, env = "PERCH_STORE", default_value = "sqlite://.perch/data/perch.sqlite", hide_env_values = true)]
    store: String,
}

#[derive(Args)]
struct Serve {
    #[command(flatten)]
    at: At,
    /// Where to listen; the default is PERCH_HOST:PERCH_RULES_PORT
    #[arg(long, env = "PERCH_RULES_LISTEN")]
    listen: Option<SocketAddr>,
}

#[derive(Args)]
struct Seed {
    #[command(flatten)]
    at: At,
    /// Seed of all random choices: the same seed gives the same store
    #[arg(long, default_value_t = Plan::default().seed)]
    seed: u64,
    /// How many users
    #[arg(long, default_value_t = Plan::default().users, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    users: u64,
}

#[derive(Args)]
struct Features {
    #[command(flatten)]
    at: At,
    /// The folder to write
    #[arg(long, default_value = "models/features")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let command = Command::parse();
    command.log.start();
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line with its causes: a backtrace, where the environment asks for one, would bury the fix.
            tracing::error!(error = format!("{error:#}"), "failed");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting threads")?;
    runtime.block_on(async {
        match command.what {
            What::Serve(serve) => run_server(serve).await,
            What::Seed(seed) => run_seed(seed).await,
            What::Features(features) => run_features(features).await,
        }
    })
}

async fn run_server(serve: Serve) -> anyhow::Result<()> {
    let address = match serve.listen {
        Some(address) => address,
        None => ports::address(Part::Rules, |name| std::env::var(name).ok())?
            .parse()
            .context("PERCH_HOST is not an IP address: give one like 127.0.0.1")?,
    };
    let store = open_store(&serve.at.store, &Options::default()).await?;
    let listener = http_server::bind(address, Part::Rules.variable()).await?;
    tracing::info!(address = %listener.local_addr()?, store = %store.place(), "listening");
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    backend::serve(listener, Application::new(store.clone()), stop).await;
    store.close().await;
    tracing::info!("stopped");
    Ok(())
}

async fn run_seed(seed: Seed) -> anyhow::Result<()> {
    let begun = Instant::now();
    let options = Options { statement_timeout: Duration::from_secs(30), ..Options::default() };
    let store = create_store(&seed.at.store, &options).await?;
    let payments = generator::generate(&Plan { seed: seed.seed, users: seed.users, ..Plan::default() });
    let there = transactions::count(&store).await?;
    if there >= i64::try_from(payments.len())? {
        tracing::info!(store = %store.place(), transactions = there, "already_seeded");
        return Ok(());
    }
    let mut progress = Progress::new("transactions");
    generator::write(&store, &payments, |done, total| progress.show(done, total)).await?;
    store.close().await;
    let took_ms = begun.elapsed().as_millis();
    tracing::info!(transactions = payments.len(), users = seed.users, took_ms, "seeded");
    Ok(())
}

async fn run_features(features: Features) -> anyhow::Result<()> {
    let begun = Instant::now();
    let options = Options { statement_timeout: Duration::from_secs(30), ..Options::default() };
    let store = open_store(&features.at.store, &options).await?;
    let mut progress = Progress::new("users");
    let summary = export::run(&store, &features.out, |done, total| progress.show(done, total)).await?;
    tracing::info!(
        rows = summary.rows,
        labels = summary.labels.len(),
        folder = %features.out.display(),
        took_ms = begun.elapsed().as_millis(),
        "features_written"
    );
    Ok(())
}

/// A line each tenth of the way.
struct Progress {
    of: &'static str,
    tenth: usize,
}

impl Progress {
    const fn new(of: &'static str) -> Self {
        Self { of, tenth: 0 }
    }

    fn show(&mut self, done: usize, total: usize) {
        let tenth = (done * 10).checked_div(total).unwrap_or(10);
        if tenth > self.tenth {
            self.tenth = tenth;
            tracing::info!(of = self.of, done, total, "progress");
        }
    }
}
