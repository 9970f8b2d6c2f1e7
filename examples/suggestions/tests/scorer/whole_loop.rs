//! The whole loop, with the real training: traffic, feedback, labels, a training, a challenger that is judged, a
//! deployment by the policy, and the way back.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use contract::frame;
use contract::names::Arm;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use shadow_scorer::store::Options;
use suggestions::generator::{self, Payment, Plan};
use suggestions::rules::backend;
use suggestions::{open_store, transactions};

use crate::batch::{Batch, ObservationSpec};
use crate::scorer::{Place, Scorer};
use crate::small_model::{Version, alias};

/// Transactions of one request.
const AT_ONCE: usize = 10;
/// Requests until the training.
const REQUESTS: usize = 90;
/// Beyond the ids of the place's own transactions.
const FIRST_ID: i64 = 1_000;

/// Demo payments in the store, whose labels nobody knows but their users.
async fn with_payments(place: &Place) -> Vec<Payment> {
    let mut payments = generator::generate(&Plan { users: 60, ..Plan::default() });
    payments.retain(|payment| payment.label.is_some());
    payments.truncate((REQUESTS + 10) * AT_ONCE);
    for payment in &mut payments {
        payment.transaction.id += FIRST_ID;
    }
    let store = open_store(&place.store_url(), &Options::default()).await.unwrap();
    let new: Vec<_> = payments.iter().map(|payment| payment.transaction.clone()).collect();
    transactions::add(&store, &new).await.unwrap();
    payments
}

/// The reference application over the same store.
async fn application(place: &Place) -> SocketAddr {
    let store = open_store(&place.store_url(), &Options::default()).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(backend::serve(listener, backend::Application::new(store), std::future::pending()));
    address
}

/// What the gateway does for one request: the application is asked, for a canary user the candidate too, whose response
/// is given; and the observation of it.
async fn serve(scorer: &Scorer, rules: SocketAddr, user: u64, ids: &[i64]) -> Value {
    let request = json!({ "txn_ids": ids }).to_string();
    let client = Client::builder(TokioExecutor::new()).build_http();
    let asked = Request::post(format!("http://{rules}/ml/suggestions"));
    let baseline = client.request(asked.body(Full::new(Bytes::from(request.clone()))).unwrap()).await.unwrap();
    let baseline = baseline.into_body().collect().await.unwrap().to_bytes();
    let mut seen = ObservationSpec { user, baseline: baseline.to_vec(), ..ObservationSpec::baseline(&[]) };
    if user.is_multiple_of(2) {
        let answer = scorer.suggest(&request).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        (seen.assigned, seen.candidate) = (Arm::Candidate, Some(answer.body.to_vec()));
    }
    let given = seen.candidate.as_ref().unwrap_or(&seen.baseline);
    let given = serde_json::from_slice(given).unwrap();
    let result = scorer.post(frame::PATH, Batch::new().with(&seen).bytes()).await;
    assert_eq!(result.status, StatusCode::OK, "{}", result.text());
    given
}

/// What a user says to an answer: yes to what is right, and what it is to what is wrong.
async fn say(scorer: &Scorer, answer: &Value, truth: &HashMap<i64, &str>) {
    for item in answer["items"].as_array().unwrap() {
        let id: i64 = item["txn_id"].as_str().unwrap().parse().unwrap();
        let label = truth[&id];
        let right = item["candidates"][0]["label"] == label;
        let action = if right { "accept" } else { "reject" };
        let body = json!({ "txn_id": id, "action": action, "label": label, "event_id": item["event_id"] });
        let said = scorer.post("/ml/suggestions/feedback", body.to_string()).await.json();
        assert_eq!((&said["new"], &said["labelled"]), (&json!(true), &json!(true)), "{body}: {said}");
        assert!(said["arm"].is_string(), "the event is known: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_traffic_by_feedback_to_a_better_model_and_back() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let python = root.join(".perch/venv/bin/python");
    assert!(python.exists(), "{} is missing: `setup/run training` makes it", python.display());
    let script = root.join("models/train.py");

    let place = Place::new().await;
    Version { f1: 0.05, ..place.version("v1") }.write(&place.registry());
    alias(&place.registry(), "champion", "v1");
    let payments = with_payments(&place).await;
    let truth: HashMap<i64, &str> =
        payments.iter().map(|payment| (payment.transaction.id, payment.label.unwrap().0)).collect();
    let rules = application(&place).await;
    let work = place.path().join("train");
    let flags = [
        ["--registry-poll-ms", "0"],
        ["--train-python", python.to_str().unwrap()],
        ["--train-script", script.to_str().unwrap()],
        ["--train-folder", work.to_str().unwrap()],
        ["--train-deploy", "challenger"],
        // Every answer counts here, on however busy a machine.
        ["--live-deadline-ms", "10000"],
    ];
    let scorer = Scorer::start_in(place, &flags.concat()).await;
    let early = scorer.post("/ml/v2/train", "").await;
    assert_eq!((early.status, &early.json()["reason"]), (StatusCode::BAD_REQUEST, &json!("no_data")));

    // Traffic, and what users say to it.
    let ids: Vec<i64> = payments.iter().map(|payment| payment.transaction.id).collect();
    let (learnt, later) = ids.split_at(REQUESTS * AT_ONCE);
    for (user, ids) in (0..).zip(learnt.chunks(AT_ONCE)) {
        let answer = serve(&scorer, rules, user, ids).await;
        say(&scorer, &answer, &truth).await;
    }
    assert_eq!(usize::try_from(scorer.app.store.count_labels().await.unwrap()), Ok(learnt.len()));
    let judged = scorer.metric("lm_ml_predictions_total{accepted=\"True\"}").await
        + scorer.metric("lm_ml_predictions_total{accepted=\"False\"}").await;
    assert_eq!(judged, f64::from(u32::try_from(learnt.len() / 2).unwrap()), "half of the users are in the canary");

    // Trained on those labels; judged beside the champion, who goes on answering.
    let trained = scorer.post("/ml/v2/train", "").await;
    assert_eq!(trained.status, StatusCode::OK, "{}", trained.text());
    let trained = trained.json();
    let version = trained["run_id"].as_str().unwrap().to_owned();
    assert_eq!(trained["deployed"], false);
    let rows: u64 = ["train", "calibrate", "validate"]
        .iter()
        .map(|part| trained["data_span"][part]["rows"].as_u64().unwrap())
        .sum();
    assert!(rows > 500 && rows <= learnt.len() as u64, "{rows} rows of {}", learnt.len());
    let status = scorer.get("/ml/v2/model/status").await.json();
    assert_eq!((&status["meta"]["version"], &status["challenger"]["version"]), (&json!("v1"), &json!(version)));
    for (user, ids) in (0..).zip(later.chunks(AT_ONCE)) {
        let answer = serve(&scorer, rules, user, ids).await;
        let served = answer["items"][0]["candidates"][0]["model_version"].as_str().unwrap_or("v1");
        assert_eq!(served, "v1", "a challenger answers nobody");
    }
    let mut judged = 0.0;
    for agree in ["True", "False"] {
        let series = format!("perch_scorer_challenger_items_total{{against=\"champion\",agree=\"{agree}\"}}");
        judged += scorer.metric(&series).await;
    }
    assert!(judged > 0.0, "the challenger was judged");

    // Deployed by the policy: it beats a champion of macro F1 0.05.
    let deployed = scorer.post("/ml/v2/model/deploy", json!({ "version": version }).to_string()).await;
    assert_eq!(deployed.status, StatusCode::OK, "{}", deployed.text());
    let question = json!({ "txn_ids": &later[..AT_ONCE] }).to_string();
    assert_eq!(scorer.suggest(&question).await.header("x-perch-model-version"), Some(version.as_str()));

    // And back, by one command.
    let back = scorer.post("/ml/v2/model/rollback", "").await.json();
    assert_eq!((&back["meta"]["version"], &back["previous"]), (&json!("v1"), &json!(version)));
    assert_eq!(scorer.suggest(&question).await.header("x-perch-model-version"), Some("v1"));
}
