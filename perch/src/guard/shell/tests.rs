//! The shell against small servers that speak as Envoy's admin interface, a scorer and Prometheus do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Query, State as Extracted};
use axum::routing::{get, post};
use contract::evidence::{self, Clusters, Evidence, Feedback, Users};
use contract::switch::{BETA_KEY, RUNTIME_KEY};
use tempfile::TempDir;

use super::super::decision::{Check, Verdict};
use super::super::plan::raw::Raw;
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
const LOOK_MS: u64 = 5_000;

/// What the servers say, and what they were told.
#[derive(Default)]
pub(super) struct Town {
    pub(super) runtime: String,
    counters: BTreeMap<String, f64>,
    users: Counted,
    pub(super) down: bool,
    /// The counters cannot be read.
    pub(super) hidden: bool,
    /// Lines that are somebody else's, before our own.
    pub(super) foreign: Vec<u8>,
    /// What Prometheus warns of.
    pub(super) warnings: Vec<String>,
    pub(super) told: Vec<String>,
}

#[derive(Default, Clone, Copy)]
pub(super) struct Counted(u64, u64);

pub(super) type Shared = Arc<Mutex<Town>>;

pub(super) async fn serve(town: Shared) -> String {
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
            get(|Extracted(town): Extracted<Shared>, Query(query): Query<BTreeMap<String, String>>| async move {
                assert!(query["query"].starts_with("{__name__=~\"lm_suggest_compare_total|"));
                let town = town.lock().unwrap();
                let exposition: String =
                    town.counters.iter().map(|(name, value)| format!("{name} {value}\n")).collect();
                let scrape = stack::scrape::Scrape::parse(&exposition);
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

pub(super) struct World {
    pub(super) town: Shared,
    pub(super) addresses: Addresses,
    pub(super) folder: TempDir,
    pub(super) link: PathBuf,
    pub(super) now_ms: u64,
    pub(super) agreement: f64,
    /// Canary requests that fall back, as a share.
    pub(super) fallbacks: f64,
    /// Towns with scorers only, which judge as many requests as the first one, and their agreement.
    pub(super) scorers: Vec<(Shared, f64)>,
}

impl World {
    pub(super) async fn new() -> Self {
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

    pub(super) fn shell(&self, name: &str) -> Shell<System, Gateways> {
        let source = System::new(&self.addresses).unwrap();
        let sink = Gateways::new(&self.addresses.gateways, vec![self.link.clone()]).unwrap();
        let plan = Plan::parse(PLAN).unwrap();
        Shell::new(source, sink, &self.folder.path().join("guard"), name, Duration::from_secs(5), plan).unwrap()
    }

    /// A guard that starts when the lease of the one before has run out, which did not give it up.
    pub(super) fn shell_after_a_term(&mut self, name: &str) -> Shell<System, Gateways> {
        self.now_ms += 60_000;
        self.shell(name)
    }

    pub(super) fn ledger(&self) -> Ledger {
        Ledger::in_folder(&self.folder.path().join("guard")).unwrap()
    }

    pub(super) async fn say(&self, by: By, what: What) {
        self.ledger().hold().await.unwrap().append(self.now_ms, by, what, "for a test").unwrap();
    }

    pub(super) fn share(&self) -> String {
        self.town.lock().unwrap().runtime.clone()
    }

    /// `requests` come.
    pub(super) fn traffic(&mut self, requests: f64) {
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
            ("perch_scorer_gateway_latency_seconds_bucket{arm=\"candidate\",le=\"0.25\"}", canary),
            ("perch_scorer_gateway_latency_seconds_count{arm=\"candidate\"}", canary),
            ("perch_scorer_gateway_latency_seconds_bucket{arm=\"baseline\",le=\"0.25\"}", requests - canary),
            ("perch_scorer_gateway_latency_seconds_count{arm=\"baseline\"}", requests - canary),
        ] {
            *town.counters.entry(name.to_owned()).or_default() += more;
        }
        let (rule, model) = ((requests - canary) / 2.0, canary / 2.0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let more = (rule.round() as u64, model.round() as u64);
        town.users = Counted(town.users.0 + more.0, town.users.1 + more.1);
    }

    pub(super) async fn look(&mut self, shell: &mut Shell<System, Gateways>) -> Report {
        self.now_ms += LOOK_MS;
        self.traffic(200.0);
        shell.tick(self.now_ms).await.unwrap()
    }

    pub(super) async fn until_moved(&mut self, shell: &mut Shell<System, Gateways>) -> Report {
        for _ in 0..400 {
            let report = self.look(shell).await;
            if report.carried_out.is_some() {
                return report;
            }
        }
        panic!("nothing moved: {}", self.look(shell).await.line());
    }

    pub(super) async fn started(&mut self) -> Shell<System, Gateways> {
        let mut shell = self.shell("g1");
        self.look(&mut shell).await;
        self.say(By::Human("ada".into()), What::Start { plan: Box::new(raw()) }).await;
        shell
    }

    pub(super) async fn entries(&self) -> Vec<String> {
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

pub(super) fn ada() -> By {
    By::Human("ada".into())
}

#[tokio::test]
async fn a_ramp_goes_up_on_both_layers_and_the_ledger_tells_it() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    let report = world.until_moved(&mut shell).await;
    assert_eq!((report.carried_out, world.share().as_str()), (Some(true), "10"), "{}", report.line());
    assert_eq!(disk::get(&world.link, RUNTIME_KEY).as_deref(), Some("10"), "it must survive the gateway's restart");
    world.until_moved(&mut shell).await;
    assert_eq!(world.share(), "50");
    assert_eq!(world.entries().await, ["ada start", "g1 set 10", "g1 set 50"]);
}

#[tokio::test]
async fn by_prometheus_it_decides_the_same() {
    let mut world = World::new().await;
    world.addresses.prometheus = Some(world.addresses.scorers[0].clone());
    let mut shell = world.started().await;
    assert_eq!(world.until_moved(&mut shell).await.carried_out, Some(true));
    world.agreement = 0.7;
    let report = world.until_moved(&mut shell).await;
    assert_eq!(report.decision.unwrap().of(Check::Agreement).unwrap().verdict, Verdict::Breach);
    assert_eq!(world.share(), "0");
}

#[tokio::test]
async fn a_gateway_that_cannot_be_told_is_told_again() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    world.agreement = 0.7;
    world.town.lock().unwrap().down = true;
    let report = world.until_moved(&mut shell).await;
    assert_eq!(report.carried_out, Some(false));
    assert!(report.troubles.iter().any(|trouble| trouble.contains("503")), "{:?}", report.troubles);
    assert_eq!(world.look(&mut shell).await.carried_out, Some(false));
    world.town.lock().unwrap().down = false;
    assert_eq!(world.look(&mut shell).await.carried_out, Some(true));
    assert_eq!(world.share(), "0");
    assert_eq!(world.look(&mut shell).await.carried_out, None);
}

#[tokio::test]
async fn a_guard_that_restarts_keeps_its_evidence_and_its_latch() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    drop(shell);
    let mut shell = world.shell("g1");
    world.agreement = 0.7;
    world.until_moved(&mut shell).await;
    drop(shell);
    let mut shell = world.shell("g1");
    for _ in 0..100 {
        assert_eq!(world.look(&mut shell).await.carried_out, None);
    }
    assert!(world.look(&mut shell).await.latched.unwrap().reason.contains("agreement has fallen"));
}

#[tokio::test]
async fn two_guards_do_not_duel_and_the_second_takes_over() {
    let mut world = World::new().await;
    let mut first = world.started().await;
    let mut second = world.shell("g2");
    world.until_moved(&mut first).await;
    let report = world.look(&mut second).await;
    assert!(!report.leading && report.decision.is_none());
    assert_eq!(report.leader.as_deref(), Some("g1"));
    world.now_ms += 60_000;
    world.agreement = 0.7;
    let report = world.until_moved(&mut second).await;
    assert_eq!((report.guard.as_str(), world.share().as_str()), ("g2", "0"), "with what the first one had learnt");
    assert!(!world.look(&mut first).await.leading);
}

#[tokio::test]
async fn the_last_human_word_holds_against_the_guard_and_an_alert() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    world.agreement = 0.5;
    // Between two looks: an alert asks for a rollback, then an operator sets 20 %.
    world.say(By::Alert("agreement".into()), What::Rollback).await;
    world.say(ada(), What::Set { from: Some("10".into()), to: "20".into() }).await;
    world.town.lock().unwrap().runtime = "20".into();
    for _ in 0..50 {
        world.look(&mut shell).await;
    }
    assert_eq!(world.share(), "20");
    let report = world.look(&mut shell).await;
    assert!(report.paused.unwrap().reason.starts_with("ada set the share to 20"));
    let entries = world.entries().await;
    assert_eq!(entries, ["ada start", "g1 set 10", "agreement rollback", "ada set 20", "g1 refused"]);
}

#[tokio::test]
async fn an_operator_who_speaks_while_the_guard_decides_wins() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    world.agreement = 0.5;
    // Held while the guard wants to act: it has read the ledger before.
    let decision = loop {
        world.now_ms += LOOK_MS;
        world.traffic(200.0);
        let seen = shell.source.look(0).await;
        let seen = shell.take_in(world.now_ms, seen, &mut Vec::new());
        let decision = shell.guard.judge(world.now_ms, &seen);
        if decision.action == Action::Rollback {
            world.say(ada(), What::Set { from: None, to: "20".into() }).await;
            let mut troubles = Vec::new();
            let done = shell.act(world.now_ms, &decision, &seen, true, &mut troubles).await.unwrap();
            break (done, troubles);
        }
    };
    assert_eq!(decision.0, Some(false));
    assert!(decision.1[0].contains("ada spoke meanwhile"));
    assert_eq!(world.share(), "10");
}

#[tokio::test]
async fn a_change_past_the_ledger_is_found_and_written_down() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    world.town.lock().unwrap().runtime = "30".into();
    let report = world.look(&mut shell).await;
    assert!(report.paused.unwrap().reason.contains("by hand from 10 % to 30 %"));
    world.look(&mut shell).await;
    assert_eq!(world.entries().await.last().unwrap(), "g1 found 10>30");
    assert_eq!(world.entries().await.len(), 3);
}

#[tokio::test]
async fn an_alerts_rollback_is_carried_out() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    world.say(By::Alert("SuggestAgreementDrop".into()), What::Rollback).await;
    let report = world.look(&mut shell).await;
    assert_eq!((report.carried_out, world.share().as_str()), (Some(true), "0"));
    assert!(report.latched.unwrap().reason.contains("alert SuggestAgreementDrop"));
}

#[tokio::test]
async fn a_state_that_cannot_be_read_is_put_aside_and_the_guard_begins_paused() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    drop(shell);
    let folder = world.folder.path().join("guard");
    std::fs::write(folder.join("state.json"), "{\"guard\": 5").unwrap();
    let mut shell = world.shell_after_a_term("g1");
    let report = world.look(&mut shell).await;
    assert!(report.paused.unwrap().reason.contains("could not be read"));
    assert!(folder.join("state.unreadable.json").exists());
    assert_eq!(world.share(), "10");
}

#[tokio::test]
async fn parts_that_are_gone_are_named_and_nothing_moves() {
    let mut world = World::new().await;
    let mut shell = world.started().await;
    world.until_moved(&mut shell).await;
    world.addresses.scorers = vec!["http://127.0.0.1:9".into()];
    let mut shell = world.shell_after_a_term("g1");
    for _ in 0..60 {
        let report = world.look(&mut shell).await;
        assert_eq!(report.carried_out, None);
        assert!(report.troubles.iter().any(|trouble| trouble.contains("127.0.0.1:9")));
        assert!(report.line().contains("no data"), "{}", report.line());
    }
}
