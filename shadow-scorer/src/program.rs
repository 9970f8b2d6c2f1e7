//! The program `shadow-scorer`: parses flags, runs the server, returns an exit code.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use contract::ports::Part;
use tokio::signal::unix::{SignalKind, signal};

use crate::application::Application;
use crate::http::{App, serve};
use crate::settings::{Raw, Settings};

/// How long blocked threads may delay the exit.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Runs the scorer for `application`, with the flags of the command line, until a signal ends it.
pub fn run(application: Arc<dyn Application>) -> ExitCode {
    let raw = Raw::parse();
    raw.log.start();
    let settings = raw.check(|name| std::env::var(name).ok());
    match settings.map_err(anyhow::Error::new).and_then(|settings| serve_until_signal(settings, application)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "failed");
            ExitCode::FAILURE
        }
    }
}

fn serve_until_signal(settings: Settings, application: Arc<dyn Application>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(settings.live.threads)
        .thread_name("perch-live")
        .enable_all()
        .build()
        .context("cannot start the threads of --live-threads: lower it")?;
    let done = runtime.block_on(async {
        // The port first: it is the cheapest to check.
        let listener = http_server::bind(settings.listen, Part::Scorer.variable()).await?;
        let app = App::start(settings, application).await?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
        let mut term = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
        let champion = app.registry.champion();
        tracing::info!(
            address = %listener.local_addr().context("cannot read the listener's address")?,
            role = app.settings.role.as_str(),
            store = %app.store.place(),
            model = champion.as_ref().map_or("none", |champion| champion.version()),
            "listening"
        );
        tokio::spawn(Arc::clone(&app).watch_registry());
        tokio::spawn(Arc::clone(&app).keep_evaluating_models());
        let stop = async move {
            tokio::select! {
                _ = term.recv() => tracing::info!(signal = "SIGTERM", "stopping"),
                _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "stopping"),
            }
        };
        serve(listener, Arc::clone(&app), stop).await;
        app.finish().await;
        tracing::info!("stopped");
        Ok(())
    });
    // Everything is stored by now. A thread that is still blocked, e.g. by a file system that hangs, is abandoned.
    runtime.shutdown_timeout(LAST_WAIT);
    done
}
