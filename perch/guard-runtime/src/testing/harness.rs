//! A deployment around a guard: fakes of Envoy's admin interface, of a scorer and of Prometheus, and the traffic that
//! they count.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State as Extracted};
use axum::routing::{get, post};
use clients::Scrape;
use contract::evidence::{self, Clusters, Evidence, Feedback, Users};
use contract::headers;
use contract::share::{BETA_KEY, RUNTIME_KEY, Share};
use guard::plan::Plan;
use guard::plan::raw::RawPlan;
use tempfile::TempDir;

use crate::audit_log::{Actor, AuditLog, Entry, Event};
use crate::control_loop::{ControlLoop, EvaluationReport};
use crate::manual_override::ManualOverride;
use crate::sink::Gateways;
use crate::source::system::{Addresses, System};

const PLAN: &str = "
steps: [10%, 50%]
minimum_time: 60s
minimum_requests: 500
settle_time: 5s
baseline: {minimum_time: 60s, minimum_requests: 2000}
";
/// Time between two evaluations.
pub const EVALUATION_MS: u64 = 5_000;

/// State of the fake servers, and the shares that were set on them.
#[derive(Default)]
pub struct FakeCluster {
    pub runtime: String,
    counters: BTreeMap<String, f64>,
    users: UserCounts,
    pub down: bool,
    /// The counters cannot be read.
    pub hidden: bool,
    /// Metrics of other programs, before our own.
    pub foreign: Vec<u8>,
    /// The warnings of Prometheus.
    pub warnings: Vec<String>,
    pub shares_set: Vec<String>,
}

#[derive(Default, Clone, Copy)]
struct UserCounts(u64, u64);

pub type SharedCluster = Arc<Mutex<FakeCluster>>;

pub async fn serve(cluster: SharedCluster) -> String {
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
                let evidence = Evidence {
                    version: evidence::VERSION,
                    since_ms: query[evidence::SINCE].parse().unwrap(),
                    users: Users { rule, model, sampled_one_in: 1 },
                    feedback: Some(Feedback { rule: none, model: none }),
                };
                ([(headers::SCORER, "1")], axum::Json(evidence))
            }),
        )
        .route(
            "/api/v1/query",
            get(|Extracted(cluster): Extracted<SharedCluster>, Query(query): Query<BTreeMap<String, String>>| async move {
                assert!(query["query"].starts_with("{__name__=~\"lm_suggest_compare_total|"));
                let cluster = cluster.lock().unwrap();
                let exposition: String =
                    cluster.counters.iter().map(|(name, value)| format!("{name} {value}\n")).collect();
                let scrape = Scrape::parse(&exposition);
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

pub struct Harness {
    pub cluster: SharedCluster,
    pub addresses: Addresses,
    pub folder: TempDir,
    pub link: PathBuf,
    pub now_ms: u64,
    pub agreement: f64,
    /// Canary requests that fall back, as a share.
    pub fallbacks: f64,
    /// Clusters with scorers only, which judge as many requests as the first one, and their agreement.
    pub scorers: Vec<(SharedCluster, f64)>,
}

impl Harness {
    pub async fn new() -> Self {
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

    pub fn control_loop(&self, name: &str) -> ControlLoop<System, Gateways> {
        let source = System::new(&self.addresses).unwrap();
        let sink = Gateways::new(&self.addresses.gateways, vec![self.link.clone()]).unwrap();
        let plan = Plan::parse(PLAN).unwrap();
        ControlLoop::new(source, sink, &self.folder.path().join("guard"), name, Duration::from_secs(5), plan).unwrap()
    }

    /// A guard that starts after the lease of the previous one has expired without being released.
    pub fn control_loop_after_lease_end(&mut self, name: &str) -> ControlLoop<System, Gateways> {
        self.now_ms += 60_000;
        self.control_loop(name)
    }

    pub fn audit_log(&self) -> AuditLog {
        AuditLog::in_folder(&self.folder.path().join("guard")).unwrap()
    }

    pub async fn record(&self, actor: Actor, event: Event) {
        self.audit_log().lock().await.unwrap().append(self.now_ms, actor, event, "for a test").unwrap();
    }

    pub fn share(&self) -> String {
        self.cluster.lock().unwrap().runtime.clone()
    }

    /// Counts `requests` more requests.
    pub fn traffic(&mut self, requests: f64) {
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
            ("perch_scorer_gateway_latency_seconds_bucket{arm=\"candidate\",le=\"0.25\"}", canary),
            ("perch_scorer_gateway_latency_seconds_count{arm=\"candidate\"}", canary),
            ("perch_scorer_gateway_latency_seconds_bucket{arm=\"baseline\",le=\"0.25\"}", requests - canary),
            ("perch_scorer_gateway_latency_seconds_count{arm=\"baseline\"}", requests - canary),
        ] {
            *cluster.counters.entry(name.to_owned()).or_default() += more;
        }
        let (rule, model) = ((requests - canary) / 2.0, canary / 2.0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let more = (rule.round() as u64, model.round() as u64);
        cluster.users = UserCounts(cluster.users.0 + more.0, cluster.users.1 + more.1);
    }

    pub async fn evaluate(&mut self, control_loop: &mut ControlLoop<System, Gateways>) -> EvaluationReport {
        self.now_ms += EVALUATION_MS;
        self.traffic(200.0);
        control_loop.evaluate(self.now_ms).await.unwrap()
    }

    pub async fn until_moved(&mut self, control_loop: &mut ControlLoop<System, Gateways>) -> EvaluationReport {
        for _ in 0..400 {
            let report = self.evaluate(control_loop).await;
            if report.carried_out.is_some() {
                return report;
            }
        }
        panic!("nothing moved: {}", self.evaluate(control_loop).await.line());
    }

    pub async fn started(&mut self) -> ControlLoop<System, Gateways> {
        let mut control_loop = self.control_loop("g1");
        self.evaluate(&mut control_loop).await;
        self.record(Actor::Operator("ada".into()), Event::Start { plan: Box::new(raw()) }).await;
        control_loop
    }

    /// An operator who sets the share.
    pub fn manual_override(&self, name: &str) -> ManualOverride {
        let gateways = Gateways::new(&self.addresses.gateways, vec![self.link.clone()]).unwrap();
        ManualOverride::new(gateways, Some(self.audit_log()), Actor::Operator(name.into()))
    }

    pub async fn entries(&self) -> Vec<String> {
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

pub fn ada() -> Actor {
    Actor::Operator("ada".into())
}
