//! Where the guard reads the system.
//!
//! | module | what it reads |
//! |---|---|
//! | [`scrape`] | counters from Envoy's admin interface and the scorers' `/metrics`, where there is no Prometheus |
//! | [`prometheus`] | the same counters from Prometheus |
//! | [`system`] | either of them, and what only the programs themselves know: the gateways' share, evidence by user |
//! | [`totals`] | counters by target, across restarts and gaps |
//! | [`series`] | from series to a [`SystemSnapshot`](super::snapshot::SystemSnapshot) |

use contract::evidence::Evidence;
use stack::scrape::Sample;

use super::snapshot::GatewayShare;

pub mod prometheus;
pub mod scrape;
pub mod series;
pub mod system;
pub mod totals;

/// The readings of one evaluation. Everything that could not be read is missing here and named in `data_gaps` or
/// `problems`.
#[derive(Debug, Clone, Default)]
pub struct SourceReading {
    /// The share that the gateways hold.
    pub share: GatewayShare,
    /// Samples, each with its target in the label `instance`.
    pub samples: Vec<Sample>,
    /// Evidence by user.
    pub evidence: Option<Evidence>,
    /// Why counters are missing from `samples`, for people; the rollout does not advance while there are any.
    pub data_gaps: Vec<String>,
    /// Everything else that could not be read, for people.
    pub problems: Vec<String>,
}

/// A system that the guard can read.
pub trait Source {
    /// Reads the system, with evidence by user from `since_ms` (since 1970) on. Never fails: a value that could not be
    /// read is missing from the result.
    fn read(&mut self, since_ms: u64) -> impl Future<Output = SourceReading> + Send;
}

/// The label that names the target of a sample.
pub const INSTANCE: &str = "instance";
/// Name of a sample that says when the target was scraped, in seconds since 1970; no program exports it.
pub const SCRAPED_AT: &str = "perch_scraped_at";

/// A program that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The request failed.
    #[error("request to {url} failed")]
    Request {
        /// The URL of the request.
        url: String,
        /// The error of the HTTP client.
        source: reqwest::Error,
    },
    /// The response is not usable.
    #[error("unexpected response from {url}: {what}")]
    Response {
        /// The URL of the request.
        url: String,
        /// The fault of the response.
        what: String,
    },
}

/// An error with its causes, in one line.
#[must_use]
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// The body of `GET url`, at most `limit` bytes.
pub(crate) async fn get(http: &reqwest::Client, url: &str, limit: usize) -> Result<String, SourceError> {
    let failed = |source: reqwest::Error| SourceError::Request { url: url.to_owned(), source };
    let unexpected = |what: String| SourceError::Response { url: url.to_owned(), what };
    let mut response = http.get(url).send().await.map_err(failed)?;
    if !response.status().is_success() {
        return Err(unexpected(response.status().to_string()));
    }
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(failed)? {
        body.extend_from_slice(&part);
        if body.len() > limit {
            return Err(unexpected(format!("more than {limit} bytes")));
        }
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}
