//! Envoy's admin interface: readiness, the runtime, the scrape.

use std::time::Duration;

use contract::share;
use reqwest::Method;
use serde_json::Value;

use crate::error::ClientError;
use crate::http::Http;
use crate::scrape::Scrape;

const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest response that is read, in bytes: an Envoy of some thousand clusters shows tens of megabytes.
const LIMIT: usize = 256 * 1024 * 1024;

/// A client of one Envoy's admin interface.
#[derive(Debug, Clone)]
pub struct Admin {
    http: Http,
}

impl Admin {
    /// For the interface at `url`, e.g. `http://127.0.0.1:9901`.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(url: &str) -> Result<Self, ClientError> {
        Ok(Self { http: Http::new(url, TIMEOUT)? })
    }

    /// The body of `GET path`.
    ///
    /// # Errors
    /// When Envoy does not respond with 200.
    pub async fn get(&self, path: &str) -> Result<String, ClientError> {
        self.http.text(self.http.request(Method::GET, path), LIMIT).await
    }

    /// All of `/stats/prometheus`.
    ///
    /// # Errors
    /// When Envoy does not respond.
    pub async fn scrape(&self) -> Result<Scrape, ClientError> {
        Ok(Scrape::parse(&self.get("/stats/prometheus").await?))
    }

    /// Sets `key` in the admin layer, which is above all others and lost at a restart.
    ///
    /// # Errors
    /// When Envoy rejects it.
    pub async fn set_runtime(&self, key: &str, value: &str) -> Result<(), ClientError> {
        let path = format!("/runtime_modify?{}={}", encoded(key), encoded(value));
        self.http.text(self.http.request(Method::POST, &path), LIMIT).await.map(drop)
    }

    /// The value of `key` that holds, over all layers; `None` when no layer has it.
    ///
    /// # Errors
    /// When Envoy does not respond, or not with JSON.
    pub async fn runtime(&self, key: &str) -> Result<Option<String>, ClientError> {
        Ok(share::runtime_value(&self.layers().await?, key).map(str::to_owned))
    }

    /// The value of `key` in the admin layer, which is the last one; empty when it has none. Setting that value with
    /// [`Admin::set_runtime`] restores the value before.
    ///
    /// # Errors
    /// When Envoy does not respond, or not with JSON.
    pub async fn admin_layer(&self, key: &str) -> Result<String, ClientError> {
        let runtime = self.layers().await?;
        let values = runtime.get("entries").and_then(|entries| entries.get(key)?.get("layer_values")?.as_array());
        let last = values.and_then(|values| values.last()?.as_str());
        Ok(last.or_else(|| share::runtime_value(&runtime, key)).unwrap_or_default().to_owned())
    }

    /// The values of all layers, from `/runtime`.
    async fn layers(&self) -> Result<Value, ClientError> {
        let text = self.get("/runtime").await?;
        serde_json::from_str(&text).map_err(|error| ClientError::Response {
            url: format!("{}/runtime", self.http.url()),
            what: format!("with something else than its runtime ({error}): check that it is Envoy's admin interface"),
        })
    }

    /// Returns `true` if `cluster` is up, with a host that Envoy would use.
    ///
    /// # Errors
    /// When Envoy does not respond.
    pub async fn healthy(&self, cluster: &str) -> Result<bool, ClientError> {
        let text = self.get("/clusters").await?;
        let prefix = format!("{cluster}::");
        Ok(text
            .lines()
            .filter(|line| line.starts_with(&prefix))
            .filter_map(|line| line.rsplit_once("::health_flags::"))
            .any(|(_, flags)| flags == "healthy"))
    }
}

/// `text` for a query. Envoy takes a plus for itself, so that a blank must not be written as one, which forms do.
fn encoded(text: &str) -> String {
    use std::fmt::Write as _;

    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_reaches_envoy_as_one() {
        assert_eq!(encoded("suggest.use_model_canary"), "suggest.use_model_canary");
        assert_eq!(encoded("{numerator: 5}"), "%7Bnumerator%3A%205%7D");
    }
}
