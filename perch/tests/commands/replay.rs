//! `replay` against scripted arms.

use serde_json::{Value, json};

use crate::run::perch;
use crate::server::{RecordedRequest, Script, Server};

fn respond(request: &RecordedRequest, label: impl Fn(i64) -> &'static str) -> Script {
    let ids = serde_json::from_str::<Value>(&request.body).unwrap()["txn_ids"].clone();
    let items: Vec<Value> = ids
        .as_array()
        .unwrap()
        .iter()
        .map(|id| json!({"txn_id": id, "candidates": [{"label": label(id.as_i64().unwrap())}]}))
        .collect();
    (200, vec![("x-perch-scorer", "1".to_owned())], json!({"items": items}).to_string())
}

fn log(lines: &[&str]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), lines.join("\n")).unwrap();
    file
}

struct Arms {
    baseline: Server,
    candidate: Server,
}

impl Arms {
    /// The baseline labels every item coffee; the candidate labels every fifth one travel, and fails on 13.
    fn start() -> Self {
        let baseline = Server::start(|request| respond(request, |_| "coffee"));
        let candidate = Server::start(|request| {
            if request.body.contains("[13]") {
                return (503, vec![], "{}".into());
            }
            respond(request, |id| if id % 5 == 0 { "travel" } else { "coffee" })
        });
        Self { baseline, candidate }
    }

    fn replay(&self, file: &str, more: &[&str]) -> crate::run::Output {
        perch(&[&["replay", file, "--baseline", &self.baseline.url, "--scorer", &self.candidate.url], more].concat())
    }
}

#[test]
fn both_arms_are_called_and_compared_by_label() {
    let lines: Vec<String> = (0..50)
        .map(|id| json!({"body": {"txn_ids": [id + 100]}, "user": format!("u{}", id % 7)}).to_string())
        .collect();
    let file = log(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let arms = Arms::start();
    let ran = arms.replay(&file.path().display().to_string(), &["--json", "--concurrency", "4"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let json = ran.json();
    assert_eq!(json["items"], json!({"agree": 40, "disagree": 10, "only_rule": 0, "only_model": 0, "neither": 0}));
    let interval = &json["agreement"]["interval"];
    assert!(interval[0].as_f64().unwrap() < 0.8 && interval[1].as_f64().unwrap() > 0.8, "{json}");
    assert_eq!(json["labels"].as_array().unwrap().len(), 2);
    assert_eq!((arms.baseline.requests().len(), arms.candidate.requests().len()), (50, 50));
}

#[test]
fn failures_are_counted_and_the_rest_is_compared() {
    let file = log(&[r#"{"txn_ids":[1,5]}"#, "", r#"{"body":{"txn_ids":[13]}}"#, r#"{"txn_ids":[7]}"#]);
    let arms = Arms::start();
    let ran = arms.replay(&file.path().display().to_string(), &[]);
    assert_eq!(ran.code, 3, "{ran:?}");
    for expected in
        ["2 requests compared", "1 not compared: candidate: status 503", "3 compared: 2 agree, 1 disagree", "e.g. 5"]
    {
        assert!(ran.out.contains(expected), "{expected}\n{}", ran.out);
    }
    let two = arms.replay(&file.path().display().to_string(), &["--limit", "1", "--json"]);
    assert_eq!(two.json()["requests"]["compared"], 1);
}

#[test]
fn a_wrong_log_is_reported_with_its_line() {
    let arms = Arms::start();
    let bad = log(&[r#"{"txn_ids":[1]}"#, "not json"]);
    let ran = arms.replay(&bad.path().display().to_string(), &[]);
    assert!(ran.code == 1 && ran.err.contains("line 2"), "{ran:?}");
    let missing = arms.replay("/nowhere.jsonl", &[]);
    assert!(missing.code == 1 && missing.err.contains("/nowhere.jsonl"), "{missing:?}");
    let file = log(&[r#"{"txn_ids":[1]}"#]);
    let gone = perch(&[
        "replay",
        &file.path().display().to_string(),
        "--baseline",
        "http://127.0.0.1:1",
        "--scorer",
        &arms.candidate.url,
    ]);
    assert!(gone.code == 1 && gone.err.contains("baseline: no connection"), "{gone:?}");
}

#[test]
fn case_53_an_application_that_always_compresses_is_compared() {
    let baseline = Server::compressing(|request| respond(request, |_| "coffee"));
    let candidate = Server::start(|request| respond(request, |_| "coffee"));
    let file = log(&[r#"{"txn_ids":[1]}"#]);
    let ran = perch(&[
        "replay",
        &file.path().display().to_string(),
        "--json",
        "--baseline",
        &baseline.url,
        "--scorer",
        &candidate.url,
    ]);
    assert_eq!((ran.code, &ran.json()["items"]["agree"]), (0, &json!(1)), "{ran:?}");
}

#[test]
fn case_54_both_arms_are_sent_the_recorded_bytes() {
    let body = r#"{"txn_ids":[88],"n":123456789012345678901,"a":1,"a":2,"x":1.10}"#;
    let file = log(&[&format!(r#"{{"body":{body},"user":"u"}}"#)]);
    let arms = Arms::start();
    assert_eq!(arms.replay(&file.path().display().to_string(), &[]).code, 0);
    assert_eq!((arms.baseline.requests()[0].body.as_str(), arms.candidate.requests()[0].body.as_str()), (body, body));
}

#[test]
fn a_log_without_line_ends_is_refused_and_not_held() {
    let arms = Arms::start();
    let file = tempfile::NamedTempFile::new().unwrap();
    // A sparse file of 8 GiB: no machine that tests this reads it whole.
    file.as_file().set_len(8 << 30).unwrap();
    let ran = arms.replay(&file.path().display().to_string(), &[]);
    assert!(ran.code == 1 && ran.err.contains("line 1 of the log is over 4 MiB"), "{ran:?}");
}
