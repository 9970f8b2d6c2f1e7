//! The console: what `perch guard` serves on its port, for people, for Prometheus and for Alertmanager.
//!
//! | module | what |
//! |---|---|
//! | `pages` | the pages; templates and looks are in `templates/` and `assets/` |
//! | `forms` | signing in, and acting |
//! | `chart` | lines over time |
//! | `access` | host names, origins, cookies |
//! | `server` | connections, with bounds |
//! | `routes` | what is served where, and the headers of every answer |
//! | `session` | who is at the console, and that a form is the console's own |
//! | `hook` | what Alertmanager posts |
//! | `prometheus`, `scorer` | what others are asked |
//! | `deployment` | how the guard stands, what was said, what the gateways hold |
//! | `code` | what only who has the operator's token can sign |
//! | `clock` | moments in words |
//!
//! It keeps nothing of its own: what it shows is in the guard's folder, in Prometheus and in the scorer, so it can be
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

use crate::guard::audit_log::{AuditLog, AuditLogError};
use crate::guard::control_loop::EvaluationReport;
use crate::guard::export::{self, Counts};
use crate::guard::sink::Gateways;

pub use contract::token::{Token, TokenError};
use prometheus::Prometheus;
pub use routes::STATE_PATH;
use scorer::Scorer;

/// How long a page waits for Prometheus or a scorer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What the console is told when it starts.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The guard's folder.
    pub folder: PathBuf,
    /// Envoy's admin interfaces, e.g. `http://127.0.0.1:9901`.
    pub gateways: Vec<String>,
    /// Links of the disk layers, so that a share survives a restart of Envoy.
    pub runtime_links: Vec<PathBuf>,
    /// Scorers; the first is asked for models, labels and samples.
    pub scorers: Vec<String>,
    /// Prometheus, for history and alerts; without one there is none.
    pub prometheus: Option<String>,
    /// Host names under which browsers reach the console, beside `localhost` and IP addresses. Any other is refused, since
    /// a stranger's page can let a name of its own point here.
    pub hosts: Vec<String>,
    /// Who shows it may act; without one nobody may.
    pub operator_token: Option<Token>,
    /// What Alertmanager shows; without one its posts are refused.
    pub hook_token: Option<Token>,
}

/// A console that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The guard's folder cannot be used.
    #[error("the ledger")]
    AuditLog(#[from] AuditLogError),
    /// No HTTP client can be made.
    #[error("the gateways")]
    Gateways(#[from] stack::Error),
    /// No HTTP client can be made for Prometheus and the scorers.
    #[error("a client")]
    Client(#[from] reqwest::Error),
    /// A template of this program is broken, which its tests would say.
    #[error("a template")]
    Template(#[from] minijinja::Error),
}

/// The console. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Console(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    ledger: AuditLog,
    gateways: Gateways,
    prometheus: Option<Prometheus>,
    scorer: Option<Scorer>,
    templates: Environment<'static>,
    /// What the guard of this program last said, and how often it said what. `None` before its first look.
    told: Mutex<Option<(EvaluationReport, Counts)>>,
}

impl Console {
    /// A console with these settings.
    ///
    /// # Errors
    /// When the guard's folder cannot be used, or no HTTP client be made.
    pub fn new(settings: Settings) -> Result<Self, ConsoleError> {
        let ledger = AuditLog::in_folder(&settings.folder)?;
        let gateways = Gateways::new(&settings.gateways, settings.runtime_links.clone())?;
        let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?;
        let prometheus = settings.prometheus.as_ref().map(|url| Prometheus::new(http.clone(), url));
        let scorer = settings.scorers.first().map(|url| Scorer::new(http, url));
        let (templates, told) = (pages::templates()?, Mutex::new(None));
        Ok(Self(Arc::new(Inner { settings, ledger, gateways, prometheus, scorer, templates, told })))
    }

    /// Takes in what the guard of this program has just said, for `/metrics`.
    pub fn tell(&self, report: &EvaluationReport) {
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = told.take().map(|(_, counts)| counts).unwrap_or_default();
        if let Some(decision) = &report.decision {
            counts.add(decision.action);
        }
        *told = Some((report.clone(), counts));
    }

    /// Serves on `listener` until `stop` is ready and requests under way have ended.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        server::run(listener, routes::router(self), stop).await;
    }

    /// The guard's metrics; empty before its first look, when nothing is known.
    fn metrics(&self) -> String {
        let told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.as_ref().map(|(report, counts)| export::exposition(report, counts)).unwrap_or_default()
    }
}
