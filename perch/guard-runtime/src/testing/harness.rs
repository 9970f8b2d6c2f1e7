//! The control loop against fakes of Envoy's admin interface, a scorer and Prometheus.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Query, State as Extracted};
use axum::routing::{get, post};
use contract::evidence::{self, Clusters, Evidence, Feedback, Users};
use contract::switch::{BETA_KEY, RUNTIME_KEY};
use tempfile::TempDir;

use super::super::decision::{Check, CheckOutcome};
use super::super::plan::raw::RawPlan;
use super::super::sink::Gateways;
use super::super::source::system::{Addresses, System};
use super::*;
use crate::canary::disk;

const PLAN: &str = "
steps: [10%, 50%]
minimum_time: 60s
minimum_requests: 500
settle_time: 5s
baseline: {minimum_time: 60s, minimum_requests: 2000}
";
const EVALUATION_MS: u64 = 5_000;

/// State of the fake servers, and the shares that were set on them.
#[derive(Default)]
pub(super) struct FakeCluster {
    pub(super) runtime: String,
    counters: BTreeMap<String, f64>,
    users: UserCounts,
    pub(super) down: bool,
    /// The counters cannot be read.
    pub(super) hidden: bool,
    /// Metrics of other programs, before our own.
    pub(super) foreign: Vec<u8>,
    /// What Prometheus warns of.
    pub(super) warnings: Vec<String>,
    pub(super) shares_set: Vec<String>,
}

#[derive(Default, Clone, Copy)]
pub(super) struct UserCounts(u64, u64);

pub(super) type SharedCluster = Arc<Mutex<FakeCluster>>;

pub(super) async fn serve(cluster: SharedCluster) -> String {
    let metrics = |gateway: bool| {
        move |Extracted(cluster): Extracted<SharedCluster>| async move {
            let cluster = cluster.lock().unwrap();
            let of = |name: &str| name.starts_with("perch_scorer_") != gateway;
            let lines =
                cluster.counters.iter().filter(|(name, _)| of(name)).map(|(name, value)| format!("{name} {value}\n"));
            let status = if cluster.hidden { 500 } else { 200 };
            let page = [&cluster.foreign[..], lines.collect::<String>().as_bytes()].concat();
            (axum::http::StatusCode::from_u16(status).unwrap(), page)
        }
    };
    let app = Router::new()
        .route("/stats/prometheus", get(metrics(true)))
        .route("/metrics", get(metrics(false)))
        .route(
            "/runtime",
            get(|Extracted(cluster): Extracted<SharedCluster>| async move {
                let value = cluster.lock().unwrap().runtime.clone();
                axum::Json(serde_json::json!({"entries": {RUNTIME_KEY: {"final_value": value}, BETA_KEY: {"final_value": "0"}}}))
            }),
        )
        .route(
            "/runtime_modify",
            post(|Extracted(cluster): Extracted<SharedCluster>, Query(query): Query<BTreeMap<String, String>>| async move {
                let mut cluster = cluster.lock().unwrap();
                if cluster.down {
                    return axum::http::StatusCode::SERVICE_UNAVAILABLE;
                }
                // A rollback sets the beta cohort's share as well, which this fake ignores.
                if let Some(value) = query.get(RUNTIME_KEY) {
                    cluster.shares_set.push(value.clone());
                    cluster.runtime.clone_from(value);
                    cluster.users = UserCounts::default();
                }
                axum::http::StatusCode::OK
            }),
        )
        .route(
            evidence::PATH,
            get(|Extracted(cluster): Extracted<SharedCluster>, Query(query): Query<BTreeMap<String, String>>| async move {
                let UserCounts(rule, model) = cluster.lock().unwrap().users;
                let none = Clusters::default();
                axum::Json(Evidence {
                    version: evidence::VERSION,
                    since_ms: query[evidence::SINCE].parse().unwrap(),
                    users: Users { rule, model, sampled_one_in: 1 },
                    feedback: Some(Feedback { rule: none, model: none }),
                })
            }),
        )
        .route(
            "/api/v1/query",
            get(|Extracted(cluster): Extracted<SharedCluster>, Query(query): Query<BTreeMap<String, String>>| async move {
                assert!(query["query"].starts_with("{__name__=~\"lm_suggest_compare_total|"));
                let cluster = cluster.lock().unwrap();
                let exposition: String =
                    cluster.counters.iter().map(|(name, value)| format!("{name} {value}\n")).collect();
                let scrape = stack::scrape::Scrape::parse(&exposition);
                let result = scrape.samples().iter().map(|sample| {
                    let mut metric = sample.labels.clone();
                    metric.insert("__name__".into(), sample.name.clone());
                    metric.insert("instance".into(), "one".into());
                    serde_json::json!({"metric": metric, "value": [1.5, sample.value.to_string()]})
                });
                let result: Vec<_> = result.collect();
                let (warnings, data) = (&cluster.warnings, serde_json::json!({"resultType": "vector", "result": result}));
                axum::Json(serde_json::json!({"status": "success", "data": data, "warnings": warnings}))
            }),
        )
        .with_state(cluster);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

pub(super) struct Harness {
    pub(super) cluster: SharedCluster,
    pub(super) addresses: Addresses,
    pub(super) folder: TempDir,
    pub(super) link: PathBuf,
    pub(super) now_ms: u64,
    pub(super) agreement: f64,
    /// Canary requests that fall back, as a share.
    pub(super) fallbacks: f64,
    /// Clusters with scorers only, which judge as many requests as the first one, and their agreement.
    pub(super) scorers: Vec<(SharedCluster, f64)>,
}

impl Harness {
    pub(super) async fn new() -> Self {
        let cluster = SharedCluster::default();
        cluster.lock().unwrap().runtime = "0".into();
        let url = serve(cluster.clone()).await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("layer/0/perch")).unwrap();
        let link = folder.path().join("layer/current");
        std::os::unix::fs::symlink("0", &link).unwrap();
        let addresses = Addresses { gateways: vec![url.clone()], scorers: vec![url], prometheus: None };
        let mut harness = Self {
            cluster,
            addresses,
            folder,
            link,
            now_ms: 1_000_000,
            agreement: 0.9,
            fallbacks: 0.0,
            scorers: vec![],
        };
        harness.traffic(0.0);
        harness
    }

    pub(super) fn control_loop(&self, name: &str) -> ControlLoop<System, Gateways> {
        let source = System::new(&self.addresses).unwrap();
        let sink = Gateways::new(&self.addresses.gateways, vec![self.link.clone()]).unwrap();
        let plan = Plan::parse(PLAN).unwrap();
        ControlLoop::new(source, sink, &self.folder.path().join("guard"), name, Duration::from_secs(5), plan).unwrap()
    }

    /// A guard that starts after the lease of the previous one has expired without being released.
    pub(super) fn control_loop_after_lease_end(&mut self, name: &str) -> ControlLoop<System, Gateways> {
        self.now_ms += 60_000;
        self.control_loop(name)
    }

    pub(super) fn audit_log(&self) -> AuditLog {
        AuditLog::in_folder(&self.folder.path().join("guard")).unwrap()
    }

    pub(super) async fn record(&self, actor: Actor, event: Event) {
        self.audit_log().lock().await.unwrap().append(self.now_ms, actor, event, "for a test").unwrap();
    }

    pub(super) fn share(&self) -> String {
        self.cluster.lock().unwrap().runtime.clone()
    }

    /// Counts `requests` more requests.
    pub(super) fn traffic(&mut self, requests: f64) {
        for (cluster, agreement) in &self.scorers {
            let mut cluster = cluster.lock().unwrap();
            for (name, more) in [
                ("perch_scorer_judged_requests_total", requests),
                ("perch_scorer_request_agreement_total", requests * agreement),
                ("perch_scorer_request_agreement_squares_total", requests * agreement),
            ] {
                *cluster.counters.entry(name.to_owned()).or_default() += more;
            }
        }
        let mut cluster = self.cluster.lock().unwrap();
        let share = Share::from_runtime(&cluster.runtime).unwrap().fraction();
        let (canary, agree) = (requests * share, requests * self.agreement);
        let fallbacks = canary * self.fallbacks;
        for (name, more) in [
            ("lm_suggest_compare_total{agree=\"True\"}", agree),
            ("lm_suggest_compare_total{agree=\"False\"}", requests - agree),
            ("lm_suggest_source_total{source=\"rule\"}", requests - canary + fallbacks),
            ("lm_suggest_source_total{source=\"model\"}", canary - fallbacks),
            ("lm_ml_fallback_total{reason=\"reset\"}", fallbacks),
            ("lm_ml_predict_requests_total{available=\"True\"}", requests),
            ("lm_ml_predict_requests_total{available=\"False\"}", 0.0),
            ("perch_observation_total{outcome=\"observed\"}", requests),
            ("perch_scorer_judged_requests_total", requests),
            ("perch_scorer_request_agreement_total", agree),
            ("perch_scorer_request_agreement_squares_total", agree),
            ("perch_scorer_answer_latency_seconds_bucket{arm=\"candidate\",le=\"0.25\"}", canary),
            ("perch_scorer_answer_latency_seconds_count{arm=\"candidate\"}", canary),
            ("perch_scorer_answer_latency_seconds_bucket{arm=\"baseline\",le=\"0.25\"}", requests - canary),
            ("perch_scorer_answer_latency_seconds_count{arm=\"baseline\"}", requests - canary),
        ] {
            *cluster.counters.entry(name.to_owned()).or_default() += more;
        }
        let (rule, model) = ((requests - canary) / 2.0, canary / 2.0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let more = (rule.round() as u64, model.round() as u64);
        cluster.users = UserCounts(cluster.users.0 + more.0, cluster.users.1 + more.1);
    }

    pub(super) async fn evaluate(&mut self, control_loop: &mut ControlLoop<System, Gateways>) -> EvaluationReport {
        self.now_ms += EVALUATION_MS;
        self.traffic(200.0);
        control_loop.evaluate(self.now_ms).await.unwrap()
    }

    pub(super) async fn until_moved(&mut self, control_loop: &mut ControlLoop<System, Gateways>) -> EvaluationReport {
        for _ in 0..400 {
            let report = self.evaluate(control_loop).await;
            if report.carried_out.is_some() {
                return report;
            }
        }
        panic!("nothing moved: {}", self.evaluate(control_loop).await.line());
    }

    pub(super) async fn started(&mut self) -> ControlLoop<System, Gateways> {
        let mut control_loop = self.control_loop("g1");
        self.evaluate(&mut control_loop).await;
        self.record(Actor::Operator("ada".into()), Event::Start { plan: Box::new(raw()) }).await;
        control_loop
    }

    pub(super) async fn entries(&self) -> Vec<String> {
        let entries = self.audit_log().read().unwrap();
        let text = |entry: &Entry| {
            let actor = match &entry.actor {
                Actor::Operator(name) | Actor::Guard(name) | Actor::Alert(name) => name.clone(),
            };
            match &entry.event {
                Event::ShareSet { to, .. } => format!("{actor} set {to}"),
                Event::ExternalChange { from, to } => format!("{actor} found {from}>{to}"),
                Event::Rejected { .. } => format!("{actor} rejected"),
                Event::Start { .. } => format!("{actor} start"),
                other => format!("{actor} {other:?}").to_lowercase(),
            }
        };
        entries.iter().map(text).collect()
    }
}

fn raw() -> RawPlan {
    Plan::parse(PLAN).unwrap().raw().clone()
}

pub(super) fn ada() -> Actor {
    Actor::Operator("ada".into())
}

#[tokio::test]
async fn a_rollout_advances_on_both_layers_and_is_recorded() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    let report = harness.until_moved(&mut control_loop).await;
    assert_eq!((report.carried_out, harness.share().as_str()), (Some(true), "10"), "{}", report.line());
    assert_eq!(disk::get(&harness.link, RUNTIME_KEY).as_deref(), Some("10"), "it must survive the gateway's restart");
    harness.until_moved(&mut control_loop).await;
    assert_eq!(harness.share(), "50");
    assert_eq!(harness.entries().await, ["ada start", "g1 set 10", "g1 set 50"]);
}

#[tokio::test]
async fn by_prometheus_it_decides_the_same() {
    let mut harness = Harness::new().await;
    harness.addresses.prometheus = Some(harness.addresses.scorers[0].clone());
    let mut control_loop = harness.started().await;
    assert_eq!(harness.until_moved(&mut control_loop).await.carried_out, Some(true));
    harness.agreement = 0.7;
    let report = harness.until_moved(&mut control_loop).await;
    assert_eq!(report.decision.unwrap().check(Check::Agreement).unwrap().outcome, CheckOutcome::Breach);
    assert_eq!(harness.share(), "0");
}

#[tokio::test]
async fn a_gateway_that_rejects_a_rollback_is_called_again() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    harness.agreement = 0.7;
    harness.cluster.lock().unwrap().down = true;
    let report = harness.until_moved(&mut control_loop).await;
    assert_eq!(report.carried_out, Some(false));
    assert!(report.problems.iter().any(|problem| problem.contains("503")), "{:?}", report.problems);
    assert_eq!(harness.evaluate(&mut control_loop).await.carried_out, Some(false));
    harness.cluster.lock().unwrap().down = false;
    assert_eq!(harness.evaluate(&mut control_loop).await.carried_out, Some(true));
    assert_eq!(harness.share(), "0");
    assert_eq!(harness.evaluate(&mut control_loop).await.carried_out, None);
}

#[tokio::test]
async fn a_guard_that_restarts_keeps_its_evidence_and_its_latch() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    drop(control_loop);
    let mut control_loop = harness.control_loop("g1");
    harness.agreement = 0.7;
    harness.until_moved(&mut control_loop).await;
    drop(control_loop);
    let mut control_loop = harness.control_loop("g1");
    for _ in 0..100 {
        assert_eq!(harness.evaluate(&mut control_loop).await.carried_out, None);
    }
    assert!(harness.evaluate(&mut control_loop).await.latched.unwrap().reason.contains("agreement has fallen"));
}

#[tokio::test]
async fn of_two_guards_one_acts_and_the_second_takes_over() {
    let mut harness = Harness::new().await;
    let mut first = harness.started().await;
    let mut second = harness.control_loop("g2");
    harness.until_moved(&mut first).await;
    let report = harness.evaluate(&mut second).await;
    assert!(!report.leading && report.decision.is_none());
    assert_eq!(report.leader.as_deref(), Some("g1"));
    harness.now_ms += 60_000;
    harness.agreement = 0.7;
    let report = harness.until_moved(&mut second).await;
    assert_eq!(
        (report.guard.as_str(), harness.share().as_str()),
        ("g2", "0"),
        "with the baseline that the first one had measured"
    );
    assert!(!harness.evaluate(&mut first).await.leading);
}

#[tokio::test]
async fn the_last_human_decision_stands_against_the_guard_and_an_alert() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    harness.agreement = 0.5;
    // Between two evaluations: an alert asks for a rollback, then an operator sets 20 %.
    harness.record(Actor::Alert("agreement".into()), Event::Rollback).await;
    harness.record(ada(), Event::ShareSet { from: Some("10".into()), to: "20".into() }).await;
    harness.cluster.lock().unwrap().runtime = "20".into();
    for _ in 0..50 {
        harness.evaluate(&mut control_loop).await;
    }
    assert_eq!(harness.share(), "20");
    let report = harness.evaluate(&mut control_loop).await;
    assert!(report.paused.unwrap().reason.starts_with("ada set the share to 20"));
    let entries = harness.entries().await;
    assert_eq!(entries, ["ada start", "g1 set 10", "agreement rollback", "ada set 20", "g1 rejected"]);
}

#[tokio::test]
async fn an_operator_who_acts_while_the_guard_decides_wins() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    harness.agreement = 0.5;
    // The operator acts after the guard has read the audit log.
    let decision = loop {
        harness.now_ms += EVALUATION_MS;
        harness.traffic(200.0);
        let snapshot = control_loop.source.read(0).await;
        let snapshot = control_loop.snapshot(harness.now_ms, snapshot, &mut Vec::new());
        let decision = control_loop.guard.evaluate(harness.now_ms, &snapshot);
        if decision.action == Action::Rollback {
            harness.record(ada(), Event::ShareSet { from: None, to: "20".into() }).await;
            let mut problems = Vec::new();
            let done = control_loop.act(harness.now_ms, &decision, &snapshot, true, &mut problems).await.unwrap();
            break (done, problems);
        }
    };
    assert_eq!(decision.0, Some(false));
    assert!(decision.1[0].contains("superseded by ada meanwhile"));
    assert_eq!(harness.share(), "10");
}

#[tokio::test]
async fn a_change_without_an_entry_is_found_and_recorded() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    harness.cluster.lock().unwrap().runtime = "30".into();
    let report = harness.evaluate(&mut control_loop).await;
    assert!(report.paused.unwrap().reason.contains("changed manually from 10 % to 30 %"));
    harness.evaluate(&mut control_loop).await;
    assert_eq!(harness.entries().await.last().unwrap(), "g1 found 10>30");
    assert_eq!(harness.entries().await.len(), 3);
}

#[tokio::test]
async fn an_alerts_rollback_is_carried_out() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    harness.record(Actor::Alert("SuggestAgreementDrop".into()), Event::Rollback).await;
    let report = harness.evaluate(&mut control_loop).await;
    assert_eq!((report.carried_out, harness.share().as_str()), (Some(true), "0"));
    assert!(report.latched.unwrap().reason.contains("alert SuggestAgreementDrop"));
}

#[tokio::test]
async fn a_state_that_cannot_be_read_is_put_aside_and_the_guard_begins_paused() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    drop(control_loop);
    let folder = harness.folder.path().join("guard");
    std::fs::write(folder.join("state.json"), "{\"guard\": 5").unwrap();
    let mut control_loop = harness.control_loop_after_lease_end("g1");
    let report = harness.evaluate(&mut control_loop).await;
    assert!(report.paused.unwrap().reason.contains("could not be read"));
    assert!(folder.join("state.unreadable.json").exists());
    assert_eq!(harness.share(), "10");
}

#[tokio::test]
async fn parts_that_are_gone_are_named_and_nothing_moves() {
    let mut harness = Harness::new().await;
    let mut control_loop = harness.started().await;
    harness.until_moved(&mut control_loop).await;
    harness.addresses.scorers = vec!["http://127.0.0.1:9".into()];
    let mut control_loop = harness.control_loop_after_lease_end("g1");
    for _ in 0..60 {
        let report = harness.evaluate(&mut control_loop).await;
        assert_eq!(report.carried_out, None);
        assert!(report.problems.iter().any(|problem| problem.contains("127.0.0.1:9")));
        assert!(report.line().contains("no data"), "{}", report.line());
    }
}
