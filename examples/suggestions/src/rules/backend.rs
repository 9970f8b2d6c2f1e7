//! The reference application's server: suggestions and health.
//!
//! HTTP/1.1 and HTTP/2 (prior knowledge) on one port. On a signal it takes no new connections, answers what is under
//! way, and ends.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use http_server::Options;
use hyper::body::Incoming;
use hyper::service::service_fn;
use scorer_store::{Store, StoreError};
use serde_json::json;
use shadow_scorer::suggestions::{Item, SuggestRequest, Suggestions};
use tokio::net::TcpListener;

use super::heuristics;
use crate::transactions::TransactionWithHistory;

/// Largest request body.
const MOST_BODY: usize = 32 * 1024 * 1024;
/// The limits are for clients behind a gateway: as many connections as there are, heads above Envoy's own 60 KiB.
const OPTIONS: Options = Options {
    connections: usize::MAX,
    head_bytes: 64 * 1024,
    headers: 100,
    head_time: Duration::from_secs(60),
    streams: Some(200),
    drain: Duration::from_secs(10),
};

/// What the routes work with.
#[derive(Debug, Clone)]
pub struct Application {
    store: Store,
}

impl Application {
    /// The application over `store`.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Responds to one request.
    pub async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        match (request.method(), request.uri().path()) {
            (&Method::POST, "/ml/suggestions") => match body(request).await {
                Ok(body) => self.suggest(&body).await,
                Err(refused) => refused,
            },
            (&Method::GET | &Method::HEAD, "/healthz") => match self.store.ping().await {
                Ok(()) => json_response(StatusCode::OK, &json!({"ok": true})),
                Err(error) => unavailable(&error),
            },
            (_, "/ml/suggestions") => refuse(StatusCode::METHOD_NOT_ALLOWED, "use POST"),
            _ => refuse(StatusCode::NOT_FOUND, "unknown path: use POST /ml/suggestions"),
        }
    }

    async fn suggest(&self, body: &[u8]) -> Response<Full<Bytes>> {
        let request = match SuggestRequest::parse(body) {
            Ok(request) => request,
            Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        let found = match self.store.entities(&request.txn_ids).await {
            Ok(found) => found,
            Err(error) => return unavailable(&error),
        };
        let found = found.iter().filter_map(|entity| TransactionWithHistory::of(&**entity));
        let items = found.map(|found| Item {
            txn_id: found.id.to_string(),
            // Of version 7: ids that are stored in order of time keep a store's index small and its writes together.
            event_id: uuid::Uuid::now_v7().to_string(),
            candidates: heuristics::suggest(&found.transaction, request.top_k),
        });
        json_response(StatusCode::OK, &Suggestions { items: items.collect() })
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

/// The client is told that the store failed; the cause is in the log only.
fn unavailable(error: &StoreError) -> Response<Full<Bytes>> {
    tracing::warn!(%error, "store_failed");
    refuse(StatusCode::SERVICE_UNAVAILABLE, "the store does not respond: try again")
}

fn refuse(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    json_response(status, &json!({"error": why}))
}

fn json_response(status: StatusCode, body: &impl serde::Serialize) -> Response<Full<Bytes>> {
    let bytes = serde_json::to_vec(body).unwrap_or_else(|_| b"{}".to_vec());
    let mut response = Response::new(Full::new(Bytes::from(bytes)));
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// Serves `application` until `stop` comes, then answers what is under way.
pub async fn serve(listener: TcpListener, application: Application, stop: impl Future<Output = ()>) {
    let service = service_fn(move |request| {
        let application = application.clone();
        async move { Ok::<_, Infallible>(application.respond(request).await) }
    });
    http_server::serve(listener, service, &OPTIONS, |_| {}, stop).await;
}
