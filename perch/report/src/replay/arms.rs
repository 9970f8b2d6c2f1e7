//! Asking both sides the same.

use std::time::Duration;

use contract::answer::{self, AnswerSchema, Item};
use reqwest::Client;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING};

use super::unpack;

/// Largest response that is read, in bytes, packed and unpacked.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// Where the two sides are, and how their answers are read.
#[derive(Debug, Clone)]
pub struct Sides {
    http: Client,
    rules: String,
    model: String,
    schema: AnswerSchema,
}

impl Sides {
    /// The rules and the model at these URLs, paths included, each with `deadline` to answer.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(rules: &str, model: &str, deadline: Duration, schema: AnswerSchema) -> Result<Self, reqwest::Error> {
        let http = Client::builder().timeout(deadline).no_proxy().build()?;
        Ok(Self { http, rules: rules.to_owned(), model: model.to_owned(), schema })
    }

    /// How answers are read.
    #[must_use]
    pub const fn schema(&self) -> &AnswerSchema {
        &self.schema
    }

    /// What the rules and what the model say to `body`.
    ///
    /// # Errors
    /// Which side has no answer that can be read, and why, from a closed set of words.
    pub async fn ask(&self, body: &str) -> Result<(Vec<Item>, Vec<Item>), String> {
        let (rules, model) = tokio::join!(self.one(&self.rules, body), self.one(&self.model, body));
        Ok((rules.map_err(|reason| format!("rules: {reason}"))?, model.map_err(|reason| format!("model: {reason}"))?))
    }

    async fn one(&self, url: &str, body: &str) -> Result<Vec<Item>, String> {
        let request = self
            .http
            .post(url)
            .header("content-type", "application/json")
            .header(ACCEPT_ENCODING, unpack::ACCEPTED)
            .body(body.to_owned());
        let mut response = request.send().await.map_err(|error| in_words(&error))?;
        if !response.status().is_success() {
            return Err(format!("status {}", response.status().as_u16()));
        }
        let encodings: Vec<_> = response.headers().get_all(CONTENT_ENCODING).iter().cloned().collect();
        let encodings: Vec<&str> = encodings.iter().map(|value| value.to_str().unwrap_or("unreadable")).collect();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| in_words(&error))? {
            if body.len() + chunk.len() > MOST_BYTES {
                return Err("its response is too long".to_owned());
            }
            body.extend_from_slice(&chunk);
        }
        let body = unpack::unpack(body, &encodings.join(","), MOST_BYTES).await.map_err(|fault| fault.to_string())?;
        answer::read(&body, &self.schema).map_err(|fault| fault.to_string())
    }
}

fn in_words(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        "no answer in time".to_owned()
    } else if error.is_connect() {
        "no connection".to_owned()
    } else {
        "its answer broke off".to_owned()
    }
}
