//! Requests and responses of a given size, and the application that gives the responses. It does no work of its own, so
//! that what is measured is what stands in front of it; or it only waits, as for a database.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// How many different requests of a kind there are.
const DIFFERENT: usize = 16;
/// How many users send them.
pub(crate) const USERS: usize = 10_007;

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    /// Least length of the bodies of request and response.
    pub(crate) bytes: usize,
    pub(crate) items: usize,
    /// How long the application takes, in ms.
    pub(crate) work_ms: u32,
}

/// A request and its response.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    /// Path and query.
    pub(crate) path: String,
    pub(crate) body: Bytes,
    pub(crate) response: Bytes,
}

impl Kind {
    /// The different requests that clients send.
    pub(crate) fn exchanges(self) -> Vec<Exchange> {
        (0..DIFFERENT).map(|number| self.exchange(number)).collect()
    }

    /// One request; no two numbers share a transaction. Transactions count from 1, as the demo's store has them.
    pub(crate) fn exchange(self, number: usize) -> Exchange {
        let ids: Vec<usize> = (0..self.items).map(|item| number * self.items + item + 1).collect();
        let items: Vec<Value> = ids.iter().map(|id| item(*id)).collect();
        let user = format!("user-{number}");
        Exchange {
            path: format!("/ml/suggestions?b={}i={}w={}n={number}", self.bytes, self.items, self.work_ms),
            body: padded(json!({ "txn_ids": ids, "mode": "auto", "user_id": user }), self.bytes),
            response: padded(json!({ "items": items }), self.bytes),
        }
    }
}

fn item(id: usize) -> Value {
    let labels = &*stack::plugin::LABELS;
    let label = labels.get(id % labels.len().max(1)).map_or("groceries", String::as_str);
    json!({ "txn_id": id.to_string(), "candidates": [{ "label": label, "confidence": 0.79 }] })
}

fn padded(mut value: Value, bytes: usize) -> Bytes {
    let short = bytes.saturating_sub(value.to_string().len());
    // What the field itself takes: ,"pad":""
    if let (Some(fields), Some(pad)) = (value.as_object_mut(), short.checked_sub(9)) {
        fields.insert("pad".to_owned(), "x".repeat(pad).into());
    }
    value.to_string().into()
}

/// Starts the application, HTTP/1.1 on a free port, in this runtime.
///
/// # Errors
/// When no port is free.
pub(crate) async fn application(kinds: &[Kind]) -> Result<SocketAddr> {
    let mut responses = Responses::default();
    for kind in kinds {
        let work = Duration::from_millis(u64::from(kind.work_ms));
        for exchange in kind.exchanges() {
            responses.by_path.insert(exchange.path, (exchange.response.clone(), work));
            responses.by_body.insert(exchange.body, exchange.response);
        }
    }
    let responses = Arc::new(responses);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let responses = responses.clone();
            let service = service_fn(move |request| respond(responses.clone(), request));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(address)
}

/// The application's responses.
#[derive(Debug, Default)]
struct Responses {
    /// To clients, by path and query: the body need not be read.
    by_path: HashMap<String, (Bytes, Duration)>,
    /// To the scorer, which sends the client's body without the query.
    by_body: HashMap<Bytes, Bytes>,
}

async fn respond(responses: Arc<Responses>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, mut received) = request.into_parts();
    let path = head.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    let body = if let Some((body, work)) = responses.by_path.get(path) {
        while received.frame().await.is_some() {}
        if !work.is_zero() {
            tokio::time::sleep(*work).await;
        }
        body.clone()
    } else {
        let received = received.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        responses.by_body.get(&received).cloned().unwrap_or_default()
    };
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_their_length_and_responses_their_items() {
        for bytes in [100, 1024, 16 * 1024] {
            let exchanges = Kind { bytes, items: 1, work_ms: 0 }.exchanges();
            assert!(exchanges.iter().all(|exchange| exchange.body.len() == bytes && exchange.response.len() == bytes));
        }
        let schema = contract::response::ResponseSchema::default();
        let exchanges = Kind { bytes: 1024, items: 100, work_ms: 0 }.exchanges();
        let read = exchanges.first().map(|exchange| contract::response::read(&exchange.response, &schema));
        assert_eq!(read.and_then(Result::ok).map(|items| items.len()), Some(100));
    }
}
