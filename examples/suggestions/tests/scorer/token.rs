//! Case N1: what changes something asks for the operator's token, whoever asks and wherever.

use http::{Method, StatusCode};
use serde_json::json;
use shadow_scorer::store::Options;
use suggestions::open_store;

use crate::scorer::{Place, Protocol, Scorer, TOKEN};

const CHANGES: [&str; 5] =
    ["/ml/v2/train", "/ml/v2/model/reload", "/ml/v2/model/deploy", "/ml/v2/model/rollback", "/ml/v2/model/challenge"];

async fn with(scorer: &Scorer, path: &str, authorization: &str) -> (StatusCode, serde_json::Value) {
    let headers = [("authorization", authorization)];
    let answer = scorer.send(Method::POST, path, &headers, r#"{"version":"v2"}"#.into(), Protocol::H1).await;
    (answer.status, answer.json()["reason"].clone())
}

#[tokio::test]
async fn a_stranger_changes_nothing() {
    let scorer = Scorer::start(&["--registry-poll-ms", "0"]).await;
    scorer.place.version("v2").write(&scorer.place.registry());
    for path in CHANGES {
        let answer = scorer.post_as_stranger(path, r#"{"version":"v2"}"#).await;
        assert_eq!((answer.status, &answer.json()["reason"]), (StatusCode::UNAUTHORIZED, &json!("token")), "{path}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        for wrong in ["Bearer operators-token-of-the-testz", "Bearer ", "Basic b3BlcmF0b3I6eA=="] {
            assert_eq!(with(&scorer, path, wrong).await, (StatusCode::UNAUTHORIZED, json!("token")), "{path} {wrong}");
        }
    }
    let status = scorer.status().await;
    assert_eq!((&status["meta"]["version"], &status["challenger"]), (&json!("v1"), &json!(null)));
    let deployed = scorer.post("/ml/v2/model/deploy", r#"{"version":"v2"}"#).await;
    assert_eq!((deployed.status, &deployed.json()["meta"]["version"]), (StatusCode::OK, &json!("v2")));
}

#[tokio::test]
async fn without_a_token_nothing_is_changed_by_request_and_the_error_says_how_to_configure_one() {
    let place = Place::new().await.with_champion();
    std::fs::remove_file(place.token_file()).unwrap();
    let scorer = Scorer::start_in(place, &[]).await;
    for path in CHANGES {
        let answer = scorer.post(path, "{}").await;
        assert_eq!((answer.status, &answer.json()["reason"]), (StatusCode::FORBIDDEN, &json!("no_token")), "{path}");
        assert!(answer.text().contains("--token-file"), "{}", answer.text());
    }
    assert_eq!(scorer.suggest(r#"{"txn_ids":[3]}"#).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_rotated_token_holds_at_once_and_the_one_before_until_its_line_is_gone() {
    let scorer = Scorer::start(&[]).await;
    let file = scorer.place.token_file();
    let (old, new) = (format!("Bearer {TOKEN}"), "Bearer another-token-of-the-tests");
    let reload = async |authorization: &str| with(&scorer, "/ml/v2/model/reload", authorization).await.0;
    std::fs::write(&file, format!("another-token-of-the-tests\n{TOKEN}\n")).unwrap();
    assert_eq!((reload(&old).await, reload(new).await), (StatusCode::OK, StatusCode::OK));
    std::fs::write(&file, "another-token-of-the-tests\n").unwrap();
    assert_eq!((reload(&old).await, reload(new).await), (StatusCode::UNAUTHORIZED, StatusCode::OK));
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let (status, reason) = with(&scorer, "/ml/v2/model/reload", new).await;
    assert_eq!((status, reason), (StatusCode::SERVICE_UNAVAILABLE, json!("token_file")), "others can read it");
}

/// Through the whole loop: permuted labels by somebody without an identity teach nothing.
#[tokio::test]
async fn feedback_of_a_stranger_makes_no_training_data() {
    let scorer = Scorer::start(&[]).await;
    for id in 1..=20 {
        let body = format!(r#"{{"txn_id":{id},"action":"accept","label":"pets","event_id":"made-up-{id}"}}"#);
        assert_eq!(scorer.post_as_stranger("/ml/suggestions/feedback", body).await.json()["labelled"], json!(false));
        let body = format!(r#"{{"txn_id":{id},"action":"accept","label":"pets"}}"#);
        assert_eq!(scorer.post_as_stranger("/ml/suggestions/feedback", body).await.json()["labelled"], json!(false));
    }
    let free =
        scorer.post_as_stranger("/ml/suggestions/feedback", r#"{"txn_id":3,"action":"accept","label":"my own"}"#);
    assert_eq!(free.await.status, StatusCode::BAD_REQUEST, "the labels are a closed set");
    let store = open_store(&scorer.place.store_url(), &Options::default()).await.unwrap();
    assert_eq!(store.count_labels().await.unwrap(), 0);
}
