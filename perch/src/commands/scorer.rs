//! Which scorer a command speaks to, and how.

use std::time::Duration;

use anyhow::{Context, bail};
use contract::headers;
use contract::ports::Part;
use contract::token::Token;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::gateways::local;

/// Longest wait for an answer: a change of models loads and checks one.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Option of every command that speaks to the scorer.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct At {
    /// The shadow-scorer; of several the first is asked [default: the local one]
    #[arg(id = "scorer_urls", long = "scorer", value_name = "URL", env = "PERCH_SCORERS", value_delimiter = ',')]
    urls: Vec<String>,
}

impl At {
    /// A client for it.
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
    /// Where it is.
    pub(crate) url: String,
    /// How it is asked.
    pub(crate) http: Client,
}

impl Scorer {
    /// `GET path` as JSON.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<T> {
        let value = self.exchange(self.http.get(format!("{}{path}", self.url)).query(query), path).await?;
        serde_json::from_value(value)
            .with_context(|| format!("the scorer's {path} has another shape: run perch and scorer of one release"))
    }

    /// `POST path` with a JSON body and, where there is one, the operator's token.
    pub(crate) async fn post(&self, path: &str, body: &Value, token: Option<&Token>) -> anyhow::Result<Value> {
        let mut request = self.http.post(format!("{}{path}", self.url)).json(body);
        if let Some(token) = token {
            request = request.bearer_auth(String::from_utf8_lossy(token.current()));
        }
        self.exchange(request, path).await
    }

    async fn exchange(&self, request: RequestBuilder, path: &str) -> anyhow::Result<Value> {
        let answer = request.send().await.with_context(|| {
            format!("the scorer at {} does not answer: is it running there (`make up` starts one here)?", self.url)
        })?;
        let status = answer.status();
        let ours = answer.headers().contains_key(headers::SCORER);
        let document: Value = answer.json().await.unwrap_or_default();
        let said = document.get("error").and_then(Value::as_str).unwrap_or("no reason given");
        match status {
            status if status.is_success() && ours => Ok(document),
            _ if !ours => bail!("{} is no scorer: what answers there does not say x-perch-scorer", self.url),
            StatusCode::NOT_FOUND => {
                bail!("the scorer does not know {path} ({said}): run perch and scorer of one release")
            }
            status => bail!("{said} ({status})"),
        }
    }
}
