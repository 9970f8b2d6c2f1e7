//! The Prometheus from which a command reads alerts.

use contract::ports::Part;
use serde::{Deserialize, Serialize};

use super::gateways::local;

/// Option of commands that show alerts.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Prometheus {
    /// URL of Prometheus, for the alerts [default: the local one; `perch guard` uses none unless it is named]
    #[arg(id = "prometheus_url", long = "prometheus", value_name = "URL", env = "PERCH_PROMETHEUS")]
    url: Option<String>,
}

/// A firing alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alert {
    /// Its name.
    pub(crate) name: String,
    /// Its severity; empty if it has none.
    pub(crate) severity: String,
    /// Its summary.
    pub(crate) summary: String,
}

impl Prometheus {
    /// The firing alerts that Alertmanager would not inhibit; `None` if Prometheus cannot be read.
    pub(crate) async fn firing(&self) -> Option<Vec<Alert>> {
        let url = match &self.url {
            Some(url) => url.clone(),
            None => local(Part::Prometheus).ok()?,
        };
        let alerts = clients::Prometheus::new(&url).ok()?.alerts().await.ok()?;
        let firing = alerts.into_iter().filter(|alert| alert.firing);
        Some(firing.map(|alert| Alert { name: alert.name, severity: alert.severity, summary: alert.summary }).collect())
    }
}
