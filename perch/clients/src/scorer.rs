//! Client of a shadow-scorer: its models, the comparison of both arms, evidence by user.

use std::time::Duration;

use contract::analysis::{self, Analysis};
use contract::evidence::{self, Evidence};
use contract::headers;
use contract::token::Token;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::ClientError;
use crate::http::{Http, Response};

/// Largest response that is read, in bytes: an analysis has every pair of labels.
const LIMIT: usize = 32 * 1024 * 1024;
/// Largest evidence that is read, in bytes.
const EVIDENCE_LIMIT: usize = 64 * 1024;
/// Path of the models' status.
pub const STATUS_PATH: &str = "/ml/v2/model/status";
const READY_PATH: &str = "/readyz";

/// A scorer.
#[derive(Debug, Clone)]
pub struct Scorer {
    http: Http,
}

/// The scorer's models.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Models {
    /// The manifest of the serving model.
    pub meta: Option<Map<String, Value>>,
    /// The manifest of the challenger.
    pub challenger: Option<Map<String, Value>>,
    /// The version to which a rollback returns.
    pub previous: Option<String>,
    /// The versions in the registry.
    pub versions: Vec<String>,
    /// The models that were not loaded, with the reasons.
    pub refused: Vec<Refused>,
}

/// A rejected model.
#[derive(Debug, Deserialize)]
pub struct Refused {
    /// The alias that names it.
    pub alias: String,
    /// Its version.
    pub version: String,
    /// The reason.
    pub message: String,
}

/// A call of a scorer that failed.
#[derive(Debug, thiserror::Error)]
pub enum ScorerError {
    /// There is no response that could be read.
    #[error("calling the scorer at {url}; start it there (`make up` starts one here), or correct --scorer URL")]
    NoResponse {
        /// The URL that was called.
        url: String,
        /// The cause.
        source: ClientError,
    },
    /// Another program responded.
    #[error("{url} is not a Perch scorer: its response has no {} header; correct --scorer URL", headers::SCORER)]
    NotAScorer {
        /// What was called.
        url: String,
    },
    /// It is a scorer of another release.
    #[error("the scorer has no {path} ({reason}); run perch and scorer of the same release")]
    UnknownPath {
        /// The path of the request.
        path: String,
        /// The reason that it gave.
        reason: String,
    },
    /// It rejected the request.
    #[error("the scorer rejected the request: {reason} ({status})")]
    Refused {
        /// The reason that it gave.
        reason: String,
        /// The status of its response.
        status: StatusCode,
    },
    /// The response is not the one that this program reads.
    #[error("reading the scorer's {path}; run perch and scorer of the same release")]
    Shape {
        /// The path of the request.
        path: String,
        /// The cause.
        source: serde_json::Error,
    },
    /// The document has a version that this program does not read.
    #[error("the scorer's {path} has version {found}, perch reads {known}; run both of the same release")]
    Version {
        /// The path of the request.
        path: &'static str,
        /// Its version.
        found: u8,
        /// The version that is read.
        known: u8,
    },
}

impl Scorer {
    /// The scorer at `url`, e.g. `http://127.0.0.1:8020`, each call of which may take `timeout`.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(url: &str, timeout: Duration) -> Result<Self, ClientError> {
        Ok(Self { http: Http::new(url, timeout)? })
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &str {
        self.http.url()
    }

    /// Its models.
    ///
    /// # Errors
    /// See [`ScorerError`].
    pub async fn models(&self) -> Result<Models, ScorerError> {
        self.get(STATUS_PATH, &[]).await
    }

    /// The comparison of both arms, by the parameters of [`analysis`].
    ///
    /// # Errors
    /// See [`ScorerError`].
    pub async fn analysis(&self, parameters: &[(&str, String)]) -> Result<Analysis, ScorerError> {
        let found: Analysis = self.get(analysis::PATH, parameters).await?;
        checked(analysis::PATH, found.version, analysis::VERSION).map(|()| found)
    }

    /// Evidence by user from `since_ms` (since 1970) on.
    ///
    /// # Errors
    /// See [`ScorerError`].
    pub async fn evidence(&self, since_ms: u64) -> Result<Evidence, ScorerError> {
        let request = self.http.request(Method::GET, evidence::PATH).query(&[(evidence::SINCE, since_ms)]);
        let found: Evidence = read(evidence::PATH, self.exchange(request, evidence::PATH, EVIDENCE_LIMIT).await?)?;
        checked(evidence::PATH, found.version, evidence::VERSION).map(|()| found)
    }

    /// Its readiness report, whether it is ready or not.
    ///
    /// # Errors
    /// When it does not respond, or is another program.
    pub async fn readiness(&self) -> Result<Value, ScorerError> {
        let response = self.response(self.http.request(Method::GET, READY_PATH), LIMIT).await?;
        Ok(serde_json::from_str(&response.body).unwrap_or_default())
    }

    /// `GET path` as JSON.
    ///
    /// # Errors
    /// See [`ScorerError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T, ScorerError> {
        read(path, self.exchange(self.http.request(Method::GET, path).query(query), path, LIMIT).await?)
    }

    /// `POST path` with a JSON body and, where there is one, the operator's token.
    ///
    /// # Errors
    /// See [`ScorerError`].
    pub async fn post(&self, path: &str, body: &Value, token: Option<&Token>) -> Result<Value, ScorerError> {
        let mut request = self.http.request(Method::POST, path).json(body);
        if let Some(token) = token {
            request = request.bearer_auth(String::from_utf8_lossy(token.current()));
        }
        self.exchange(request, path, LIMIT).await
    }

    async fn exchange(&self, request: RequestBuilder, path: &str, limit: usize) -> Result<Value, ScorerError> {
        let response = self.response(request, limit).await?;
        let document: Value = serde_json::from_str(&response.body).unwrap_or_default();
        let reason = || document.get("error").and_then(Value::as_str).unwrap_or("no reason given").to_owned();
        match response.status {
            status if status.is_success() => Ok(document),
            StatusCode::NOT_FOUND => Err(ScorerError::UnknownPath { path: path.to_owned(), reason: reason() }),
            status => Err(ScorerError::Refused { reason: reason(), status }),
        }
    }

    /// A scorer's response, whatever its status.
    async fn response(&self, request: RequestBuilder, limit: usize) -> Result<Response, ScorerError> {
        let lost = |source| ScorerError::NoResponse { url: self.url().to_owned(), source };
        let response = self.http.send(request, limit).await.map_err(lost)?;
        if !response.headers.contains_key(headers::SCORER) {
            return Err(ScorerError::NotAScorer { url: response.url });
        }
        Ok(response)
    }
}

fn read<T: DeserializeOwned>(path: &str, document: Value) -> Result<T, ScorerError> {
    serde_json::from_value(document).map_err(|source| ScorerError::Shape { path: path.to_owned(), source })
}

fn checked(path: &'static str, found: u8, known: u8) -> Result<(), ScorerError> {
    if found == known { Ok(()) } else { Err(ScorerError::Version { path, found, known }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::serve;

    async fn scorer(head: &str, body: &str) -> Scorer {
        let url = serve(format!("HTTP/1.1 {head}\r\nconnection: close\r\n\r\n{body}")).await;
        Scorer::new(&url, Duration::from_secs(5)).unwrap()
    }

    #[tokio::test]
    async fn another_program_is_not_taken_for_a_scorer() {
        let error = scorer("200 OK", "{}").await.models().await.unwrap_err();
        assert!(
            error.to_string().contains("is not a Perch scorer: its response has no x-perch-scorer header"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn the_scorers_own_reason_is_passed_on() {
        let scorer = scorer("503 Service Unavailable\r\nx-perch-scorer: 1", r#"{"error": "the store is down"}"#).await;
        let error = scorer.models().await.unwrap_err().to_string();
        assert_eq!(error, "the scorer rejected the request: the store is down (503 Service Unavailable)");
        assert_eq!(scorer.readiness().await.unwrap()["error"], "the store is down");
    }

    #[tokio::test]
    async fn evidence_of_another_version_is_not_read() {
        let body = r#"{"version": 9, "since_ms": 1, "users": {"rule": 1, "model": 1, "sampled_one_in": 1}}"#;
        let error = scorer("200 OK\r\nx-perch-scorer: 1", body).await.evidence(1).await.unwrap_err().to_string();
        assert!(error.contains("has version 9, perch reads 1"), "{error}");
    }
}
