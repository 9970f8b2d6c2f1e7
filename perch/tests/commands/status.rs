//! `status`: a figure without data is "no data", never 0.

use contract::share::RUNTIME_KEY;
use serde_json::{Value, json};

use crate::run::{perch, perch_of};
use crate::server::{Server, of_scorer, plain};

const STATS: &str = "\
lm_suggest_source_total{source=\"rule\"} 90
lm_suggest_source_total{source=\"model\"} 10
lm_suggest_compare_total{agree=\"True\"} 60
lm_suggest_compare_total{agree=\"False\"} 20
lm_suggest_compare_total{agree=\"None\"} 20
lm_ml_predict_requests_total{available=\"True\"} 99
lm_ml_predict_requests_total{available=\"False\"} 1
lm_ml_fallback_total{reason=\"deadline\"} 3
perch_intercepted_total 105
perch_observation_total{outcome=\"observed\"} 100
";

const NOWHERE: [&str; 4] = ["--scorer", "http://127.0.0.1:1", "--prometheus", "http://127.0.0.1:1"];

#[test]
fn every_figure_is_in_the_text_and_in_json() {
    let gateway = Server::gateway(&[(RUNTIME_KEY, "10")], STATS);
    let scorer = Server::start(|request| match request.line.as_str() {
        "GET /ml/v2/model/status" => {
            of_scorer(200, &json!({"available": true, "meta": {"version": "v7", "val_f1_macro": 0.8123}}))
        }
        _ => of_scorer(503, &json!({"error": "the store does not respond"})),
    });
    let alerts = json!({"data": {"alerts": [
        {"state": "firing", "labels": {"alertname": "SuggestAgreementDrop", "severity": "warning"},
         "annotations": {"summary": "below 75%"}},
        {"state": "pending", "labels": {"alertname": "Pending"}},
    ]}});
    let prometheus = Server::start(move |_| plain(&alerts.to_string()));
    let at = ["--gateway", &gateway.url, "--scorer", &scorer.url, "--prometheus", &prometheus.url];
    let ran = perch(&[&["status"], &at[..]].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    for expected in [
        "share configured    10%",
        "candidate responses 10.00% of responses since the gateways started",
        "agreement           75.00% of 80 items since the gateways started: agree 60, disagree 20, not compared 20",
        "  last hour         no data",
        "candidate available 99.00% of the calls to the candidate got a response, since the gateways started",
        "fallbacks           deadline 3",
        "without an outcome 5 (in progress, or lost)",
        "model               v7, macro F1 0.8123",
        "SuggestAgreementDrop (warning): below 75%",
        "guard               no data",
    ] {
        assert!(ran.out.contains(expected), "{expected}\n{}", ran.out);
    }
    assert!(!ran.out.contains("Pending"));
    let json = perch(&[&["status", "--json"], &at[..]].concat()).json();
    assert_eq!(
        (&json["candidate_responses"], &json["without_outcome"], &json["agreement_last_hour"]),
        (&json!(0.1), &json!(5.0), &Value::Null)
    );
    assert_eq!(json["alerts"].as_array().unwrap().len(), 1);
}

#[test]
fn a_missing_figure_is_no_data() {
    let gateway = Server::gateway(&[], "");
    let ran = perch(&[&["status", "--gateway", &gateway.url], &NOWHERE[..]].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.out.matches("no data").count(), 7, "{}", ran.out);
    let json = perch(&[&["status", "--json", "--gateway", &gateway.url], &NOWHERE[..]].concat()).json();
    for part in ["candidate_responses", "agreement", "agreement_last_hour", "availability", "model", "alerts", "guard"]
    {
        assert_eq!(json[part], Value::Null, "{part}");
    }
}

#[test]
fn requests_without_an_outcome_are_never_negative() {
    let gateway = Server::gateway(&[], &STATS.replace("perch_intercepted_total 105", "perch_intercepted_total 98"));
    let ran = perch(&[&["status", "--gateway", &gateway.url], &NOWHERE[..]].concat());
    assert!(ran.code == 0 && !ran.out.contains("without an outcome"), "{ran:?}");
    let json = perch(&[&["status", "--json", "--gateway", &gateway.url], &NOWHERE[..]].concat()).json();
    assert_eq!(json["without_outcome"], 0.0);
}

#[test]
fn a_gateway_that_is_gone_is_named() {
    let ran = perch(&[&["status", "--gateway", "http://127.0.0.1:1"], &NOWHERE[..]].concat());
    assert!(ran.code == 1 && ran.err.contains("http://127.0.0.1:1") && ran.err.contains("make up"), "{ran:?}");
}

#[test]
fn the_guard_of_the_programs_checkout_is_known_from_everywhere() {
    let checkout = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(checkout.path().join(".perch/guard")).unwrap();
    let ran = perch_of(checkout.path(), &[], &["ramp", "status"]);
    assert!(ran.code == 0 && ran.out.contains("no guard has ever run on this folder"), "{ran:?}");
    let gateway = Server::gateway(&[], "");
    let port = gateway.url.rsplit_once(':').unwrap().1;
    let status = perch_of(checkout.path(), &[("PERCH_ADMIN_PORT", port)], &[&["status"], &NOWHERE[..]].concat());
    assert!(status.out.contains("guard               no guard has ever run on this folder"), "{status:?}");
    // A gateway that was named may be another deployment's.
    let status = perch_of(checkout.path(), &[], &[&["status", "--gateway", &gateway.url], &NOWHERE[..]].concat());
    assert!(status.out.contains("guard               no data"), "{status:?}");
}

#[test]
fn case_2_a_share_is_what_envoy_reads() {
    for (text, share, shown) in [
        ("12.5", 0.12, "12% (as Envoy reads suggest.use_model_canary, which is \"12.5\")"),
        ("1e1", 0.1, "10%"),
        ("010", 0.08, "8%"),
        ("{numerator: 50, denominator: TEN_THOUSAND}", 0.005, "0.5%"),
        ("10%", 0.0, "0% (suggest.use_model_canary is \"10%\", which is not a share to Envoy"),
    ] {
        let gateway = Server::gateway(&[(RUNTIME_KEY, text)], "");
        let get = |more: &[&str]| perch(&[&["canary", "get", "--gateway", &gateway.url], more].concat());
        assert_eq!(get(&["--json"]).json()["gateways"][0]["share"], share, "{text}");
        assert!(get(&[]).out.contains(shown), "{text}: {}", get(&[]).out);
    }
}

#[test]
fn case_14_an_inhibited_alert_is_not_shown() {
    let shown = |quiet: bool| {
        let alert = |name: &str, severity: &str| json!({"state": "firing", "labels": {"alertname": name, "severity": severity}, "annotations": {"summary": name}});
        let mut alerts = vec![alert("SuggestAgreementDrop", "warning"), alert("GuardSilent", "critical")];
        if quiet {
            alerts.push(alert("NothingToCompare", "info"));
        }
        let alerts = json!({"data": {"alerts": alerts}});
        let (gateway, prometheus) = (Server::gateway(&[], ""), Server::start(move |_| plain(&alerts.to_string())));
        let at = ["--gateway", &gateway.url, "--scorer", "http://127.0.0.1:1", "--prometheus", &prometheus.url];
        let json = perch(&[&["status", "--json"], &at[..]].concat()).json();
        json["alerts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|alert| alert["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(shown(true), ["GuardSilent"]);
    assert_eq!(shown(false), ["SuggestAgreementDrop", "GuardSilent"]);
}
