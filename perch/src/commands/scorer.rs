//! The scorer that a command calls.

use std::time::Duration;

use anyhow::{Context, bail};
use contract::headers;
use contract::ports::Part;
use contract::token::Token;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::gateways::local;

/// Timeout of a request: a change of the model loads and checks one.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Timeout of the connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Option of every command that calls the scorer.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ScorerUrl {
    /// URL of the shadow-scorer; of several, the first is called [default: the local one]
    #[arg(id = "scorer_urls", long = "scorer", value_name = "URL", env = "PERCH_SCORERS", value_delimiter = ',')]
    urls: Vec<String>,
}

impl ScorerUrl {
    /// A client for the scorer.
    pub(crate) fn client(&self) -> anyhow::Result<Scorer> {
        let url = match self.urls.first() {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => local(Part::Scorer)?,
        };
        let http = Client::builder().timeout(TIMEOUT).connect_timeout(CONNECT).no_proxy().build()?;
        Ok(Scorer { url, http })
    }
}

/// A client of one scorer.
#[derive(Debug, Clone)]
pub(crate) struct Scorer {
    /// Its URL.
    pub(crate) url: String,
    /// The HTTP client.
    pub(crate) http: Client,
}

impl Scorer {
    /// `GET path` as JSON.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<T> {
        let value = self.exchange(self.http.get(format!("{}{path}", self.url)).query(query), path).await?;
        serde_json::from_value(value).with_context(|| {
            format!("reading {path} of the scorer at {}; run perch and scorer of the same release", self.url)
        })
    }

    /// `POST path` with a JSON body and the operator's token, if there is one.
    pub(crate) async fn post(&self, path: &str, body: &Value, token: Option<&Token>) -> anyhow::Result<Value> {
        let mut request = self.http.post(format!("{}{path}", self.url)).json(body);
        if let Some(token) = token {
            request = request.bearer_auth(String::from_utf8_lossy(token.current()));
        }
        self.exchange(request, path).await
    }

    async fn exchange(&self, request: RequestBuilder, path: &str) -> anyhow::Result<Value> {
        let response = request.send().await.with_context(|| {
            format!(
                "calling the scorer at {}; start it there (`make up` starts one here), or correct --scorer URL",
                self.url
            )
        })?;
        let status = response.status();
        let is_scorer = response.headers().contains_key(headers::SCORER);
        let document: Value = response.json().await.unwrap_or_default();
        let reason = document.get("error").and_then(Value::as_str).unwrap_or("no reason given");
        match status {
            status if status.is_success() && is_scorer => Ok(document),
            _ if !is_scorer => bail!(
                "{} is not a Perch scorer: its response has no x-perch-scorer header; correct --scorer URL",
                self.url
            ),
            StatusCode::NOT_FOUND => {
                bail!("the scorer has no {path} ({reason}); run perch and scorer of the same release")
            }
            status => bail!("the scorer rejected the request: {reason} ({status})"),
        }
    }
}
