//! Tests the alerting rules and the dashboard's queries on a running deployment: a real Prometheus scrapes it every
//! second, with the time windows of `prometheus/rules` shortened from hours to seconds.
#![allow(clippy::unwrap_used, reason = "a test's own helpers are tests too")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use contract::share::Share;
use e2e::client::{Client, Protocol, get, post, request_body, suggest};
use e2e::eventually::eventually;
use e2e::monitoring::{queries, server, shorten};
use e2e::real_stack::{RealStack, TRANSACTIONS};
use e2e::upstream::{Script, Upstream};
use stack::Part;
use stack::checkout::Checkout;
use stack::ports::Ports;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// Longest wait for one thing. Only spent where a test fails: a machine may be busy with other work.
const PATIENCE: Duration = Duration::from_secs(180);
/// What is to happen has happened when nothing more has for this long: the longest window, and a little.
const SETTLED: Duration = Duration::from_secs(shorten::LONGEST + 3);

/// Everything, with users coming and going until it is dropped. Half of them are in the canary.
struct Watched {
    real: RealStack,
    guard: Option<Upstream>,
    prometheus: server::Prometheus,
    _traffic: JoinSet<()>,
}

impl Watched {
    async fn start() -> anyhow::Result<Self> {
        let real = RealStack::start(|builder| {
            builder
                .share(Share::percent(50))
                .scorer_checks(true)
                .monitoring(true)
                .access_log(false)
                // A day's patience would be a day's test.
                .env(Part::Scorer, "PERCH_DRIFT_ROWS", "100")
                .env(Part::Scorer, "PERCH_DRIFT_HOURS", "0")
                .env(Part::Scorer, "PERCH_JUDGE_EVERY_MS", "1000")
        })
        .await?;
        let guard = Some(guard(address_of(&real, Part::Console)).await?);
        let address = Ports::free()?.address(Part::Prometheus);
        let prometheus =
            server::Prometheus::start(Checkout::find()?.root(), address, |part| address_of(&real, part)).await?;
        let mut traffic = JoinSet::new();
        for client in 0..4 {
            traffic.spawn(visit(real.address(), client));
        }
        Ok(Self { real, guard, prometheus, _traffic: traffic })
    }

    fn kill(&mut self, part: Part) {
        match part {
            Part::Console => self.guard = None,
            part => self.real.stack.kill(part),
        }
    }

    async fn bring_back(&mut self, part: Part) -> anyhow::Result<()> {
        match part {
            Part::Console => self.guard = Some(guard(address_of(&self.real, part)).await?),
            part => self.real.stack.start_part(part).await?,
        }
        Ok(())
    }

    /// Waits until `condition` returns `Ok`.
    async fn wait_until(&self, condition: impl AsyncFn(SocketAddr) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            match condition(self.prometheus.address()).await {
                Ok(()) => return Ok(()),
                Err(refusal) if began.elapsed() > PATIENCE => return Err(refusal),
                Err(_) => sleep(Duration::from_millis(500)).await,
            }
        }
    }

    /// Waits until no alert fires or is pending.
    async fn wait_until_no_alert(&self, when: &str) -> anyhow::Result<()> {
        self.wait_until(async |prometheus| {
            let alerts = alerts(prometheus).await?;
            ensure!(alerts.is_empty(), "{when}: {alerts:?}");
            Ok(())
        })
        .await
    }

    /// Waits until exactly the `expected` alerts fire and none is pending, and until that has held for [`SETTLED`].
    async fn wait_until_only_these_alerts_fire(&self, when: &str, expected: &[&str]) -> anyhow::Result<()> {
        let expected: BTreeMap<String, bool> = expected.iter().map(|name| ((*name).to_owned(), true)).collect();
        let since = Cell::new(None);
        self.wait_until(async |prometheus| {
            let alerts = alerts(prometheus).await?;
            if alerts != expected {
                since.set(None);
            }
            ensure!(alerts == expected, "{when}: {:?} should fire; {alerts:?}", expected.keys());
            let since = since.get().unwrap_or_else(|| {
                since.set(Some(Instant::now()));
                Instant::now()
            });
            ensure!(since.elapsed() > SETTLED, "{when}: as it should be, but not for long");
            Ok(())
        })
        .await
    }
}

fn address_of(real: &RealStack, part: Part) -> SocketAddr {
    real.stack.url(part).trim_start_matches("http://").parse().unwrap()
}

/// What `perch guard` exports, from a guard that holds at half of the users and never acts, so that a test alone
/// decides what happens.
async fn guard(address: SocketAddr) -> anyhow::Result<Upstream> {
    Upstream::start_at(address, |request| {
        if request.path != "/metrics" {
            return Script::new(200, "");
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Script::new(
            200,
            format!(
                r#"perch_guard_last_decision_timestamp_seconds {now}
perch_guard_decisions_total{{decision="advance"}} 0
perch_guard_decisions_total{{decision="hold"}} {now}
perch_guard_decisions_total{{decision="freeze"}} 0
perch_guard_decisions_total{{decision="rollback"}} 0
perch_guard_share_wanted_ratio 0.5
perch_guard_latched 0
perch_guard_paused 0
perch_guard_frozen 0
perch_guard_agreement_bound_ratio{{bound="lower"}} 0.6
perch_guard_agreement_bound_ratio{{bound="upper"}} 0.9
perch_guard_check_value{{check="agreement"}} 0.75
perch_guard_check_bound{{check="agreement"}} 0.72
perch_guard_check_threshold{{check="agreement"}} 0.7
perch_guard_check_sample{{check="agreement"}} 900
perch_guard_check_outcome{{check="agreement",outcome="pass"}} 1
"#
            ),
        )
        .header("content-type", "text/plain; version=0.0.4")
    })
    .await
}

/// What fires (`true`) or is about to, without SuggestAgreementDrop: it counts items that were not compared as
/// disagreement, so that it fires beside every other.
async fn alerts(prometheus: SocketAddr) -> anyhow::Result<BTreeMap<String, bool>> {
    let mut alerts = server::alerts(prometheus).await?;
    alerts.remove("SuggestAgreementDrop");
    Ok(alerts)
}

/// Sends requests of users, one after the other, and ignores the responses.
async fn visit(gateway: SocketAddr, client: i64) {
    for number in (client..).step_by(4) {
        let first = number * 7 % (TRANSACTIONS - 1) + 1;
        let request = suggest(&format!("user-{number}"), request_body([first, first + 1])).unwrap();
        let _whatever = Client::once(gateway, Protocol::H1, request).await;
        sleep(Duration::from_millis(20)).await;
    }
}

/// Case 14: on a night without traffic SuggestAgreementDrop fires in Prometheus, since its query is older than
/// Perch; a real Alertmanager passes it on to nobody while NothingToCompare fires, and again once that has ended.
#[tokio::test]
async fn a_night_without_traffic_notifies_nobody() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let address = Ports::free()?.address(Part::Alertmanager);
    let config = dir.path().join("alertmanager.yml");
    let root = Checkout::find()?.root().to_path_buf();
    std::fs::write(&config, server::rendered(&root, "alertmanager.yml.j2", |_| address, dir.path(), "5s")?)?;
    let _alertmanager = tokio::process::Command::new("alertmanager")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.path={}", dir.path().join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .args(["--cluster.listen-address=", "--log.level=error"])
        .kill_on_drop(true)
        .spawn()?;
    let send_to_alertmanager = async |request| Client::once(address, Protocol::H1, request).await;
    eventually("Alertmanager is ready", || async {
        let response = send_to_alertmanager(get("/-/ready")?).await?;
        ensure!(response.status == 200, "{}", response.status);
        Ok(())
    })
    .await?;

    let tell = async |quiet: bool| -> anyhow::Result<()> {
        // Without an end an alert goes on; with one in the past it is over.
        let (begun, over) = ("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z");
        let labels = serde_json::json!({"alertname": "NothingToCompare", "severity": "info"});
        let silence = if quiet {
            serde_json::json!({"labels": labels})
        } else {
            serde_json::json!({"labels": labels, "startsAt": begun, "endsAt": over})
        };
        let drop = serde_json::json!({"labels": {"alertname": "SuggestAgreementDrop", "severity": "warning"}});
        let response =
            send_to_alertmanager(post("/api/v2/alerts", serde_json::json!([drop, silence]).to_string())?).await?;
        ensure!(response.status == 200, "{}", response.status);
        Ok(())
    };
    let told = async |name: &str| -> anyhow::Result<serde_json::Value> {
        let all = send_to_alertmanager(get("/api/v2/alerts")?).await?.json()?;
        let found = all.as_array().into_iter().flatten().find(|alert| alert["labels"]["alertname"] == name).cloned();
        found.ok_or_else(|| anyhow::anyhow!("no {name} in {all}"))
    };
    tell(true).await?;
    eventually("the quiet night's alert is suppressed", || async {
        let (drop, quiet) = (told("SuggestAgreementDrop").await?, told("NothingToCompare").await?);
        ensure!(drop["status"]["state"] == "suppressed", "{drop}");
        ensure!(quiet["receivers"] == serde_json::json!([{"name": "nobody"}]), "{quiet}");
        Ok(())
    })
    .await?;
    tell(false).await?;
    eventually("with traffic it is passed on", || async {
        let drop = told("SuggestAgreementDrop").await?;
        ensure!(drop["status"]["state"] == "active" && drop["receivers"][0]["name"] == "perch", "{drop}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_of_rules_and_dashboard_finds_something_under_traffic() -> anyhow::Result<()> {
    let watched = Watched::start().await?;
    let queries = queries::all(Checkout::find()?.root())?;
    let queries = queries.iter().map(shorten::query).collect::<anyhow::Result<Vec<_>>>()?;
    ensure!(queries.len() > 50, "only {} queries found", queries.len());
    watched
        .wait_until(async |prometheus| {
            let mut faults = Vec::new();
            for query in &queries {
                faults.extend(server::fault(prometheus, query, "15s").await?);
            }
            ensure!(faults.is_empty(), "{} of {} queries:\n{}", faults.len(), queries.len(), faults.join("\n"));
            Ok(())
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_a_part_makes_exactly_its_alerts_fire_and_its_return_ends_them() -> anyhow::Result<()> {
    let mut watched = Watched::start().await?;
    watched.wait_until_only_these_alerts_fire("nothing was killed", &[]).await?;
    let cases: [(Part, &[&str]); 5] = [
        (Part::Alertmanager, &["AlertmanagerDown"]),
        (Part::Console, &["GuardSilent"]),
        (Part::Gateway, &["GatewayDown"]),
        // The application serves the canary's users too: no client gets a response, and there is nothing to compare.
        (Part::Rules, &["ClientErrorsHigh", "NothingToCompare"]),
        (Part::Scorer, &["FallbackRateHigh", "ModelUnavailable", "ScorerDown", "ComparisonsMissing"]),
    ];
    for (part, expected) in cases {
        watched.kill(part);
        watched.wait_until_only_these_alerts_fire(&format!("{part:?} was killed"), expected).await?;
        watched.bring_back(part).await?;
        watched.wait_until_no_alert(&format!("{part:?} is back")).await?;
    }
    Ok(())
}
