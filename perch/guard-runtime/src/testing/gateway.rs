//! A stand-in for Envoy's admin interface, as far as the share goes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use contract::share::RUNTIME_KEY;

/// One gateway.
pub struct Gateway {
    /// Its admin interface.
    pub url: String,
    held: Held,
}

/// What is held, by key.
type Held = Arc<Mutex<BTreeMap<String, String>>>;

impl Gateway {
    /// One that holds `share`, as Envoy's runtime writes it.
    pub async fn start(share: &str) -> Self {
        Self::serve(share, false).await
    }

    /// One that holds `share` and takes no other, as an Envoy without an admin layer.
    pub async fn refusing(share: &str) -> Self {
        Self::serve(share, true).await
    }

    async fn serve(share: &str, refuses: bool) -> Self {
        let held: Held = Arc::new(Mutex::new(BTreeMap::from([(RUNTIME_KEY.to_owned(), share.to_owned())])));
        let app = Router::new()
            .route(
                "/runtime",
                get(async |State(held): State<Held>| {
                    let held = held.lock().unwrap();
                    let entries = held.iter().map(|(key, value)| (key, serde_json::json!({"final_value": value})));
                    axum::Json(serde_json::json!({"entries": entries.collect::<BTreeMap<_, _>>()}))
                }),
            )
            .route(
                "/runtime_modify",
                post(async move |State(held): State<Held>, Query(query): Query<BTreeMap<String, String>>| {
                    if refuses {
                        return (StatusCode::SERVICE_UNAVAILABLE, "No admin layer specified");
                    }
                    held.lock().unwrap().extend(query);
                    (StatusCode::OK, "OK")
                }),
            )
            .with_state(held.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, held }
    }

    /// One that nobody can reach.
    pub fn gone() -> Self {
        Self { url: "http://127.0.0.1:9".to_owned(), held: Arc::default() }
    }

    /// What it holds.
    pub fn share(&self) -> String {
        self.held.lock().unwrap().get(RUNTIME_KEY).cloned().unwrap_or_default()
    }
}
