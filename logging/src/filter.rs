//! Which events are written.

use std::str::FromStr;

use tracing_subscriber::filter::{LevelFilter, Targets};

/// Libraries whose chatter is of interest to nobody, by the beginning of their targets: they log warnings and errors,
/// unless the filter names them.
const LIBRARIES: [&str; 11] =
    ["axum", "h2", "hyper", "log", "mio", "moka", "reqwest", "rustls", "sqlx", "tower", "tract"];

/// The lowest level that is written, and exceptions by target.
#[derive(Debug, Clone)]
pub struct LogFilter(Targets);

/// A filter that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LevelError {
    /// Not a level.
    #[error("{0:?} is not a level: give off, error, warn, info, debug or trace")]
    Unknown(String),
    /// No level for everything else.
    #[error("the first item is {0:?}, which is for one target only: begin with a level, e.g. info,{0}")]
    NoDefault(String),
}

impl LogFilter {
    pub(crate) const fn targets(&self) -> &Targets {
        &self.0
    }
}

impl FromStr for LogFilter {
    type Err = LevelError;

    fn from_str(text: &str) -> Result<Self, LevelError> {
        let mut items = text.split(',').map(str::trim);
        let first = items.next().unwrap_or_default();
        if first.contains('=') {
            return Err(LevelError::NoDefault(first.to_owned()));
        }
        let lowest = level(first)?;
        let of_libraries = lowest.min(LevelFilter::WARN);
        let mut targets =
            Targets::new().with_default(lowest).with_targets(LIBRARIES.map(|library| (library, of_libraries)));
        for item in items {
            let (target, text) = item.split_once('=').ok_or_else(|| LevelError::Unknown(item.to_owned()))?;
            targets = targets.with_target(target.trim(), level(text.trim())?);
        }
        Ok(Self(targets))
    }
}

fn level(text: &str) -> Result<LevelFilter, LevelError> {
    match text.to_ascii_lowercase().as_str() {
        "off" => Ok(LevelFilter::OFF),
        "error" => Ok(LevelFilter::ERROR),
        "warn" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        _ => Err(LevelError::Unknown(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn a_level_is_for_perch_and_libraries_only_warn() {
        for (filter, target, level, written) in [
            ("info", "shadow_scorer::http", Level::INFO, true),
            ("info", "shadow_scorer::http", Level::DEBUG, false),
            ("debug", "perch::guard", Level::DEBUG, true),
            ("debug", "hyper_util::client", Level::INFO, false),
            ("debug", "sqlx::query", Level::WARN, true),
            ("error", "sqlx::query", Level::WARN, false),
            ("warn,sqlx=debug", "sqlx::query", Level::DEBUG, true),
            ("warn, shadow_scorer::store=trace", "shadow_scorer::store::health", Level::TRACE, true),
            ("off", "shadow_scorer", Level::ERROR, false),
        ] {
            let targets = filter.parse::<LogFilter>().unwrap().0;
            assert_eq!(targets.would_enable(target, &level), written, "{filter}: {target} {level}");
        }
    }

    #[test]
    fn what_is_not_a_level_is_refused_with_the_fix() {
        for (filter, wrong) in [("verbose", "\"verbose\""), ("", "\"\""), ("info,sqlx", "\"sqlx\""), ("info,", "\"\"")]
        {
            let error = filter.parse::<LogFilter>().unwrap_err().to_string();
            assert!(error.contains(wrong) && error.contains("info"), "{error}");
        }
        let error = "sqlx=debug".parse::<LogFilter>().unwrap_err().to_string();
        assert!(error.contains("info,sqlx=debug"), "{error}");
    }
}
