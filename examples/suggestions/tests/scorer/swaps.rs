//! Models change under load: every answer is whole and of one model, and what is damaged never serves.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::scorer::{Protocol, Scorer};
use crate::small_model::{CLASSES, SWAPPED, Version, edit_manifest};

const SWAPS: usize = 1_000;
/// A damaged version is tried after every so many swaps.
const TRY_DAMAGED: usize = 10;

/// Number of responses of each of the two versions.
#[derive(Debug, Default)]
struct ResponseCounts([u64; 2]);

/// Sends requests without a pause until `done`, and checks every response.
async fn send_requests(uri: String, protocol: Protocol, done: Arc<AtomicBool>) -> ResponseCounts {
    let client = Client::builder(TokioExecutor::new()).http2_only(protocol == Protocol::H2c).build_http();
    let mut seen = ResponseCounts::default();
    while !done.load(Ordering::Relaxed) {
        let body = Full::new(Bytes::from_static(br#"{"txn_ids":[3,4,5],"top_k":3}"#));
        let answer = client.request(Request::post(&uri).body(body).unwrap()).await.unwrap();
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        assert_eq!(head.status, StatusCode::OK, "{body:?}");
        let version = head.headers["x-perch-model-version"].to_str().unwrap();
        let (place, classes) = if version == "v1" { (0, CLASSES) } else { (1, SWAPPED) };
        let document: Value = serde_json::from_slice(&body).unwrap();
        let items = document["items"].as_array().unwrap();
        assert_eq!(items.len(), 3);
        // Transaction 3 is of the model's first class, 4 of the second, 5 of the third, whatever they are called.
        for (item, class) in items.iter().zip(classes) {
            let candidates = item["candidates"].as_array().unwrap();
            assert_eq!(candidates[0]["label"], class, "{version}: {document}");
            assert!(candidates.iter().all(|one| one["model_version"] == version), "{version}: {document}");
        }
        seen.0[place] += 1;
    }
    seen
}

/// A version's name, why it is refused, and what is wrong with it.
type Damage = (&'static str, &'static str, fn(&Path));

const DAMAGES: [Damage; 3] = [
    ("truncated", "hash", |folder| {
        let whole = fs::read(folder.join("model.onnx")).unwrap();
        fs::write(folder.join("model.onnx"), &whole[..whole.len() / 2]).unwrap();
    }),
    ("corrupt", "hash", |folder| {
        let mut whole = fs::read(folder.join("model.onnx")).unwrap();
        let middle = whole.len() / 2;
        whole[middle] ^= 1;
        fs::write(folder.join("model.onnx"), whole).unwrap();
    }),
    ("mismatched", "schema", |folder| {
        edit_manifest(folder, |manifest| manifest["feature_schema"]["hash"] = "another".into());
    }),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_hot_swaps_under_load_fail_and_mix_nothing() {
    let scorer = Scorer::start(&["--registry-poll-ms", "0"]).await;
    let registry = scorer.place.registry();
    let second = Version { classes: SWAPPED, ..scorer.place.version("v2") }.write(&registry);
    // Of versions that nobody serves only the newest three stay. The file system's clock is too coarse to tell that the
    // damaged ones are newer than this one.
    File::options()
        .write(true)
        .open(second.join("manifest.json"))
        .unwrap()
        .set_modified(SystemTime::UNIX_EPOCH)
        .unwrap();
    for (name, _, damage) in DAMAGES {
        damage(&scorer.place.version(name).write(&registry));
    }
    let done = Arc::new(AtomicBool::new(false));
    let uri = format!("http://{}/ml/suggestions", scorer.address);
    let load: Vec<_> = [Protocol::H1, Protocol::H2c, Protocol::H1]
        .map(|protocol| tokio::spawn(send_requests(uri.clone(), protocol, Arc::clone(&done))))
        .into();

    let mut serving = "v1";
    for swap in 0..SWAPS {
        // Deployed by name, and every fourth time by going back.
        let next = if serving == "v1" { "v2" } else { "v1" };
        let answer = if swap % 4 == 3 {
            scorer.post("/ml/v2/model/rollback", "").await
        } else {
            scorer.post("/ml/v2/model/deploy", json!({ "version": next }).to_string()).await
        };
        assert_eq!(answer.status, StatusCode::OK, "swap {swap}: {}", answer.text());
        serving = next;
        assert_eq!(answer.json()["meta"]["version"], serving, "swap {swap}");
        if swap % TRY_DAMAGED == 0 {
            let (name, reason, _) = DAMAGES[swap / TRY_DAMAGED % DAMAGES.len()];
            let answer =
                scorer.post("/ml/v2/model/deploy", json!({ "version": name, "force": true }).to_string()).await;
            assert_eq!((answer.status, &answer.json()["reason"]), (StatusCode::CONFLICT, &json!(reason)), "{name}");
            assert_eq!(scorer.get("/readyz").await.json()["model"], serving, "{name}");
        }
    }
    done.store(true, Ordering::Relaxed);
    let mut seen = [0; 2];
    for client in load {
        let ResponseCounts(answers) = client.await.unwrap();
        seen = [seen[0] + answers[0], seen[1] + answers[1]];
    }
    assert!(seen.iter().all(|answers| *answers > 0), "both versions answered: {seen:?}");
    let refusals = scorer.metric("perch_scorer_model_refusals_total{reason=\"hash\"}").await
        + scorer.metric("perch_scorer_model_refusals_total{reason=\"schema\"}").await;
    assert_eq!(refusals, 100.0);
    assert_eq!(scorer.metric("perch_scorer_live_responses_total{result=\"unavailable\"}").await, 0.0);
}
