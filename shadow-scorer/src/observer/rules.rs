//! Asking the application's own rules what they would have answered, for answers that the model gave.
//!
//! The question is the client's own body, marked with `x-perch-shadow: 1` so that the application writes no event for
//! it. Credentials are not sent: the filter never copied them. A question waits for its turn, of which there are few at
//! once, and for its answer within one deadline: the rules serve clients first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use contract::frame::Encoding;
use contract::headers;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Semaphore;

use crate::http::decode;
use crate::metrics::Metrics;

/// Why the rules gave no answer; the label value is [`NoAnswer::as_str`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// No turn within the deadline.
    Overloaded,
    /// No answer within the deadline.
    Deadline,
    /// No connection, or it broke.
    Failed,
    /// Another status than 200.
    Status,
    /// Too large, or not what its encoding says.
    Unreadable,
}

impl NoAnswer {
    /// As the label value.
    #[must_use]
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Overloaded => "overloaded",
            Self::Deadline => "deadline",
            Self::Failed => "failed",
            Self::Status => "status",
            Self::Unreadable => "unreadable",
        }
    }
}

/// The rules, as the scorer asks them.
#[derive(Debug)]
pub(super) struct Rules {
    client: Client<HttpConnector, Full<Bytes>>,
    uri: Uri,
    turns: Semaphore,
    deadline: Duration,
    /// Of an answer, packed and unpacked.
    limit: usize,
    metrics: Arc<Metrics>,
}

impl Rules {
    /// The rules at `uri`, of whom at most `at_once` questions are asked at once.
    #[must_use]
    pub(super) fn new(uri: Uri, at_once: usize, deadline: Duration, limit: usize, metrics: Arc<Metrics>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(deadline));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(at_once)
            .build(connector);
        Self { client, uri, turns: Semaphore::new(at_once.min(Semaphore::MAX_PERMITS)), deadline, limit, metrics }
    }

    /// Asks with the client's `body`, packed as `encoding` says; the answer's body, unpacked.
    ///
    /// # Errors
    /// See [`NoAnswer`]; each is counted.
    pub(super) async fn ask(&self, body: Bytes, encoding: Encoding) -> Result<Bytes, NoAnswer> {
        let started = Instant::now();
        let answer = match encoding {
            // Nobody could read it, and its header's value is not known here.
            Encoding::Unknown => Err(NoAnswer::Unreadable),
            known => self.ask_within(body, known).await,
        };
        let result = answer.as_ref().map_or_else(|reason| reason.as_str(), |_| "answered");
        self.metrics.rules_requests.with_label_values(&[result]).inc();
        self.metrics.rules_seconds.observe(started.elapsed().as_secs_f64());
        answer
    }

    async fn ask_within(&self, body: Bytes, encoding: Encoding) -> Result<Bytes, NoAnswer> {
        let end = tokio::time::Instant::now() + self.deadline;
        let turn = tokio::time::timeout_at(end, self.turns.acquire()).await;
        let _turn = turn.map_err(|_| NoAnswer::Overloaded)?.map_err(|_| NoAnswer::Overloaded)?;
        tokio::time::timeout_at(end, self.exchange(body, encoding)).await.unwrap_or(Err(NoAnswer::Deadline))
    }

    async fn exchange(&self, body: Bytes, encoding: Encoding) -> Result<Bytes, NoAnswer> {
        let mut question = Request::new(Full::new(body));
        *question.method_mut() = Method::POST;
        *question.uri_mut() = self.uri.clone();
        let head = question.headers_mut();
        head.insert(headers::SHADOW, HeaderValue::from_static("1"));
        head.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        head.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if encoding != Encoding::Identity {
            head.insert(CONTENT_ENCODING, HeaderValue::from_static(decode::name(encoding)));
        }
        let answer = self.client.request(question).await.map_err(|_| NoAnswer::Failed)?;
        if answer.status() != http::StatusCode::OK {
            return Err(NoAnswer::Status);
        }
        let packed = Encoding::from_header(answer.headers().get(CONTENT_ENCODING).map(HeaderValue::as_bytes));
        let body = Limited::new(answer.into_body(), self.limit).collect().await;
        let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
            Ok(_) => NoAnswer::Failed,
            Err(_) => NoAnswer::Unreadable,
        })?;
        let body = body.to_bytes();
        match packed {
            Encoding::Identity => Ok(body),
            packed => match decode::decode(packed, &body, self.limit).await {
                Ok(unpacked) => Ok(unpacked.into_owned().into()),
                Err(_) => Err(NoAnswer::Unreadable),
            },
        }
    }
}
