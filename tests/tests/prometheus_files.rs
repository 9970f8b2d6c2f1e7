//! The files in `prometheus/` and `grafana/`, without a running stack: accepted by Prometheus' and Alertmanager's own
//! tools, reading only declared series, and complete (a runbook section, a firing and a silent case for each
//! alert). `prometheus_live.rs` asks a real Prometheus.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test's own helpers are tests too")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use contract::series::{self, Kind as SeriesKind, Series};
use contract::{alerts, names};
use e2e::monitoring::queries::{self, Kind};
use e2e::monitoring::{selectors, server, shorten};
use promql_parser::label::Matcher;
use serde_json::Value;
use stack::ports::Ports;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn run(program: &str, args: &[&str]) {
    let out = Command::new(program).args(args).current_dir(root()).output();
    let out =
        out.unwrap_or_else(|error| panic!("{program}: {error} (Debian package prometheus-alertmanager/prometheus)"));
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{program} {args:?}:\n{said}");
}

fn rule_tests() -> Vec<PathBuf> {
    queries::files(&root().join("prometheus/tests"), "yml").unwrap()
}

#[test]
fn promtool_accepts_the_rules_and_their_cases_pass() {
    let rules = queries::files(&root().join("prometheus/rules"), "yml").unwrap();
    let rules: Vec<_> = rules.iter().map(|path| path.to_str().unwrap()).collect();
    run("promtool", &[&["check", "rules"], rules.as_slice()].concat());
    let tests = rule_tests();
    let tests: Vec<_> = tests.iter().map(|path| path.to_str().unwrap()).collect();
    run("promtool", &[&["test", "rules"], tests.as_slice()].concat());
}

#[test]
fn promtool_and_amtool_accept_the_rendered_configurations() {
    let dir = tempfile::tempdir().unwrap();
    let ports = Ports::contract().unwrap();
    let rules = root().join("prometheus/rules").canonicalize().unwrap();
    let rendered = |template: &str| {
        let file = dir.path().join(template.trim_end_matches(".j2"));
        fs::write(&file, server::rendered(&root(), template, |part| ports.address(part), &rules, "5s").unwrap())
            .unwrap();
        file.to_str().unwrap().to_owned()
    };
    run("promtool", &["check", "config", &rendered("prometheus.yml.j2")]);
    let alertmanager = rendered("alertmanager.yml.j2");
    run("amtool", &["check-config", &alertmanager]);
    let route = ["config", "routes", "test", "--config.file", &alertmanager, "--verify.receivers=perch"];
    run("amtool", &[&route, ["alertname=FilterReloaded", "perch_action=rollback"].as_slice()].concat());
}

#[test]
fn perch_leaves_out_what_alertmanager_inhibits() {
    let text = fs::read_to_string(root().join("prometheus/alertmanager.yml.j2")).unwrap();
    let inhibited: Vec<String> = alerts::INHIBITED
        .iter()
        .map(|(by, targets)| {
            let operator = if targets.len() > 1 { "=~" } else { "=" };
            format!(
                "  - source_matchers: [alertname=\"{by}\"]\n    target_matchers: [alertname{operator}\"{}\"]\n",
                targets.join("|")
            )
        })
        .collect();
    assert_eq!(text.matches("source_matchers").count(), inhibited.len());
    for rule in inhibited {
        assert!(text.contains(&rule), "{rule}");
    }
    assert!(text.contains(&format!("- matchers: [severity=\"{}\"]\n      receiver: nobody", alerts::SEVERITY_INFO)));
    assert!(!alerts::is_news("SuggestAgreementDrop", "warning", ["NothingToCompare"]));
    assert!(alerts::is_news("SuggestAgreementDrop", "warning", ["AgreementNoData"]));
}

/// Case 15: Grafana ends when two data sources of an organisation are the default one, so ours is none, and the
/// dashboard names it everywhere.
#[test]
fn the_dashboard_needs_no_default_data_source() {
    let file = root().join("grafana/provisioning/datasources/prometheus.yml");
    let sources: Value = serde_yaml_ng::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let [source] = sources["datasources"].as_array().unwrap().as_slice() else { panic!("{sources}") };
    assert_eq!(source["isDefault"], false);
    fn named(at: &Value, uid: &Value, path: &str) {
        match at {
            Value::Object(fields) => {
                for key in ["expr", "datasource"].iter().filter(|key| fields.contains_key(**key)) {
                    assert_eq!(&fields["datasource"]["uid"], uid, "{path}.{key}");
                }
                fields.iter().for_each(|(key, value)| named(value, uid, &format!("{path}.{key}")));
            }
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(n, item)| named(item, uid, &format!("{path}[{n}]")));
            }
            _ => {}
        }
    }
    for file in queries::files(&root().join("grafana/dashboards"), "json").unwrap() {
        let dashboard: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        named(&dashboard["panels"], &source["uid"], "panels");
        named(&dashboard["annotations"], &source["uid"], "annotations");
    }
}

#[test]
fn shortened_rules_are_still_rules() {
    let dir = tempfile::tempdir().unwrap();
    for file in queries::files(&root().join("prometheus/rules"), "yml").unwrap() {
        let short = dir.path().join(file.file_name().unwrap());
        fs::write(&short, shorten::rules(&fs::read_to_string(&file).unwrap()).unwrap()).unwrap();
        run("promtool", &["check", "rules", short.to_str().unwrap()]);
    }
}

/// What Envoy itself exports; `prometheus_live.rs` finds each in a real one.
const ENVOY: &[Series] = &[
    envoy("envoy_http_downstream_rq_xx", &["envoy_http_conn_manager_prefix", "envoy_response_code_class"]),
    envoy("envoy_wasm_perch_vm_reload_success", &[]),
    envoy("envoy_wasm_perch_vm_reload_failure", &[]),
];

/// What Prometheus makes itself.
const PROMETHEUS: &[Series] = &[
    Series { name: "up", kind: SeriesKind::Gauge, labels: &["job"], help: "" },
    Series { name: "ALERTS", kind: SeriesKind::Gauge, labels: &["alertname", "alertstate"], help: "" },
];

const fn envoy(name: &'static str, labels: &'static [&'static str]) -> Series {
    Series { name, kind: SeriesKind::Counter, labels, help: "" }
}

/// Every declared name, with its suffixes for a histogram, and its labels.
fn declared() -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut declared = BTreeMap::new();
    for series in [series::GATEWAY, series::SCORER, series::GUARD, ENVOY, PROMETHEUS].concat() {
        let labels: BTreeSet<_> = series.labels.iter().copied().chain(["job", "instance"]).collect();
        if series.kind == SeriesKind::Histogram {
            for suffix in ["_sum", "_count", "_bucket"] {
                declared.insert(format!("{}{suffix}", series.name), &labels | &BTreeSet::from(["le"]));
            }
        } else {
            declared.insert(series.name.to_owned(), labels);
        }
    }
    declared
}

/// The values that a label can have, where they are a closed set.
fn values(metric: &str, label: &str) -> Option<Vec<&'static str>> {
    fn all<T: Copy>(values: &[T], text: impl Fn(T) -> &'static str) -> Vec<&'static str> {
        values.iter().map(|value| text(*value)).collect()
    }
    Some(match (metric, label) {
        (_, "agree") => all(names::Agree::ALL, names::Agree::as_str),
        (_, "available" | "accepted") => vec!["True", "False"],
        (_, "outcome") => all(names::Outcome::ALL, names::Outcome::as_str),
        (series::SOURCE, "source") => all(names::Source::ALL, names::Source::as_str),
        (series::IDENTITY, "source") => all(names::IdentitySource::ALL, names::IdentitySource::as_str),
        (series::FALLBACK, "reason") => all(names::FallbackReason::ALL, names::FallbackReason::as_str),
        (series::NOT_COMPARED, "reason") => all(names::NotCompared::ALL, names::NotCompared::as_str),
        (series::BATCH, "result") => all(names::BatchOutcome::ALL, names::BatchOutcome::as_str),
        (_, "decision") => vec!["advance", "hold", "freeze", "rollback"],
        (_, "bound") => vec!["lower", "upper"],
        (_, "envoy_http_conn_manager_prefix") => vec!["gateway"],
        (_, "envoy_response_code_class") => vec!["1", "2", "3", "4", "5"],
        ("up", "job") => vec!["gateway", "scorer", "guard", "alertmanager"],
        ("ALERTS", "alertstate") => vec!["pending", "firing"],
        _ => return None,
    })
}

#[test]
fn every_query_reads_only_declared_series_labels_and_values() {
    let queries = queries::all(&root()).unwrap();
    let mut declared = declared();
    for query in &queries {
        if let Kind::Record(name) = &query.kind {
            declared.insert(name.clone(), BTreeSet::new());
        }
    }
    let mut faults = Vec::new();
    for query in &queries {
        for selector in selectors::of(&query.resolved("1m")).unwrap() {
            let Some(labels) = declared.get(&selector.metric) else {
                faults.push(format!("{}: {:?} is not declared", query.place, selector.metric));
                continue;
            };
            for Matcher { name, .. } in selector.matchers.iter().filter(|m| !labels.contains(m.name.as_str())) {
                faults.push(format!("{}: {} has no label {name:?}", query.place, selector.metric));
            }
            for matcher in &selector.matchers {
                let Some(values) = values(&selector.metric, &matcher.name) else { continue };
                for value in selectors::impossible(matcher, &values) {
                    faults.push(format!("{}: {}{{{matcher}}} is never {value:?}", query.place, selector.metric));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn alerts_and_panels_older_than_perch_are_word_for_word() {
    let alert = r#"- alert: SuggestAgreementDrop
  expr: (sum(rate(lm_suggest_compare_total{agree="True"}[1h])) / clamp_min(sum(rate(lm_suggest_compare_total[1h])), 1e-9)) < 0.75
  for: 30m
  labels:
    severity: warning
  annotations:
    summary: "Rule ↔ model agreement below 75%"
"#;
    let indented: String = alert.lines().map(|line| format!("      {line}\n")).collect();
    let rules = fs::read_to_string(root().join("prometheus/rules/ml_alerts.yml")).unwrap();
    assert!(rules.contains(&format!("{indented}\n")), "changed, or something was added to it");

    let panels: BTreeMap<_, _> = queries::all(&root())
        .unwrap()
        .into_iter()
        .filter(|query| query.kind == Kind::Panel)
        .map(|query| (query.place, query.expr))
        .collect();
    for (title, expr) in [
        (
            "Agreement Rate",
            r#"sum(rate(lm_suggest_compare_total{agree="True"}[30m])) / clamp_min(sum(rate(lm_suggest_compare_total[30m])), 1e-9)"#,
        ),
        ("Suggestions by Source", "sum by (source) (rate(lm_suggest_source_total[5m]))"),
        (
            "Model Availability",
            r#"sum(rate(lm_ml_predict_requests_total{available="True"}[5m])) / clamp_min(sum(rate(lm_ml_predict_requests_total[5m])), 1e-9)"#,
        ),
    ] {
        assert_eq!(panels.get(&format!("ml-suggestions.json {title:?}")).map(String::as_str), Some(expr));
    }
}

fn alerts_in_the_rules() -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for file in queries::files(&root().join("prometheus/rules"), "yml").unwrap() {
        let rules: Value = serde_yaml_ng::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        for rule in rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()) {
            if let Some(name) = rule["alert"].as_str() {
                assert!(found.insert(name.to_owned(), rule.clone()).is_none(), "{name} stands there twice");
            }
        }
    }
    found
}

#[test]
fn each_alert_has_its_section_in_the_runbook_and_points_to_it() {
    let runbook = fs::read_to_string(root().join("prometheus/RUNBOOK.md")).unwrap();
    let sections: BTreeSet<_> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let alerts = alerts_in_the_rules();
    assert_eq!(sections, alerts.keys().map(String::as_str).collect());
    for (name, rule) in &alerts {
        // The alert that is older than Perch keeps its only annotation.
        if name != "SuggestAgreementDrop" {
            let anchor = format!("prometheus/RUNBOOK.md#{}", name.to_lowercase());
            assert_eq!(rule["annotations"]["runbook"], Value::from(anchor), "{name}");
            assert!(rule["annotations"]["description"].is_string(), "{name} says only its summary");
        }
        // What only keeps others silent is no news.
        let severities: &[_] =
            if name == "NothingToCompare" { &[alerts::SEVERITY_INFO] } else { &["warning", "critical"] };
        assert!(severities.contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
        let action = &rule["labels"][alerts::ACTION_LABEL];
        assert!(action.is_null() || action == alerts::ACTION_ROLLBACK, "{name}: perch does not know {action}");
    }
}

#[test]
fn each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_silent() {
    let (mut firing, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for file in rule_tests() {
        let cases: Value = serde_yaml_ng::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        for case in cases["tests"].as_array().unwrap() {
            for check in case["alert_rule_test"].as_array().into_iter().flatten() {
                let name = check["alertname"].as_str().unwrap().to_owned();
                let fires = !check["exp_alerts"].as_array().unwrap().is_empty();
                if fires {
                    firing.insert(name)
                } else {
                    silent.insert(name)
                };
            }
        }
    }
    let all: BTreeSet<_> = alerts_in_the_rules().into_keys().collect();
    assert_eq!(firing, all);
    assert_eq!(silent, all);
}

#[test]
fn every_panel_says_what_it_means_and_shows_no_data_as_such() {
    for file in queries::files(&root().join("grafana/dashboards"), "json").unwrap() {
        let dashboard: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        for panel in dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row") {
            let title = &panel["title"];
            assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{title}");
            assert_eq!(panel["fieldConfig"]["defaults"]["noValue"], "no data", "{title}");
        }
    }
}
