//! Which Prometheus a command asks for alerts.

use contract::ports::Part;
use serde::{Deserialize, Serialize};

use super::gateways::local;

/// Option of commands that show alerts.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Prometheus {
    /// Prometheus, for the alerts [default: the local one]
    #[arg(id = "prometheus_url", long = "prometheus", value_name = "URL", env = "PERCH_PROMETHEUS")]
    url: Option<String>,
}

/// One alert that fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alert {
    /// Its name.
    pub(crate) name: String,
    /// Its severity, empty where it has none.
    pub(crate) severity: String,
    /// What it says.
    pub(crate) summary: String,
}

impl Prometheus {
    /// The alerts that fire and are not inhibited, as Alertmanager would pass them on; `None` where no Prometheus answers.
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
