//! `Console`: what every page and handler shares (settings, HTTP clients, templates, the guard's last report).

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clients::{ClientError, Prometheus, Scorer};
use contract::token::Token;
use guard_runtime::audit_log::{AuditLog, AuditLogError};
use guard_runtime::control_loop::EvaluationReport;
use guard_runtime::export::{self, Counts};
use guard_runtime::sink::Gateways;
use minijinja::Environment;

use super::templates;

/// Timeout of a request to a scorer.
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
        source: AuditLogError,
    },
    /// The client of another program cannot be created.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A template is invalid, which the tests would show.
    #[error("parsing the console's embedded page templates")]
    Template(#[from] minijinja::Error),
}

/// The console. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Console(pub(crate) Arc<Inner>);

/// What all clones of a console share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) settings: Settings,
    pub(crate) audit_log: AuditLog,
    pub(crate) gateways: Gateways,
    pub(crate) prometheus: Option<Prometheus>,
    pub(crate) scorer: Option<Scorer>,
    pub(crate) templates: Environment<'static>,
    /// The last report of this program's guard, and its decisions so far. `None` before the first evaluation.
    pub(crate) recorded: Mutex<Option<(EvaluationReport, Counts)>>,
}

impl Console {
    /// A console with these settings.
    ///
    /// # Errors
    /// When the guard's folder cannot be used, or an HTTP client cannot be created.
    pub fn new(settings: Settings) -> Result<Self, ConsoleError> {
        let audit_log = AuditLog::in_folder(&settings.folder)
            .map_err(|source| ConsoleError::AuditLog { folder: settings.folder.clone(), source })?;
        let gateways = Gateways::new(&settings.gateways, settings.runtime_links.clone())?;
        let prometheus = settings.prometheus.as_ref().map(|url| Prometheus::new(url)).transpose()?;
        let scorer = settings.scorers.first().map(|url| Scorer::new(url, TIMEOUT)).transpose()?;
        let (templates, recorded) = (templates::all()?, Mutex::new(None));
        Ok(Self(Arc::new(Inner { settings, audit_log, gateways, prometheus, scorer, templates, recorded })))
    }

    /// Records a report of this program's guard, for `/metrics`.
    pub fn record(&self, report: &EvaluationReport) {
        let mut recorded = self.0.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = recorded.take().map(|(_, counts)| counts).unwrap_or_default();
        if let Some(decision) = &report.decision {
            counts.add(decision.action);
        }
        *recorded = Some((report.clone(), counts));
    }

    /// The guard's metrics; empty before its first evaluation.
    pub(crate) fn metrics(&self) -> String {
        let recorded = self.0.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.as_ref().map(|(report, counts)| export::exposition(report, counts)).unwrap_or_default()
    }
}
