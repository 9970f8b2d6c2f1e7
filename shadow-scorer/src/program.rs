//! The program: flags in, exit code out.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::application::Application;
use crate::http::{App, bind, serve};
use crate::settings::{Raw, Settings, log_lines};

/// How long threads may block at the end.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Runs the scorer for `application`, with the flags of the command line, until a signal ends it.
pub fn run(application: Arc<dyn Application>) -> ExitCode {
    let raw = Raw::parse();
    log_lines::start(raw.log);
    let settings = raw.check(|name| std::env::var(name).ok());
    match settings.map_err(anyhow::Error::new).and_then(|settings| serve_until_signal(settings, application)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error:#}");
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
        .context("the system gives no threads: lower --live-threads")?;
    let done = runtime.block_on(async {
        // The port first: of all that may be wrong it is the cheapest to find out.
        let listener = bind(settings.listen).await?;
        let app = App::start(settings, application).await?;
        let mut term = signal(SignalKind::terminate()).context("SIGTERM cannot be waited for")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be waited for")?;
        log::info!(
            "listening on {}, role {:?}, store {}, model {}",
            listener.local_addr().context("the listener has no address")?,
            app.settings.role,
            app.store.place(),
            app.registry.champion().map_or_else(|| "none".to_owned(), |champion| champion.version().to_owned()),
        );
        tokio::spawn(Arc::clone(&app).watch_registry());
        tokio::spawn(Arc::clone(&app).keep_judging());
        let stop = async move {
            tokio::select! {
                _ = term.recv() => log::info!("SIGTERM"),
                _ = interrupt.recv() => log::info!("SIGINT"),
            }
        };
        serve(listener, Arc::clone(&app), stop).await;
        app.finish().await;
        log::info!("ended");
        Ok(())
    });
    // Everything is stored by now. What still blocks a thread, such as a read from a file system that hangs, is left.
    runtime.shutdown_timeout(LAST_WAIT);
    done
}
