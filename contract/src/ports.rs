//! Addresses of every part of Perch. [`PORTS_ENV`] is the only place where a port number is written.

use std::fmt;

/// The text of `ports.env`, so that programs carry their defaults with them.
pub const PORTS_ENV: &str = include_str!("../ports.env");

/// A program that listens on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// Envoy's listener for clients.
    Gateway,
    /// The reference application.
    Rules,
    /// The shadow-scorer.
    Scorer,
    /// The operator's web console (`perch guard`).
    Console,
    /// Envoy's admin interface.
    Admin,
    /// Prometheus.
    Prometheus,
    /// Alertmanager.
    Alertmanager,
    /// Grafana.
    Grafana,
    /// PostgreSQL, where it is used instead of SQLite.
    Postgres,
}

impl Part {
    /// All parts, in the order of `ports.env`.
    pub const ALL: [Self; 9] = [
        Self::Gateway,
        Self::Rules,
        Self::Scorer,
        Self::Console,
        Self::Admin,
        Self::Prometheus,
        Self::Alertmanager,
        Self::Grafana,
        Self::Postgres,
    ];

    /// The variable that holds, and overrides, the part's port.
    #[must_use]
    pub fn variable(self) -> &'static str {
        match self {
            Self::Gateway => "PERCH_GATEWAY_PORT",
            Self::Rules => "PERCH_RULES_PORT",
            Self::Scorer => "PERCH_SCORER_PORT",
            Self::Console => "PERCH_CONSOLE_PORT",
            Self::Admin => "PERCH_ADMIN_PORT",
            Self::Prometheus => "PERCH_PROMETHEUS_PORT",
            Self::Alertmanager => "PERCH_ALERTMANAGER_PORT",
            Self::Grafana => "PERCH_GRAFANA_PORT",
            Self::Postgres => "PERCH_POSTGRES_PORT",
        }
    }
}

/// A port that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}={value:?} is not a port: give a whole number from 1 to 65535, or unset it for the default")]
pub struct PortError {
    /// The variable at fault.
    pub variable: &'static str,
    /// Its value.
    pub value: String,
}

/// The variable that names the host on which every part listens.
pub const HOST_VARIABLE: &str = "PERCH_HOST";

/// The host on which every part listens, `lookup` first (an environment), then `ports.env`.
pub fn host(lookup: impl Fn(&str) -> Option<String>) -> String {
    lookup(HOST_VARIABLE)
        .filter(|host| !host.is_empty())
        .or_else(|| in_file(HOST_VARIABLE).map(str::to_owned))
        .unwrap_or_else(|| "127.0.0.1".to_owned())
}

/// The port of `part`, `lookup` first (an environment), then `ports.env`.
///
/// # Errors
/// When the value is not a whole number from 1 to 65535.
pub fn port(part: Part, lookup: impl Fn(&str) -> Option<String>) -> Result<u16, PortError> {
    let variable = part.variable();
    let value = lookup(variable)
        .filter(|value| !value.is_empty())
        .or_else(|| in_file(variable).map(str::to_owned))
        .unwrap_or_default();
    match value.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(PortError { variable, value }),
    }
}

/// `host:port` of `part`.
///
/// # Errors
/// As [`port`].
pub fn address(part: Part, lookup: impl Fn(&str) -> Option<String>) -> Result<String, PortError> {
    Ok(Address { host: host(&lookup), port: port(part, &lookup)? }.to_string())
}

struct Address {
    host: String,
    port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

fn in_file(variable: &str) -> Option<&'static str> {
    PORTS_ENV
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .find(|(name, _)| *name == variable)
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_gives_every_part_a_port_of_its_own() {
        let mut seen: Vec<u16> = Part::ALL.iter().map(|part| port(*part, |_| None).unwrap()).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), Part::ALL.len());
    }

    #[test]
    fn an_environment_variable_overrides_and_a_bad_one_is_named() {
        assert_eq!(port(Part::Gateway, |_| Some("18000".into())), Ok(18000));
        let error = port(Part::Gateway, |_| Some("80 80".into())).unwrap_err().to_string();
        assert!(error.contains("PERCH_GATEWAY_PORT") && error.contains("80 80"), "{error}");
    }
}
