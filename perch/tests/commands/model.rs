//! `model` and `disagreements` against a scripted scorer.

use serde_json::{Value, json};

use crate::run::perch;
use crate::server::{Server, of_scorer};

fn status(champion: &str) -> Value {
    let meta =
        |version: &str| json!({"version": version, "val_f1_macro": 0.8123, "class_count": 21, "created": "today"});
    json!({
        "available": true, "meta": meta(champion), "challenger": null, "previous": "v1",
        "versions": ["v1", "v2", "v3"], "refused": [],
    })
}

#[test]
fn versions_are_listed_with_their_roles() {
    let scorer = Server::start(|_| of_scorer(200, &status("v2")));
    let ran = perch(&["model", "list", "--scorer", &scorer.url]);
    assert_eq!(ran.out, "v1  previous\nv2  champion\nv3  \n");
    let shown = perch(&["model", "status", "--scorer", &scorer.url]);
    assert!(shown.code == 0 && shown.out.contains("v2  F1 0.8123, 21 classes"), "{shown:?}");
}

#[test]
fn a_deployment_prints_the_serving_version_before_and_after() {
    let scorer = Server::start(|request| match request.line.as_str() {
        "GET /ml/v2/model/status" => of_scorer(200, &status("v2")),
        _ => of_scorer(200, &status("v3")),
    });
    let ran = perch(&["model", "deploy", "v3", "--force", "--scorer", &scorer.url]);
    assert!(ran.code == 0 && ran.out.starts_with("serving: v3 (before: v2)\n"), "{ran:?}");
    let request = scorer.requests().pop().unwrap();
    assert_eq!(request.line, "POST /ml/v2/model/deploy");
    assert_eq!(serde_json::from_str::<Value>(&request.body).unwrap(), json!({"version": "v3", "force": true}));
    perch(&["model", "rollback", "--scorer", &scorer.url]);
    assert_eq!(scorer.requests().pop().unwrap().line, "POST /ml/v2/model/rollback");
}

/// Case N1: requests that change something carry the operator's token, and no other does.
#[test]
fn the_operators_token_is_read_from_its_file_and_sent_with_changes_only() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "0123456789abcdef\n").unwrap();
    let scorer = Server::start(|_| of_scorer(200, &status("v2")));
    let rollback = ["model", "rollback", "--scorer", &scorer.url, "--token-file", file.to_str().unwrap()];
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let open = perch(&rollback);
    assert!(open.code == 1 && open.err.contains("chmod 600"), "{open:?}");
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(perch(&rollback).code, 0);
    for request in scorer.requests() {
        let shown = if request.line.starts_with("POST") { "Bearer 0123456789abcdef" } else { "" };
        assert_eq!(request.authorization, shown, "{}", request.line);
    }
}

#[test]
fn a_rejection_by_the_scorer_is_printed() {
    let scorer = Server::start(|request| match request.line.as_str() {
        "GET /ml/v2/model/status" => of_scorer(200, &status("v2")),
        _ => of_scorer(409, &json!({"error": "version v3 is not deployed: its F1 is 0.5", "reason": "policy"})),
    });
    let ran = perch(&["model", "deploy", "v3", "--scorer", &scorer.url]);
    assert!(ran.code == 1 && ran.err.contains("its F1 is 0.5"), "{ran:?}");
}

#[test]
fn no_model_is_not_a_success() {
    let scorer = Server::start(|_| of_scorer(200, &json!({"available": false, "meta": null, "refused": []})));
    let ran = perch(&["model", "status", "--scorer", &scorer.url]);
    assert!(ran.code == 3 && ran.out.contains("champion       none"), "{ran:?}");
}

#[test]
fn disagreements_are_grouped_by_pair_and_filtered() {
    let sample = |item: &str, rule: &str| {
        json!({
            "at_ms": 1, "user": "00000000000000ab", "item": item, "served": "baseline", "rule_label": rule,
            "model_label": "coffee", "model_confidence": 0.75, "model_version": "v2",
        })
    };
    let samples = json!({
        "model_version": "v2", "seen": 900, "samples": [sample("1", "travel"), sample("2", "pets"), sample("3", "travel")],
    });
    let scorer = Server::start(move |_| of_scorer(200, &samples));
    let all = perch(&["disagreements", "--scorer", &scorer.url]);
    assert!(all.out.contains("900 disagreements with v2, 3 kept as samples\n"), "{all:?}");
    assert!(
        all.out.find("baseline travel").unwrap() < all.out.find("baseline pets").unwrap(),
        "most frequent first: {all:?}"
    );
    let pair = ["disagreements", "--baseline", "travel", "--candidate", "coffee"];
    let pair = perch(&[&pair[..], &["--scorer", &scorer.url]].concat());
    assert!(pair.out.contains("900 disagreements with v2, 3 kept as samples, 2 of them for this pair\n"), "{pair:?}");
    let one = perch(&["disagreements", "--baseline", "pets", "--json", "--scorer", &scorer.url]);
    assert_eq!(one.json()["samples"].as_array().unwrap().len(), 1);
}
