//! A deployment around a guard: small servers that speak as Envoy's admin interface, a scorer and Prometheus do, and the
//! traffic that they count.

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
use guard::plan::raw::Raw;
use tempfile::TempDir;

use crate::hand::Hand;
use crate::ledger::{By, Entry, Ledger, What};
use crate::shell::{Report, Shell};
use crate::sink::Gateways;
use crate::source::system::{Addresses, System};

const PLAN: &str = "
steps: [10%, 50%]
minimum_time: 60s
minimum_requests: 500
settle_time: 5s
baseline: {minimum_time: 60s, minimum_requests: 2000}
";
/// Time between two looks.
pub const LOOK_MS: u64 = 5_000;

/// What the servers say, and what they were told.
#[derive(Default)]
pub struct Town {
    pub runtime: String,
    counters: BTreeMap<String, f64>,
    users: Counted,
    pub down: bool,
    /// The counters cannot be read.
    pub hidden: bool,
    /// Lines that are somebody else's, before our own.
    pub foreign: Vec<u8>,
    /// What Prometheus warns of.
    pub warnings: Vec<String>,
    pub told: Vec<String>,
}

#[derive(Default, Clone, Copy)]
struct Counted(u64, u64);

pub type Shared = Arc<Mutex<Town>>;

pub async fn serve(town: Shared) -> String {
    let metrics = |gateway: bool| {
        move |Extracted(town): Extracted<Shared>| async move {
            let town = town.lock().unwrap();
            let of = |name: &str| name.starts_with("perch_scorer_") != gateway;
            let lines =
                town.counters.iter().filter(|(name, _)| of(name)).map(|(name, value)| format!("{name} {value}\n"));
            let status = if town.hidden { 500 } else { 200 };
            let page = [&town.foreign[..], lines.collect::<String>().as_bytes()].concat();
            (axum::http::StatusCode::from_u16(status).unwrap(), page)
        }
    };
    let app = Router::new()
        .route("/stats/prometheus", get(metrics(true)))
        .route("/metrics", get(metrics(false)))
        .route(
            "/runtime",
            get(|Extracted(town): Extracted<Shared>| async move {
                let value = town.lock().unwrap().runtime.clone();
                axum::Json(serde_json::json!({"entries": {RUNTIME_KEY: {"final_value": value}, BETA_KEY: {"final_value": "0"}}}))
            }),
        )
        .route(
            "/runtime_modify",
            post(|Extracted(town): Extracted<Shared>, Query(query): Query<BTreeMap<String, String>>| async move {
                let mut town = town.lock().unwrap();
                if town.down {
                    return axum::http::StatusCode::SERVICE_UNAVAILABLE;
                }
                // A rollback sets the beta cohort's share as well, which is nothing to this town.
                if let Some(value) = query.get(RUNTIME_KEY) {
                    town.told.push(value.clone());
                    town.runtime.clone_from(value);
                    town.users = Counted::default();
                }
                axum::http::StatusCode::OK
            }),
        )
        .route(
            evidence::PATH,
            get(|Extracted(town): Extracted<Shared>, Query(query): Query<BTreeMap<String, String>>| async move {
                let Counted(rule, model) = town.lock().unwrap().users;
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
            get(|Extracted(town): Extracted<Shared>, Query(query): Query<BTreeMap<String, String>>| async move {
                assert!(query["query"].starts_with("{__name__=~\"lm_suggest_compare_total|"));
                let town = town.lock().unwrap();
                let exposition: String =
                    town.counters.iter().map(|(name, value)| format!("{name} {value}\n")).collect();
                let scrape = Scrape::parse(&exposition);
                let result = scrape.samples().iter().map(|sample| {
                    let mut metric = sample.labels.clone();
                    metric.insert("__name__".into(), sample.name.clone());
                    metric.insert("instance".into(), "one".into());
                    serde_json::json!({"metric": metric, "value": [1.5, sample.value.to_string()]})
                });
                let result: Vec<_> = result.collect();
                let (warnings, data) = (&town.warnings, serde_json::json!({"resultType": "vector", "result": result}));
                axum::Json(serde_json::json!({"status": "success", "data": data, "warnings": warnings}))
            }),
        )
        .with_state(town);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

pub struct World {
    pub town: Shared,
    pub addresses: Addresses,
    pub folder: TempDir,
    pub link: PathBuf,
    pub now_ms: u64,
    pub agreement: f64,
    /// Canary requests that fall back, as a share.
    pub fallbacks: f64,
    /// Towns with scorers only, which judge as many requests as the first one, and their agreement.
    pub scorers: Vec<(Shared, f64)>,
}

impl World {
    pub async fn new() -> Self {
        let town = Shared::default();
        town.lock().unwrap().runtime = "0".into();
        let url = serve(town.clone()).await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("layer/0/perch")).unwrap();
        let link = folder.path().join("layer/current");
        std::os::unix::fs::symlink("0", &link).unwrap();
        let addresses = Addresses { gateways: vec![url.clone()], scorers: vec![url], prometheus: None };
        let mut world =
            Self { town, addresses, folder, link, now_ms: 1_000_000, agreement: 0.9, fallbacks: 0.0, scorers: vec![] };
        world.traffic(0.0);
        world
    }

    pub fn shell(&self, name: &str) -> Shell<System, Gateways> {
        let source = System::new(&self.addresses).unwrap();
        let sink = Gateways::new(&self.addresses.gateways, vec![self.link.clone()]).unwrap();
        let plan = Plan::parse(PLAN).unwrap();
        Shell::new(source, sink, &self.folder.path().join("guard"), name, Duration::from_secs(5), plan).unwrap()
    }

    /// A guard that starts when the lease of the one before has run out, which did not give it up.
    pub fn shell_after_a_term(&mut self, name: &str) -> Shell<System, Gateways> {
        self.now_ms += 60_000;
        self.shell(name)
    }

    pub fn ledger(&self) -> Ledger {
        Ledger::in_folder(&self.folder.path().join("guard")).unwrap()
    }

    pub async fn say(&self, by: By, what: What) {
        self.ledger().hold().await.unwrap().append(self.now_ms, by, what, "for a test").unwrap();
    }

    pub fn share(&self) -> String {
        self.town.lock().unwrap().runtime.clone()
    }

    /// `requests` come.
    pub fn traffic(&mut self, requests: f64) {
        for (town, agreement) in &self.scorers {
            let mut town = town.lock().unwrap();
            for (name, more) in [
                ("perch_scorer_judged_requests_total", requests),
                ("perch_scorer_request_agreement_total", requests * agreement),
                ("perch_scorer_request_agreement_squares_total", requests * agreement),
            ] {
                *town.counters.entry(name.to_owned()).or_default() += more;
            }
        }
        let mut town = self.town.lock().unwrap();
        let share = Share::from_runtime(&town.runtime).unwrap().fraction();
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
            *town.counters.entry(name.to_owned()).or_default() += more;
        }
        let (rule, model) = ((requests - canary) / 2.0, canary / 2.0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let more = (rule.round() as u64, model.round() as u64);
        town.users = Counted(town.users.0 + more.0, town.users.1 + more.1);
    }

    pub async fn look(&mut self, shell: &mut Shell<System, Gateways>) -> Report {
        self.now_ms += LOOK_MS;
        self.traffic(200.0);
        shell.tick(self.now_ms).await.unwrap()
    }

    pub async fn until_moved(&mut self, shell: &mut Shell<System, Gateways>) -> Report {
        for _ in 0..400 {
            let report = self.look(shell).await;
            if report.carried_out.is_some() {
                return report;
            }
        }
        panic!("nothing moved: {}", self.look(shell).await.line());
    }

    pub async fn started(&mut self) -> Shell<System, Gateways> {
        let mut shell = self.shell("g1");
        self.look(&mut shell).await;
        self.say(By::Human("ada".into()), What::Start { plan: Box::new(raw()) }).await;
        shell
    }

    /// An operator who moves the share.
    pub fn hand(&self, name: &str) -> Hand {
        let gateways = Gateways::new(&self.addresses.gateways, vec![self.link.clone()]).unwrap();
        Hand::new(gateways, Some(self.ledger()), By::Human(name.into()))
    }

    pub async fn entries(&self) -> Vec<String> {
        let entries = self.ledger().read().unwrap();
        let text = |entry: &Entry| {
            let by = match &entry.by {
                By::Human(name) | By::Guard(name) | By::Alert(name) => name.clone(),
            };
            match &entry.what {
                What::Set { to, .. } => format!("{by} set {to}"),
                What::Found { from, to } => format!("{by} found {from}>{to}"),
                What::Refused { .. } => format!("{by} refused"),
                What::Start { .. } => format!("{by} start"),
                other => format!("{by} {other:?}").to_lowercase(),
            }
        };
        entries.iter().map(text).collect()
    }
}

fn raw() -> Raw {
    Plan::parse(PLAN).unwrap().raw().clone()
}

pub fn ada() -> By {
    By::Human("ada".into())
}
