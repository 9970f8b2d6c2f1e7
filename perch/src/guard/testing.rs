//! A stand-in for Envoy's admin interface, as far as the share goes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Query, State};
use axum::routing::{get, post};
use contract::switch::RUNTIME_KEY;

/// One gateway.
pub(crate) struct Gateway {
    /// Its admin interface.
    pub(crate) url: String,
    held: Arc<Mutex<String>>,
}

impl Gateway {
    /// One that holds `share`, as Envoy's runtime writes it.
    pub(crate) async fn start(share: &str) -> Self {
        let held = Arc::new(Mutex::new(share.to_owned()));
        let app = Router::new()
            .route(
                "/runtime",
                get(async |State(held): State<Arc<Mutex<String>>>| {
                    let value = held.lock().unwrap().clone();
                    axum::Json(serde_json::json!({"entries": {RUNTIME_KEY: {"final_value": value}}}))
                }),
            )
            .route(
                "/runtime_modify",
                post(async |State(held): State<Arc<Mutex<String>>>, Query(query): Query<BTreeMap<String, String>>| {
                    held.lock().unwrap().clone_from(&query[RUNTIME_KEY]);
                }),
            )
            .with_state(held.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, held }
    }

    /// One that nobody can reach.
    pub(crate) fn gone() -> Self {
        Self { url: "http://127.0.0.1:9".to_owned(), held: Arc::default() }
    }

    /// What it holds.
    pub(crate) fn share(&self) -> String {
        self.held.lock().unwrap().clone()
    }
}
