//! The console's scorer client: the models, and the comparison of both arms.

use contract::analysis::{self, Analysis};
use reqwest::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::guard::source::{SourceError, get};

/// Largest response that is read, in bytes.
const LIMIT: usize = 4 * 1024 * 1024;
/// Path of the models' status.
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
    /// The manifest of the serving model.
    pub(super) meta: Option<Map<String, Value>>,
    /// The manifest of the challenger.
    pub(super) challenger: Option<Map<String, Value>>,
    /// The version to which a rollback returns.
    pub(super) previous: Option<String>,
    /// The versions in the registry.
    pub(super) versions: Vec<String>,
    /// The models that were not loaded, with the reasons.
    pub(super) refused: Vec<Refused>,
}

/// A rejected model.
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
        self.get(STATUS_PATH, &[]).await
    }

    /// The comparison of both arms since `since_ms`.
    pub(super) async fn analysis(&self, since_ms: u64) -> Result<Analysis, SourceError> {
        let found: Analysis = self.get(analysis::PATH, &[(analysis::SINCE, &since_ms.to_string())]).await?;
        if found.version == analysis::VERSION {
            return Ok(found);
        }
        let what = format!("an analysis of version {}, but perch reads {}", found.version, analysis::VERSION);
        Err(SourceError::Answer { url: self.url.clone(), what })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, parameters: &[(&str, &str)]) -> Result<T, SourceError> {
        let wrong = |what: String| SourceError::Answer { url: self.url.clone(), what };
        let mut url = Url::parse(&format!("{}{path}", self.url))
            .map_err(|error| wrong(format!("nothing, because its URL is invalid: {error}")))?;
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        let text = get(&self.http, url.as_str(), LIMIT).await?;
        serde_json::from_str(&text).map_err(|error| wrong(format!("unexpected JSON: {error}")))
    }
}
