//! A scripted HTTP server, which records its requests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response};
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt as _;

/// A request that the server received.
#[derive(Debug, Clone)]
pub(crate) struct RecordedRequest {
    /// Method, path and query, e.g. `GET /runtime`.
    pub(crate) line: String,
    pub(crate) body: String,
    /// The `authorization` header; empty if there is none.
    pub(crate) authorization: String,
}

/// A response: status, headers, body.
pub(crate) type Script = (u16, Vec<(&'static str, String)>, String);

pub(crate) struct Server {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<RecordedRequest>>>,
}

impl Server {
    /// Responds to every request by `script`, on a thread of its own.
    pub(crate) fn start(script: impl Fn(&RecordedRequest) -> Script + Send + Sync + 'static) -> Self {
        Self::serve(script, false)
    }

    /// The same, with every body compressed by gzip, whatever the request accepts.
    pub(crate) fn compressing(script: impl Fn(&RecordedRequest) -> Script + Send + Sync + 'static) -> Self {
        Self::serve(script, true)
    }

    fn serve(script: impl Fn(&RecordedRequest) -> Script + Send + Sync + 'static, compresses: bool) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (script, record) = (Arc::new(script), Arc::clone(&requests));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let respond = move |request: Request<Body>| {
                    let (script, record) = (Arc::clone(&script), Arc::clone(&record));
                    async move {
                        let authorization =
                            request.headers().get("authorization").map_or("", |of| of.to_str().unwrap());
                        let authorization = authorization.to_owned();
                        let line = format!("{} {}", request.method(), request.uri());
                        let body = to_bytes(request.into_body(), 1 << 20).await.unwrap();
                        let body = String::from_utf8_lossy(&body).into_owned();
                        let request = RecordedRequest { line, body, authorization };
                        let (status, headers, body) = script(&request);
                        record.lock().unwrap().push(request);
                        let mut response = Response::builder().status(status);
                        for (name, value) in headers {
                            response = response.header(name, value);
                        }
                        if !compresses {
                            return response.body(Body::from(body)).unwrap();
                        }
                        let mut packer = async_compression::tokio::write::GzipEncoder::new(Vec::new());
                        packer.write_all(body.as_bytes()).await.unwrap();
                        packer.shutdown().await.unwrap();
                        response.header("content-encoding", "gzip").body(Body::from(packer.into_inner())).unwrap()
                    }
                };
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, axum::Router::new().fallback(respond)).await.unwrap();
            });
        });
        Self { url, requests }
    }

    /// An Envoy whose runtime holds these keys, and accepts others.
    pub(crate) fn gateway(runtime: &[(&str, &str)], stats: &str) -> Self {
        Self::gateway_configured(runtime, stats, &json!({"configs": []}))
    }

    /// The same, with this `/config_dump`.
    pub(crate) fn gateway_configured(runtime: &[(&str, &str)], stats: &str, dump: &Value) -> Self {
        let held: BTreeMap<String, String> =
            runtime.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let (held, stats, dump) = (Mutex::new(held), stats.to_owned(), dump.to_string());
        Self::start(move |request| {
            let mut held = held.lock().unwrap();
            if let Some(change) = request.line.strip_prefix("POST /runtime_modify?") {
                let (key, value) = change.split_once('=').unwrap();
                held.insert(key.to_owned(), value.to_owned());
                return plain("OK");
            }
            match request.line.as_str() {
                "GET /runtime" => {
                    let entries: Map<String, Value> = held
                        .iter()
                        .map(|(key, value)| (key.clone(), json!({"final_value": value, "layer_values": [value]})))
                        .collect();
                    plain(&json!({"layers": ["admin"], "entries": entries}).to_string())
                }
                "GET /stats/prometheus" => plain(&stats),
                "GET /config_dump" => plain(&dump),
                "GET /ready" => plain("LIVE"),
                "GET /clusters" => plain(
                    "perch_scorer_live::1.2.3.4:1::health_flags::healthy\nperch_scorer_observe::1.2.3.4:1::health_flags::healthy\n",
                ),
                other => (404, vec![], format!("nothing at {other}")),
            }
        })
    }

    pub(crate) fn requests(&self) -> Vec<RecordedRequest> {
        self.requests.lock().unwrap().clone()
    }
}

/// 200 without headers.
pub(crate) fn plain(body: &str) -> Script {
    (200, vec![], body.to_owned())
}

/// A response of the scorer.
pub(crate) fn of_scorer(status: u16, body: &Value) -> Script {
    (
        status,
        vec![("x-perch-scorer", "1".to_owned()), ("content-type", "application/json".to_owned())],
        body.to_string(),
    )
}
