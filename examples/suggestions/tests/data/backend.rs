//! The reference application over the wire.

use std::net::SocketAddr;

use bytes::Bytes;
use contract::response::{ResponseSchema, read};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use suggestions::rules::backend::{Application, serve};
use suggestions::transactions;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::fixture::{Fresh, day, each, transaction};

struct Running {
    fresh: Fresh,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: tokio::task::JoinHandle<()>,
}

impl Running {
    async fn start(fresh: Fresh) -> Self {
        let known = [(88, "COSTCO WHSE #1"), (89, "BLUE BOTTLE")];
        let known = known.map(|(id, merchant)| transaction(id, "a", day(id), merchant));
        transactions::add(&fresh.store, &known).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let application = Application::new(fresh.store.clone());
        let server = tokio::spawn(serve(listener, application, async {
            let _ = stopped.await;
        }));
        Self { fresh, address, stop, server }
    }

    async fn post(&self, path: &str, body: &str) -> (StatusCode, Bytes) {
        let request = Request::post(format!("http://{}{path}", self.address));
        let client = Client::builder(TokioExecutor::new()).build_http();
        let answer = client.request(request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()).await.unwrap();
        let status = answer.status();
        (status, answer.into_body().collect().await.unwrap().to_bytes())
    }

    /// Stops as on a signal.
    async fn stop(self) {
        let _ = self.stop.send(());
        self.server.await.unwrap();
    }
}

#[tokio::test]
async fn known_ids_are_answered_each_with_an_event_of_its_own() {
    for fresh in each().await {
        let running = Running::start(fresh).await;
        let (status, body) = running.post("/ml/suggestions", r#"{"txn_ids":[88,"89",404]}"#).await;
        assert_eq!(status, StatusCode::OK);
        let items = read(&body, &ResponseSchema::default()).unwrap();
        let labels: Vec<_> = items.iter().map(|item| (item.id.as_str(), item.label.as_deref())).collect();
        assert_eq!(labels, [("88", Some("groceries")), ("89", Some("unknown"))]);
        let answer: Value = serde_json::from_slice(&body).unwrap();
        let event = |item: usize| answer["items"][item]["event_id"].as_str().unwrap();
        assert!(event(0) != event(1) && event(0).len() == 36, "{answer}");
        running.stop().await;
    }
}

#[tokio::test]
async fn what_cannot_be_answered_says_why() {
    let running = Running::start(each().await.swap_remove(0)).await;
    let cases = [
        ("/ml/suggestions", r#"{"txn_ids":["8x"]}"#, 400, "8x"),
        ("/ml/suggestions", "{", 400, "not JSON"),
        ("/ml/other", "{}", 404, "/ml/suggestions"),
        ("/healthz", "{}", 404, "/ml/suggestions"),
    ];
    for (path, body, status, named) in cases {
        let (seen, said) = running.post(path, body).await;
        let said = String::from_utf8(said.to_vec()).unwrap();
        assert!(seen.as_u16() == status && said.contains(named), "{path} {body}: {seen} {said}");
    }
    running.fresh.store.close().await;
    let (status, said) = running.post("/ml/suggestions", r#"{"txn_ids":[88]}"#).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!String::from_utf8_lossy(&said).contains("sqlite"), "the store's place is no client's business");
}
