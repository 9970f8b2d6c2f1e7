//! A fake of Envoy's admin interface, as far as shares are concerned.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use contract::switch::RUNTIME_KEY;

/// A gateway that serves `/runtime` and `/runtime_modify`.
pub(crate) struct FakeGateway {
    /// Address of its admin interface.
    pub(crate) url: String,
    values: RuntimeValues,
}

/// Runtime values by key.
type RuntimeValues = Arc<Mutex<BTreeMap<String, String>>>;

impl FakeGateway {
    /// A gateway that holds `share`, in the syntax of Envoy's runtime.
    pub(crate) async fn start(share: &str) -> Self {
        Self::serve(share, false).await
    }

    /// A gateway that holds `share` and rejects every change, as an Envoy without an admin layer does.
    pub(crate) async fn rejecting(share: &str) -> Self {
        Self::serve(share, true).await
    }

    async fn serve(share: &str, rejects: bool) -> Self {
        let values: RuntimeValues = Arc::new(Mutex::new(BTreeMap::from([(RUNTIME_KEY.to_owned(), share.to_owned())])));
        let app = Router::new()
            .route(
                "/runtime",
                get(async |State(values): State<RuntimeValues>| {
                    let values = values.lock().unwrap();
                    let entries = values.iter().map(|(key, value)| (key, serde_json::json!({"final_value": value})));
                    axum::Json(serde_json::json!({"entries": entries.collect::<BTreeMap<_, _>>()}))
                }),
            )
            .route(
                "/runtime_modify",
                post(
                    async move |State(values): State<RuntimeValues>, Query(query): Query<BTreeMap<String, String>>| {
                        if rejects {
                            return (StatusCode::SERVICE_UNAVAILABLE, "No admin layer specified");
                        }
                        values.lock().unwrap().extend(query);
                        (StatusCode::OK, "OK")
                    },
                ),
            )
            .with_state(values.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, values }
    }

    /// A gateway that cannot be reached.
    pub(crate) fn unreachable() -> Self {
        Self { url: "http://127.0.0.1:9".to_owned(), values: Arc::default() }
    }

    /// The share that it holds.
    pub(crate) fn share(&self) -> String {
        self.values.lock().unwrap().get(RUNTIME_KEY).cloned().unwrap_or_default()
    }
}
