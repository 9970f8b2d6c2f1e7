//! The console: what `perch guard` serves on its port, for people, for Prometheus and for Alertmanager.
//!
//! | module | what it holds |
//! |---|---|
//! | `pages` | the pages; templates and style are in `templates/` and `assets/` |
//! | `forms` | signing in, and operators' actions |
//! | `chart` | line charts over time |
//! | `access` | checks of host names, origins and cookies |
//! | `server` | the accept loop, with limits |
//! | `routes` | the routes, and the headers of every response |
//! | `session` | sessions in signed cookies, one-time tickets of forms |
//! | `hook` | Alertmanager's webhook |
//! | `prometheus`, `scorer` | clients |
//! | `deployment` | the guard's status, the audit log, the gateways' share |
//! | `code` | message authentication codes keyed by the operator's token |
//! | `clock` | moments as text |
//!
//! It has no state of its own: what it shows is in the guard's folder, in Prometheus and in the scorer. It can be
//! restarted at any time, and every guard of a deployment shows the same.

mod access;
mod chart;
mod clock;
mod code;
mod deployment;
mod forms;
mod hook;
mod pages;
mod prometheus;
mod routes;
mod scorer;
mod server;
mod session;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use minijinja::Environment;
use tokio::net::TcpListener;

use crate::guard::export::{self, Counts};
use crate::guard::ledger::{Ledger, LedgerError};
use crate::guard::shell::Report;
use crate::guard::sink::Gateways;

pub use contract::token::{Token, TokenError};
use prometheus::Prometheus;
pub use routes::STATE_PATH;
use scorer::Scorer;

/// Timeout of a request to Prometheus or a scorer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Configuration of the console.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The guard's folder.
    pub folder: PathBuf,
    /// Envoy's admin interfaces, e.g. `http://127.0.0.1:9901`.
    pub gateways: Vec<String>,
    /// Symlinks of the disk layers, so that a share survives a restart of Envoy.
    pub runtime_links: Vec<PathBuf>,
    /// URLs of the scorers; the first serves models, labels and samples.
    pub scorers: Vec<String>,
    /// URL of Prometheus, for history and alerts; without one there are none.
    pub prometheus: Option<String>,
    /// Host names by which browsers reach the console, besides `localhost` and IP addresses. Any other is rejected,
    /// since another site can make a name of its own resolve to this address (DNS rebinding).
    pub hosts: Vec<String>,
    /// The token with which operators sign in; without one the console is read-only.
    pub operator_token: Option<Token>,
    /// Alertmanager's bearer token; without one its posts are rejected.
    pub hook_token: Option<Token>,
}

/// A console that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The guard's folder cannot be used.
    #[error("opening the audit log in the guard's folder {}", .folder.display())]
    AuditLog {
        /// The guard's folder.
        folder: PathBuf,
        /// The cause.
        source: LedgerError,
    },
    /// No HTTP client can be created for the gateways.
    #[error("creating the HTTP client for the gateways")]
    Gateways(#[from] stack::Error),
    /// No HTTP client can be created for Prometheus and the scorers.
    #[error("creating the HTTP client for Prometheus and the scorers")]
    Client(#[from] reqwest::Error),
    /// A template is invalid, which the tests would show.
    #[error("parsing the console's embedded page templates")]
    Template(#[from] minijinja::Error),
}

/// The console. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Console(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    ledger: Ledger,
    gateways: Gateways,
    prometheus: Option<Prometheus>,
    scorer: Option<Scorer>,
    templates: Environment<'static>,
    /// The last report of this program's guard, and its decisions so far. `None` before the first evaluation.
    recorded: Mutex<Option<(Report, Counts)>>,
}

impl Console {
    /// A console with these settings.
    ///
    /// # Errors
    /// When the guard's folder cannot be used, or an HTTP client cannot be created.
    pub fn new(settings: Settings) -> Result<Self, ConsoleError> {
        let ledger = Ledger::in_folder(&settings.folder)
            .map_err(|source| ConsoleError::AuditLog { folder: settings.folder.clone(), source })?;
        let gateways = Gateways::new(&settings.gateways, settings.runtime_links.clone())?;
        let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?;
        let prometheus = settings.prometheus.as_ref().map(|url| Prometheus::new(http.clone(), url));
        let scorer = settings.scorers.first().map(|url| Scorer::new(http, url));
        let (templates, recorded) = (pages::templates()?, Mutex::new(None));
        Ok(Self(Arc::new(Inner { settings, ledger, gateways, prometheus, scorer, templates, recorded })))
    }

    /// Records a report of this program's guard, for `/metrics`.
    pub fn record(&self, report: &Report) {
        let mut recorded = self.0.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = recorded.take().map(|(_, counts)| counts).unwrap_or_default();
        if let Some(decision) = &report.decision {
            counts.add(decision.action);
        }
        *recorded = Some((report.clone(), counts));
    }

    /// Serves on `listener` until `stop` is ready and the requests in progress have ended.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        server::run(listener, routes::router(self), stop).await;
    }

    /// The guard's metrics; empty before its first evaluation.
    fn metrics(&self) -> String {
        let recorded = self.0.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.as_ref().map(|(report, counts)| export::exposition(report, counts)).unwrap_or_default()
    }
}
