//! The reference application over the wire.

use std::net::SocketAddr;

use bytes::Bytes;
use contract::answer::{AnswerSchema, read};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use shadow_scorer::feedback::{EventLog, Writing};
use shadow_scorer::rules::backend::{Application, listen, serve};
use tokio::sync::oneshot;

use crate::fixture::{Fresh, day, each, transaction};

struct Running {
    fresh: Fresh,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: tokio::task::JoinHandle<()>,
    writing: Writing,
}

impl Running {
    async fn start(fresh: Fresh) -> Self {
        let known = [(88, "COSTCO WHSE #1"), (89, "BLUE BOTTLE")];
        let known = known.map(|(id, merchant)| transaction(id, "a", day(id), merchant));
        fresh.store.add_transactions(&known).await.unwrap();
        let (events, writing) = EventLog::start(fresh.store.clone());
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let application = Application::new(fresh.store.clone(), events);
        let server = tokio::spawn(serve(listener, application, async {
            let _ = stopped.await;
        }));
        Self { fresh, address, stop, server, writing }
    }

    async fn post(&self, path: &str, body: &str, shadow: bool) -> (StatusCode, Bytes) {
        let mut request = Request::post(format!("http://{}{path}", self.address));
        if shadow {
            request = request.header(contract::headers::SHADOW, "1");
        }
        let client = Client::builder(TokioExecutor::new()).build_http();
        let answer = client.request(request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()).await.unwrap();
        let status = answer.status();
        (status, answer.into_body().collect().await.unwrap().to_bytes())
    }

    /// Stops as on a signal: everything that was answered is stored afterwards.
    async fn stop(self) -> Fresh {
        let _ = self.stop.send(());
        self.server.await.unwrap();
        self.writing.finish().await;
        self.fresh
    }
}

fn event_of(body: &[u8], item: usize) -> String {
    let answer: Value = serde_json::from_slice(body).unwrap();
    answer["items"][item]["event_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn known_ids_are_answered_and_their_events_stored() {
    for fresh in each().await {
        let running = Running::start(fresh).await;
        let (status, body) = running.post("/ml/suggestions", r#"{"txn_ids":[88,"89",404]}"#, false).await;
        assert_eq!(status, StatusCode::OK);
        let items = read(&body, &AnswerSchema::default()).unwrap();
        let labels: Vec<_> = items.iter().map(|item| (item.id.as_str(), item.label.as_deref())).collect();
        assert_eq!(labels, [("88", Some("groceries")), ("89", Some("unknown"))]);
        let fresh = running.stop().await;
        let event = fresh.store.event(&event_of(&body, 0)).await.unwrap().unwrap();
        assert_eq!((event.txn_id, event.arm.as_str(), event.label.as_str()), (88, "rule", "groceries"));
    }
}

#[tokio::test]
async fn a_shadow_question_leaves_no_event() {
    for fresh in each().await {
        let running = Running::start(fresh).await;
        let (status, body) = running.post("/ml/suggestions", r#"{"txn_ids":[88]}"#, true).await;
        assert_eq!(status, StatusCode::OK);
        let fresh = running.stop().await;
        assert_eq!(fresh.store.event(&event_of(&body, 0)).await.unwrap(), None);
    }
}

#[tokio::test]
async fn feedback_on_an_answer_finds_its_event() {
    for fresh in each().await {
        let running = Running::start(fresh).await;
        let (_, body) = running.post("/ml/suggestions", r#"{"txn_ids":[88]}"#, false).await;
        let feedback =
            format!(r#"{{"txn_id":88,"action":"accept","label":"groceries","event_id":"{}"}}"#, event_of(&body, 0));
        let (status, said) = running.post("/ml/suggestions/feedback", &feedback, false).await;
        assert_eq!((status, &said[..]), (StatusCode::OK, &br#"{"labelled":true,"new":true,"ok":true}"#[..]));
        running.stop().await;
    }
}

#[tokio::test]
async fn what_cannot_be_answered_says_why() {
    let running = Running::start(each().await.swap_remove(0)).await;
    let cases = [
        ("/ml/suggestions", r#"{"txn_ids":["8x"]}"#, 400, "8x"),
        ("/ml/suggestions", "{", 400, "not JSON"),
        ("/ml/suggestions/feedback", r#"{"txn_id":88,"action":"maybe","label":"x"}"#, 400, "maybe"),
        ("/ml/suggestions/feedback", r#"{"txn_id":404,"action":"accept","label":"x"}"#, 404, "404"),
        ("/ml/other", "{}", 404, "/ml/suggestions"),
        ("/healthz", "{}", 404, "/ml/suggestions"),
    ];
    for (path, body, status, named) in cases {
        let (seen, said) = running.post(path, body, false).await;
        let said = String::from_utf8(said.to_vec()).unwrap();
        assert!(seen.as_u16() == status && said.contains(named), "{path} {body}: {seen} {said}");
    }
    running.fresh.store.close().await;
    let (status, said) = running.post("/ml/suggestions", r#"{"txn_ids":[88]}"#, false).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!String::from_utf8_lossy(&said).contains("sqlite"), "the store's place is no client's business");
}

#[tokio::test]
async fn a_taken_port_is_named_with_the_mend() {
    let first = listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let error = listen(first.local_addr().unwrap()).await.unwrap_err().to_string();
    assert!(error.contains(&first.local_addr().unwrap().to_string()) && error.contains("--listen"), "{error}");
}
