//! The Prometheus from which a command reads alerts.

use std::time::Duration;

use contract::alerts::is_news;
use contract::ports::Part;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::gateways::local;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Option of commands that show alerts.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Prometheus {
    /// URL of Prometheus, for the alerts [default: the local one]
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
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => local(Part::Prometheus).ok()?,
        };
        let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build().ok()?;
        let response: Value = http.get(format!("{url}/api/v1/alerts")).send().await.ok()?.json().await.ok()?;
        let alerts = response.pointer("/data/alerts")?.as_array()?;
        let text = |alert: &Value, pointer: &str| {
            alert.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let firing = alerts.iter().filter(|alert| alert.get("state").is_some_and(|state| state == "firing"));
        let read = |alert: &Value| Alert {
            name: text(alert, "/labels/alertname"),
            severity: text(alert, "/labels/severity"),
            summary: text(alert, "/annotations/summary"),
        };
        let alerts: Vec<Alert> = firing.map(read).collect();
        let news =
            |alert: &&Alert| is_news(&alert.name, &alert.severity, alerts.iter().map(|alert| alert.name.as_str()));
        Some(alerts.iter().filter(news).cloned().collect())
    }
}
