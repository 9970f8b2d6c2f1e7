//! The reference application's server: suggestions, feedback, health.
//!
//! HTTP/1.1 and HTTP/2 (prior knowledge) on one port. On a signal it takes no new connections, answers what is under
//! way, writes the events that wait, and ends.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use contract::headers;
use contract::names::Cohort;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use serde_json::json;
use tokio::net::TcpListener;

use super::{Item, SuggestRequest, Suggestions, heuristics};
use crate::feedback::{self, EventLog, FeedbackError, FeedbackRequest};
use crate::store::{Recorded, Store, StoreError, SuggestionEvent};

/// Largest request body.
const MOST_BODY: usize = 32 * 1024 * 1024;
/// How long requests under way may take once the server is told to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// What the routes work with.
#[derive(Debug, Clone)]
pub struct Application {
    store: Store,
    events: EventLog,
}

impl Application {
    /// The application over `store`, with suggestion events going to `events`.
    #[must_use]
    pub fn new(store: Store, events: EventLog) -> Self {
        Self { store, events }
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let shadow = request.headers().get(headers::SHADOW).is_some_and(|value| value == "1");
        let bucket = request.headers().get(headers::BUCKET).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let bucket = bucket.to_owned();
        match (request.method(), request.uri().path()) {
            (&Method::POST, "/ml/suggestions") => match body(request).await {
                Ok(body) => self.suggest(&body, shadow, &bucket).await,
                Err(refused) => refused,
            },
            (&Method::POST, "/ml/suggestions/feedback") => match body(request).await {
                Ok(body) => self.feedback(&body).await,
                Err(refused) => refused,
            },
            (&Method::GET | &Method::HEAD, "/healthz") => match self.store.ping().await {
                Ok(()) => json_answer(StatusCode::OK, &json!({"ok": true})),
                Err(error) => unavailable(&error),
            },
            (_, "/ml/suggestions" | "/ml/suggestions/feedback") => refuse(StatusCode::METHOD_NOT_ALLOWED, "use POST"),
            _ => refuse(StatusCode::NOT_FOUND, "there is no such path: POST /ml/suggestions is the main one"),
        }
    }

    async fn suggest(&self, body: &[u8], shadow: bool, bucket: &str) -> Response<Full<Bytes>> {
        let request = match SuggestRequest::parse(body) {
            Ok(request) => request,
            Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        let found = match self.store.transactions(&request.txn_ids).await {
            Ok(found) => found,
            Err(error) => return unavailable(&error),
        };
        let now = now();
        let items = found.iter().map(|found| {
            let candidates = heuristics::suggest(&found.transaction, request.top_k);
            let event_id = uuid::Uuid::new_v4().to_string();
            if !shadow && let Some(top) = candidates.first() {
                self.events.offer(SuggestionEvent {
                    event_id: event_id.clone(),
                    txn_id: found.id,
                    arm: contract::names::Arm::Rule.as_str().to_owned(),
                    model_version: String::new(),
                    label: top.label.clone(),
                    confidence: top.confidence,
                    bucket: bucket.to_owned(),
                    cohort: Cohort::Ordinary.as_str().to_owned(),
                    created_at: now,
                });
            }
            Item { txn_id: found.id.to_string(), event_id, candidates }
        });
        json_answer(StatusCode::OK, &Suggestions { items: items.collect() })
    }

    async fn feedback(&self, body: &[u8]) -> Response<Full<Bytes>> {
        let request = match FeedbackRequest::parse(body) {
            Ok(request) => request,
            Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        match feedback::record(&self.store, &request, now()).await {
            Ok(outcome) => json_answer(
                StatusCode::OK,
                &json!({"ok": true, "new": outcome.recorded == Recorded::New, "labelled": outcome.labelled}),
            ),
            Err(error @ FeedbackError::NoTransaction(_)) => refuse(StatusCode::NOT_FOUND, &error.to_string()),
            Err(error @ FeedbackError::OtherTransaction(_)) => refuse(StatusCode::BAD_REQUEST, &error.to_string()),
            Err(FeedbackError::Store(error)) => unavailable(&error),
        }
    }
}

async fn body(request: Request<Incoming>) -> Result<Bytes, Response<Full<Bytes>>> {
    match Limited::new(request.into_body(), MOST_BODY).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body is over 32 MiB: split the request"))
        }
        Err(_) => Err(refuse(StatusCode::BAD_REQUEST, "the body ended early")),
    }
}

/// The client learns that the store is the trouble, the log what the trouble is.
fn unavailable(error: &StoreError) -> Response<Full<Bytes>> {
    log::warn!("{error}");
    refuse(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer: try again")
}

fn refuse(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    json_answer(status, &json!({"error": why}))
}

fn json_answer(status: StatusCode, body: &impl serde::Serialize) -> Response<Full<Bytes>> {
    let bytes = serde_json::to_vec(body).unwrap_or_else(|_| b"{}".to_vec());
    let mut response = Response::new(Full::new(Bytes::from(bytes)));
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: stop the program that holds the port, or give another with --listen")]
pub struct CannotListen {
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

/// Takes the port.
///
/// # Errors
/// When it is taken or not allowed.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, CannotListen> {
    TcpListener::bind(address).await.map_err(|source| CannotListen { address, source })
}

/// Serves `application` until `stop` comes, then answers what is under way.
pub async fn serve(listener: TcpListener, application: Application, stop: impl Future<Output = ()>) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(hyper_util::rt::TokioTimer::new()).header_read_timeout(Duration::from_secs(60));
    let connections = GracefulShutdown::new();
    tokio::pin!(stop);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, mostly: pause instead of spinning.
                    log::warn!("a connection could not be taken: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        let _ = stream.set_nodelay(true);
        let application = application.clone();
        let service = service_fn(move |request| {
            let application = application.clone();
            async move { Ok::<_, Infallible>(application.answer(request).await) }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let connection = connections.watch(connection.into_owned());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                log::debug!("a connection ended: {error}");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, connections.shutdown()).await.is_err() {
        log::warn!("stopped with requests still under way after {DRAIN:?}");
    }
}
