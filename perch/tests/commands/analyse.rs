use contract::analysis::{Analysis, PATH, Pair, VERSION};
use contract::evidence::{Clusters, Evidence, Feedback, Users};
use contract::names::Arm;
use contract::share::RUNTIME_KEY;

use crate::run::perch;
use crate::server::{Server, of_scorer};

fn clusters(users: u64, given: u64, accepted: u64) -> Clusters {
    let mut clusters = Clusters::default();
    (0..users).for_each(|_| clusters.add(given, accepted));
    clusters
}

fn analysis(users: Users) -> Analysis {
    let pair = |rule: &str, model: &str, items| Pair {
        rule: Some(rule.into()),
        model: Some(model.into()),
        served: Arm::Baseline,
        items,
    };
    Analysis {
        version: VERSION,
        since_ms: 0,
        until_ms: 1_700_000_000_000,
        left_out: vec![],
        pairs: vec![pair("coffee", "coffee", 80), pair("travel", "fuel", 20)],
        agreement: clusters(20, 5, 4),
        users: Some(users),
        feedback: Feedback { rule: clusters(50, 2, 1), model: clusters(50, 2, 2) },
        disputed: Feedback::default(),
        taken: vec![],
        samples: vec![],
        disputes_dropped: 0,
    }
}

fn scorer(analysis: Analysis) -> Server {
    let body = serde_json::to_value(&analysis).unwrap();
    Server::start(move |request| {
        assert!(request.line.starts_with(&format!("GET {PATH}")), "{}", request.line);
        of_scorer(200, &body)
    })
}

#[test]
fn the_report_is_printed_written_and_parsed() {
    let scorer = scorer(analysis(Users { rule: 900, model: 100, sampled_one_in: 1 }));
    let gateway = Server::gateway(&[(RUNTIME_KEY, "10")], "");
    let page = tempfile::NamedTempFile::new().unwrap();
    let file = page.path().display().to_string();
    let at = ["--scorer", &scorer.url, "--gateway", &gateway.url];

    let text = perch(&[&["analyse"], &at[..]].concat());
    assert_eq!(text.code, 0, "{text:?}");
    assert!(
        text.out.contains("100 compared: 80 agree, 20 disagree") && text.out.contains("+50.0 points"),
        "{}",
        text.out
    );
    assert!(!text.out.contains('\u{1b}'), "no colour in a pipe");

    let json =
        perch(&[&["analyse", "--json", "--html", &file, "--since", "2h", "--leave-out", "beta"], &at[..]].concat());
    assert_eq!(json.json()["ratio"]["mismatch"], false);
    assert_eq!(json.json()["disputed"]["rule"], serde_json::Value::Null, "no data is null");
    assert!(std::fs::read_to_string(page.path()).unwrap().contains("<svg"));
    let request = scorer.requests().last().unwrap().line.clone();
    assert!(request.contains("since_ms=") && request.contains("leave_out=beta"), "{request}");

    let csv = perch(&[&["analyse", "--csv", "pairs"], &at[..]].concat());
    assert_eq!(csv.out, "baseline,candidate,served,items\r\ncoffee,coffee,baseline,80\r\ntravel,fuel,baseline,20\r\n");
}

#[test]
fn leaving_out_none_leaves_out_the_users_in_no_cohort_as_the_help_warns() {
    let help = perch(&["analyse", "--help"]).out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("`none` is the users who are in no cohort, i.e. almost all"), "{help}");
    let scorer = scorer(analysis(Users { rule: 900, model: 100, sampled_one_in: 1 }));
    let ran = perch(&["analyse", "--scorer", &scorer.url, "--share", "10%", "--leave-out", "none,beta"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let request = scorer.requests().last().unwrap().line.clone();
    assert!(request.contains("leave_out=none%2Cbeta"), "{request}");
}

#[test]
fn a_sample_ratio_mismatch_has_an_exit_code_of_its_own() {
    let scorer = scorer(analysis(Users { rule: 700, model: 300, sampled_one_in: 1 }));
    let ran = perch(&["analyse", "--scorer", &scorer.url, "--share", "10%"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.out.contains("MISMATCH"), "{}", ran.out);
}

#[test]
fn after_a_change_of_the_share_the_ratio_counts_from_there() {
    // Half of the users were in the candidate arm before the share went down to 10%. Case A19: their observations may
    // arrive for 20 seconds more.
    let all = serde_json::to_value(analysis(Users { rule: 1_000, model: 1_000, sampled_one_in: 1 })).unwrap();
    let evidence = Evidence {
        version: 1,
        since_ms: 7_000,
        users: Users { rule: 900, model: 100, sampled_one_in: 1 },
        feedback: None,
    };
    let evidence = serde_json::to_value(&evidence).unwrap();
    let scorer = Server::start(move |request| match request.line.as_str() {
        "GET /perch/v1/evidence?since_ms=27000" => of_scorer(200, &evidence),
        _ => of_scorer(200, &all),
    });
    let gateway = Server::gateway(&[(RUNTIME_KEY, "10")], "");
    let folder = tempfile::tempdir().unwrap();
    let entry =
        r#"{"number":1,"at_ms":7000,"actor":{"operator":"ada"},"event":"share_set","from":"50","to":"10","reason":""}"#;
    std::fs::write(folder.path().join("audit_log.jsonl"), format!("{entry}\n")).unwrap();
    let at = ["analyse", "--json", "--scorer", &scorer.url, "--gateway", &gateway.url];
    let with_audit_log = perch(&[&at[..], &["--folder", &folder.path().display().to_string()]].concat());
    assert_eq!(
        (with_audit_log.code, &with_audit_log.json()["ratio"]["mismatch"]),
        (0, &false.into()),
        "{with_audit_log:?}"
    );
    assert_eq!(perch(&at).code, 3, "the time of the change of the share is not known");
}

#[test]
fn case_a19_just_after_a_change_of_the_share_the_ratio_is_no_data() {
    let scorer = scorer(analysis(Users { rule: 1_000, model: 1_000, sampled_one_in: 1 }));
    let gateway = Server::gateway(&[(RUNTIME_KEY, "1")], "");
    let folder = tempfile::tempdir().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let entry = format!(
        r#"{{"number":1,"at_ms":{now},"actor":{{"operator":"ada"}},"event":"share_set","from":"100","to":"1","reason":""}}"#
    );
    std::fs::write(folder.path().join("audit_log.jsonl"), format!("{entry}\n")).unwrap();
    let folder = folder.path().display().to_string();
    let at = ["--scorer", &scorer.url, "--gateway", &gateway.url, "--folder", &folder];
    let ran = perch(&[&["analyse", "--json"], &at[..]].concat());
    assert_eq!((ran.code, &ran.json()["ratio"]), (0, &serde_json::Value::Null), "{ran:?}");
    assert!(perch(&[&["analyse"], &at[..]].concat()).out.contains("sample ratio   no data"));
}

#[test]
fn an_unreachable_scorer_is_named_with_the_fix() {
    let gone = perch(&["analyse", "--scorer", "http://127.0.0.1:1"]);
    assert_eq!(gone.code, 1);
    assert!(gone.err.contains("http://127.0.0.1:1") && gone.err.contains("make up"), "{}", gone.err);

    let stranger = Server::start(|_| (200, vec![], "{}".into()));
    let ran = perch(&["analyse", "--scorer", &stranger.url]);
    assert!(ran.code == 1 && ran.err.contains("is not a Perch scorer"), "{ran:?}");

    let old = Server::start(|_| of_scorer(404, &serde_json::json!({"error": "nothing is served at this path"})));
    let ran = perch(&["analyse", "--scorer", &old.url]);
    assert!(ran.code == 1 && ran.err.contains("the same release"), "{ran:?}");

    let wrong = perch(&["analyse", "--since", "yesterday"]);
    assert!(wrong.code == 2 && wrong.err.contains("yesterday"), "{wrong:?}");
}
