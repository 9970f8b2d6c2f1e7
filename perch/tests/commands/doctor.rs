//! `doctor` against a deployment with faults, and one that is gone.

use contract::share::RUNTIME_KEY;
use serde_json::{Value, json};

use crate::run::perch;
use crate::server::{Script, Server, of_scorer, plain};

fn levels(ran: &crate::run::Output, check: &str) -> Vec<String> {
    let findings = ran.json();
    let of_check = findings.as_array().unwrap().iter().filter(|finding| finding["check"] == check);
    of_check.map(|finding| finding["level"].as_str().unwrap().to_owned()).collect()
}

fn scorer(version: &'static str) -> Server {
    let ready = json!({"ready": true, "model": "v1", "version": version, "frame": contract::frame::VERSION});
    Server::start(move |_| of_scorer(200, &ready))
}

#[test]
fn faults_are_found_with_their_fix_and_exit_with_3() {
    let dump = json!({"configs": [
        {"bootstrap": {"admin": {"address": {"socket_address": {"address": "0.0.0.0"}}}}},
        {"http_filters": [{"configuration": {"value": r#"{"salt":"0123456789abcdef"}"#}}]},
    ]});
    let gateway = Server::gateway_configured(&[(RUNTIME_KEY, "10")], "", &dump);
    let other = Server::gateway_configured(&[(RUNTIME_KEY, "20")], "", &dump);
    let scorer = scorer("9.9.9");
    let at = ["--gateway", &gateway.url, "--gateway", &other.url, "--scorer", &scorer.url];
    let ran = perch(&[&["doctor", "--json"], &at[..]].concat());
    assert_eq!(ran.code, 3, "{ran:?}");
    for check in ["headers", "admin configured address", "layers", "stats_tags"] {
        assert_eq!(levels(&ran, check), ["error", "error"], "{check}");
    }
    assert_eq!(levels(&ran, "same share"), ["error"]);
    assert_eq!(levels(&ran, "version"), ["error"]);
    assert_eq!(levels(&ran, "scorer seen"), ["ok"; 4]);
    assert_eq!(levels(&ran, "clock"), ["ok"; 3], "responses carry a date, and both clocks are this machine's");
    let text = perch(&[&["doctor"], &at[..]].concat());
    assert!(text.out.contains("error   headers") && text.out.contains("→ add early_header_mutation"), "{}", text.out);
}

#[test]
fn each_cluster_of_the_scorer_has_its_own_consequence() {
    let found = |clusters: Script| {
        let gateway = Server::start(move |request| match request.line.as_str() {
            "GET /clusters" => clusters.clone(),
            "GET /config_dump" | "GET /runtime" => plain("{}"),
            _ => plain(""),
        });
        let scorer = scorer("9.9.9");
        let ran = perch(&["doctor", "--json", "--gateway", &gateway.url, "--scorer", &scorer.url]);
        let findings = ran.json().as_array().unwrap().clone();
        let of_clusters = findings.into_iter().filter(|finding| finding["check"] == "scorer seen");
        of_clusters.map(|of| format!("{} {}", of["level"].as_str().unwrap(), of["found"])).collect::<Vec<_>>()
    };
    let none = found(plain("perch_scorer_live::1.2.3.4:1::health_flags::/failed_active_hc\n"));
    let [live, observe] = none.as_slice() else { panic!("{none:?}") };
    assert!(live.starts_with("error") && live.contains("canary users get the baseline"), "{live}");
    assert!(observe.starts_with("error") && observe.contains("are not compared"), "{observe}");
    let unread = found((503, vec![], "overloaded".to_owned()));
    assert!(unread.len() == 2 && unread.iter().all(|one| one.starts_with("unknown \"no data on")), "{unread:?}");
}

#[test]
fn an_unreachable_program_is_a_finding() {
    let ran = perch(&["doctor", "--json", "--gateway", "http://127.0.0.1:1", "--scorer", "http://127.0.0.1:1"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert_eq!((levels(&ran, "gateway"), levels(&ran, "scorer")), (vec!["error".to_owned()], vec!["error".to_owned()]));
    assert!(ran.json().as_array().unwrap().iter().all(|finding: &Value| finding["fix"] != ""));
}
