//! What can go wrong with a stack; each message says how to fix it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use contract::ports::{Part, PortError};

/// A stack could not be rendered, started, read or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another program listens there. Found before anything is started.
    #[error(
        "port {port} of the {part} is taken: stop what listens there (`ss -ltnp 'sport = :{port}'`; \
         `make down` if it is an earlier stack), or choose another with {variable}=NUMBER"
    )]
    PortTaken {
        /// The part that listens on it.
        part: &'static str,
        /// The port.
        port: u16,
        /// The variable that overrides it.
        variable: &'static str,
    },
    /// A variable holds no port.
    #[error(transparent)]
    Port(#[from] PortError),
    /// A program or file that is needed is not there.
    #[error("{what} is missing at {}: {fix}", path.display())]
    Missing {
        /// What it is.
        what: String,
        /// Its path.
        path: PathBuf,
        /// How to get it.
        fix: String,
    },
    /// A part ended before it was ready.
    #[error("the {part} ended before it was ready; the end of its log ({}):\n{tail}", log.display())]
    Ended {
        /// Which.
        part: &'static str,
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// A part runs but did not become ready.
    #[error("the {part} was not ready within {waited:?} ({state}); the end of its log ({}):\n{tail}", log.display())]
    NotReady {
        /// Which.
        part: &'static str,
        /// The time limit.
        waited: Duration,
        /// Its last state.
        state: String,
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// The template and its values do not fit.
    #[error("rendering {}: {source:#}", template.display())]
    Render {
        /// The template.
        template: PathBuf,
        /// What it lacks.
        source: Box<minijinja::Error>,
    },
    /// A setting that cannot be used.
    #[error("{0}")]
    Setting(String),
    /// The operating system refused.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// Why not.
        source: io::Error,
    },
    /// A part could not be called.
    #[error(transparent)]
    Client(#[from] clients::ClientError),
}

impl Error {
    /// For `map_err` on [`io::Error`].
    pub fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}

/// A part's name in sentences.
#[must_use]
pub const fn name(part: Part) -> &'static str {
    match part {
        Part::Gateway => "gateway",
        Part::Rules => "rules backend",
        Part::Scorer => "scorer",
        Part::Console => "guard",
        Part::Admin => "gateway's admin interface",
        Part::Prometheus => "Prometheus",
        Part::Alertmanager => "Alertmanager",
        Part::Grafana => "Grafana",
        Part::Postgres => "PostgreSQL",
    }
}
