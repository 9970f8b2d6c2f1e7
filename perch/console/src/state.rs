//! The console: its settings, and the clients of the programs around it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clients::{ClientError, Prometheus, Scorer};
use contract::token::Token;
use guard_runtime::export::{self, Counts};
use guard_runtime::ledger::{Ledger, LedgerError};
use guard_runtime::shell::Report;
use guard_runtime::sink::Gateways;
use minijinja::Environment;

use super::templates;

/// How long a page waits for a scorer.
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
    Ledger(#[from] LedgerError),
    /// No client of a program can be made.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A template of this program is broken, which its tests would say.
    #[error("a template")]
    Template(#[from] minijinja::Error),
}

/// The console. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Console(pub(crate) Arc<Inner>);

/// What all clones of a console share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) settings: Settings,
    pub(crate) ledger: Ledger,
    pub(crate) gateways: Gateways,
    pub(crate) prometheus: Option<Prometheus>,
    pub(crate) scorer: Option<Scorer>,
    pub(crate) templates: Environment<'static>,
    /// What the guard of this program last said, and how often it said what. `None` before its first look.
    pub(crate) told: Mutex<Option<(Report, Counts)>>,
}

impl Console {
    /// A console with these settings.
    ///
    /// # Errors
    /// When the guard's folder cannot be used, or no HTTP client be made.
    pub fn new(settings: Settings) -> Result<Self, ConsoleError> {
        let ledger = Ledger::in_folder(&settings.folder)?;
        let gateways = Gateways::new(&settings.gateways, settings.runtime_links.clone())?;
        let prometheus = settings.prometheus.as_ref().map(|url| Prometheus::new(url)).transpose()?;
        let scorer = settings.scorers.first().map(|url| Scorer::new(url, TIMEOUT)).transpose()?;
        let (templates, told) = (templates::all()?, Mutex::new(None));
        Ok(Self(Arc::new(Inner { settings, ledger, gateways, prometheus, scorer, templates, told })))
    }

    /// Takes in what the guard of this program has just said, for `/metrics`.
    pub fn tell(&self, report: &Report) {
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = told.take().map(|(_, counts)| counts).unwrap_or_default();
        if let Some(decision) = &report.decision {
            counts.add(decision.action);
        }
        *told = Some((report.clone(), counts));
    }

    /// The guard's metrics; empty before its first look, when nothing is known.
    pub(crate) fn metrics(&self) -> String {
        let told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.as_ref().map(|(report, counts)| export::exposition(report, counts)).unwrap_or_default()
    }
}
