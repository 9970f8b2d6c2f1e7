//! Where the guard's observations come from.
//!
//! | module | what it reads |
//! |---|---|
//! | [`scrape`] | counters from Envoy's admin interface and the scorers' `/metrics`, where there is no Prometheus |
//! | [`prometheus`] | the same counters from Prometheus |
//! | [`system`] | either of them, with what only the parts themselves can say: the gateways' share, evidence by user |
//! | [`totals`] | counters by target, across restarts and gaps |
//! | [`reading`] | from series to an [`Observation`](super::observation::Observation) |

use contract::evidence::Evidence;
use stack::scrape::Sample;

use super::observation::SeenShare;

pub mod prometheus;
pub mod reading;
pub mod scrape;
pub mod system;
pub mod totals;

/// What was read at one evaluation; what could not be read is missing, and said in `doubts` or `troubles`.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// The share that the gateways hold.
    pub share: SeenShare,
    /// Samples, each with its target in the label `instance`.
    pub samples: Vec<Sample>,
    /// Evidence by user.
    pub evidence: Option<Evidence>,
    /// Why counters are missing from `samples`, in words: the ramp does not advance.
    pub doubts: Vec<String>,
    /// What else could not be read, in words.
    pub troubles: Vec<String>,
}

/// Something that can be looked at.
pub trait Source {
    /// Looks; evidence by user is counted from `since_ms` (since 1970) on. Never fails: what could not be read is missing.
    fn look(&mut self, since_ms: u64) -> impl Future<Output = Reading> + Send;
}

/// Where a sample comes from.
pub const INSTANCE: &str = "instance";
/// Name of a sample that says when the target was scraped, in seconds since 1970; no program exports it.
pub const SCRAPED_AT: &str = "perch_scraped_at";

/// A part that could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No answer.
    #[error("asking {url}")]
    Asking {
        /// What was asked.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// An answer, but not the one that is wanted.
    #[error("{url} answered {what}")]
    Answer {
        /// What was asked.
        url: String,
        /// What it answered.
        what: String,
    },
}

/// An error with its causes, in one line.
#[must_use]
pub fn in_words(error: &dyn std::error::Error) -> String {
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
    let asking = |source: reqwest::Error| SourceError::Asking { url: url.to_owned(), source };
    let wrong = |what: String| SourceError::Answer { url: url.to_owned(), what };
    let mut response = http.get(url).send().await.map_err(asking)?;
    if !response.status().is_success() {
        return Err(wrong(response.status().to_string()));
    }
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(asking)? {
        body.extend_from_slice(&part);
        if body.len() > limit {
            return Err(wrong(format!("more than {limit} bytes")));
        }
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}
