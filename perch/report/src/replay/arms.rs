//! Sends one request to both arms.

use std::time::Duration;

use contract::response::{self, Item, ResponseSchema};
use reqwest::Client;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING};

use super::unpack;

/// Largest response that is read, in bytes, packed and unpacked.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// The URLs of the two arms, and how their responses are read.
#[derive(Debug, Clone)]
pub struct Arms {
    http: Client,
    baseline: String,
    candidate: String,
    schema: ResponseSchema,
}

impl Arms {
    /// Baseline and candidate at these URLs, paths included; `deadline` is the timeout of each request.
    ///
    /// # Errors
    /// When the HTTP client cannot be created.
    pub fn new(
        baseline: &str,
        candidate: &str,
        deadline: Duration,
        schema: ResponseSchema,
    ) -> Result<Self, reqwest::Error> {
        let http = Client::builder().timeout(deadline).no_proxy().build()?;
        Ok(Self { http, baseline: baseline.to_owned(), candidate: candidate.to_owned(), schema })
    }

    /// How responses are read.
    #[must_use]
    pub const fn schema(&self) -> &ResponseSchema {
        &self.schema
    }

    /// The items of both arms' responses to `body`.
    ///
    /// # Errors
    /// The arm whose response cannot be read, and the reason, which is one of a closed set.
    pub async fn call(&self, body: &str) -> Result<(Vec<Item>, Vec<Item>), String> {
        let (baseline, candidate) = tokio::join!(self.post(&self.baseline, body), self.post(&self.candidate, body));
        Ok((
            baseline.map_err(|reason| format!("baseline: {reason}"))?,
            candidate.map_err(|reason| format!("candidate: {reason}"))?,
        ))
    }

    async fn post(&self, url: &str, body: &str) -> Result<Vec<Item>, String> {
        let request = self
            .http
            .post(url)
            .header("content-type", "application/json")
            .header(ACCEPT_ENCODING, unpack::ACCEPTED)
            .body(body.to_owned());
        let mut response = request.send().await.map_err(|error| reason(&error))?;
        if !response.status().is_success() {
            return Err(format!("status {}", response.status().as_u16()));
        }
        let encodings: Vec<_> = response.headers().get_all(CONTENT_ENCODING).iter().cloned().collect();
        let encodings: Vec<&str> = encodings.iter().map(|value| value.to_str().unwrap_or("unreadable")).collect();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| reason(&error))? {
            if body.len() + chunk.len() > MOST_BYTES {
                return Err("response too long".to_owned());
            }
            body.extend_from_slice(&chunk);
        }
        let body = unpack::unpack(body, &encodings.join(","), MOST_BYTES).await.map_err(|fault| fault.to_string())?;
        response::read(&body, &self.schema).map_err(|fault| fault.to_string())
    }
}

fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        "timeout".to_owned()
    } else if error.is_connect() {
        "no connection".to_owned()
    } else {
        "response incomplete".to_owned()
    }
}
