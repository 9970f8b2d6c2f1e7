//! The names of parts in files and templates, and the ports that they take.

use contract::ports::Part;

/// The part's name in file names and on the command line.
pub(crate) const fn file_name(part: Part) -> &'static str {
    match part {
        Part::Gateway | Part::Admin => "envoy",
        Part::Rules => "rules-backend",
        Part::Scorer => "shadow-scorer",
        Part::Console => "perch-guard",
        Part::Prometheus => "prometheus",
        Part::Alertmanager => "alertmanager",
        Part::Grafana => "grafana",
        Part::Postgres => "postgres",
    }
}

/// The ports that a part takes.
pub(crate) const fn listens(part: Part) -> &'static [Part] {
    match part {
        Part::Gateway => &[Part::Gateway, Part::Admin],
        Part::Rules => &[Part::Rules],
        Part::Scorer => &[Part::Scorer],
        Part::Console => &[Part::Console],
        Part::Prometheus => &[Part::Prometheus],
        Part::Alertmanager => &[Part::Alertmanager],
        Part::Grafana => &[Part::Grafana],
        Part::Postgres => &[Part::Postgres],
        Part::Admin => &[],
    }
}

/// The name of the part's port in templates.
pub(crate) const fn port_name(part: Part) -> &'static str {
    match part {
        Part::Gateway => "gateway",
        Part::Rules => "rules",
        Part::Scorer => "scorer",
        Part::Console => "console",
        Part::Admin => "admin",
        Part::Prometheus => "prometheus",
        Part::Alertmanager => "alertmanager",
        Part::Grafana => "grafana",
        Part::Postgres => "postgres",
    }
}
