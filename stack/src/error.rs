//! What can go wrong with a stack, each with a sentence that says how to mend it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use contract::ports::{Part, PortError};

/// A stack that could not be rendered, started, asked or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else listens there. Found before anything is started.
    #[error(
        "port {port}, wanted for the {part}, is taken: stop what listens there (`ss -ltnp 'sport = :{port}'`; \
         `make down` if it is an earlier stack), or choose another with {variable}=NUMBER"
    )]
    PortTaken {
        /// Who wants it.
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
    #[error("{what} is missing at {}: {mend}", path.display())]
    Missing {
        /// What it is.
        what: String,
        /// Where it was looked for.
        path: PathBuf,
        /// How to get it.
        mend: String,
    },
    /// A part ended while it was waited for.
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
        /// How long it was waited for.
        waited: Duration,
        /// What it said last.
        state: String,
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// The template and its values do not fit.
    #[error("{} could not be filled in: {source:#}", template.display())]
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
