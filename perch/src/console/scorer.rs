//! What the console asks a scorer: its models, and what the two sides said.

use contract::analysis::{self, Analysis};
use reqwest::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::guard::source::{SourceError, get};

/// Largest answer that is read, in bytes.
const LIMIT: usize = 4 * 1024 * 1024;
/// Where the replaced system had it.
const STATUS_PATH: &str = "/ml/v2/model/status";

/// A scorer.
#[derive(Debug)]
pub(super) struct Scorer {
    http: reqwest::Client,
    url: String,
}

/// The scorer's models.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Models {
    /// The model that serves; what is shown of it.
    pub(super) meta: Option<Map<String, Value>>,
    /// The model that is judged beside it.
    pub(super) challenger: Option<Map<String, Value>>,
    /// The version that a rollback goes back to.
    pub(super) previous: Option<String>,
    /// What the registry holds.
    pub(super) versions: Vec<String>,
    /// What was not loaded, and why.
    pub(super) refused: Vec<Refused>,
}

/// A model that was not loaded.
#[derive(Debug, Deserialize)]
pub(super) struct Refused {
    pub(super) alias: String,
    pub(super) version: String,
    pub(super) message: String,
}

impl Scorer {
    pub(super) fn new(http: reqwest::Client, url: &str) -> Self {
        Self { http, url: url.trim_end_matches('/').to_owned() }
    }

    pub(super) async fn models(&self) -> Result<Models, SourceError> {
        self.ask(STATUS_PATH, &[]).await
    }

    /// What the two sides said since that moment.
    pub(super) async fn analysis(&self, since_ms: u64) -> Result<Analysis, SourceError> {
        let found: Analysis = self.ask(analysis::PATH, &[(analysis::SINCE, &since_ms.to_string())]).await?;
        if found.version == analysis::VERSION {
            return Ok(found);
        }
        let what = format!("an analysis of version {}, {} is read", found.version, analysis::VERSION);
        Err(SourceError::Response { url: self.url.clone(), what })
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str, asked: &[(&str, &str)]) -> Result<T, SourceError> {
        let wrong = |what: String| SourceError::Response { url: self.url.clone(), what };
        let mut url = Url::parse(&format!("{}{path}", self.url))
            .map_err(|error| wrong(format!("nothing, since its address is wrong: {error}")))?;
        if !asked.is_empty() {
            url.query_pairs_mut().extend_pairs(asked);
        }
        let text = get(&self.http, url.as_str(), LIMIT).await?;
        serde_json::from_str(&text).map_err(|error| wrong(format!("something else than it should: {error}")))
    }
}
