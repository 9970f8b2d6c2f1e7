//! A Prometheus of the test's own, and questions to any Prometheus.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use anyhow::Context as _;
use minijinja::{Environment, UndefinedBehavior, context};
use serde_json::Value;
use stack::Part;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::queries::{self, Kind, Query};
use super::{selectors, shorten};
use crate::client::{Client, Protocol, get};
use crate::eventually::eventually;

/// A template of `prometheus/`, filled in for parts at `address_of`.
///
/// # Errors
/// When it uses a name that is not there.
pub fn rendered(
    root: &Path,
    template: &str,
    address_of: impl Fn(Part) -> SocketAddr,
    rules: &Path,
    interval: &str,
) -> anyhow::Result<String> {
    let text = fs::read_to_string(root.join("prometheus").join(template))?;
    let port = |part| address_of(part).port();
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_template(template, &text)?;
    Ok(environment.get_template(template)?.render(context! {
        host => address_of(Part::Admin).ip().to_string(),
        ports => context! {
            admin => port(Part::Admin),
            scorer => port(Part::Scorer),
            console => port(Part::Console),
            alertmanager => port(Part::Alertmanager),
        },
        rules => rules.to_string_lossy(),
        hook_path => contract::alerts::HOOK_PATH,
        hook_token_file => rules.join("token").to_string_lossy(),
        scrape_interval => interval,
        evaluation_interval => interval,
    })?)
}

/// A running Prometheus that reads a stack's metrics every second, with the repository's rules, shortened. Ends when
/// dropped.
#[derive(Debug)]
pub struct Prometheus {
    address: SocketAddr,
    _child: Child,
    _dir: TempDir,
}

impl Prometheus {
    /// Starts it at `address`, for the stack whose parts are at `address_of`.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(
        root: &Path,
        address: SocketAddr,
        address_of: impl Fn(Part) -> SocketAddr,
    ) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let rules = dir.path().join("rules");
        fs::create_dir(&rules)?;
        for file in queries::files(&root.join("prometheus/rules"), "yml")? {
            let short = shorten::rules(&fs::read_to_string(&file)?)?;
            fs::write(rules.join(file.file_name().context("a rule file without name")?), short)?;
        }
        let config = dir.path().join("prometheus.yml");
        fs::write(&config, rendered(root, "prometheus.yml.j2", address_of, &rules, "1s")?)?;
        let log = fs::File::create(dir.path().join("log"))?;
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("starting prometheus (Debian package `prometheus`)")?;
        let started = Self { address, _child: child, _dir: dir };
        eventually("Prometheus is ready", || async {
            let response = Client::once(address, Protocol::H1, get("/-/ready")?).await?;
            anyhow::ensure!(response.status == 200, "{}", response.status);
            Ok(())
        })
        .await?;
        Ok(started)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The series that `expr` gives now.
///
/// # Errors
/// When Prometheus refuses it.
pub async fn run_query(prometheus: SocketAddr, expr: &str) -> anyhow::Result<Vec<Value>> {
    let response = fetch(prometheus, &format!("/api/v1/query?query={}", percent_encoded(expr))).await?;
    match response.pointer("/data/result") {
        Some(Value::Array(series)) => Ok(series.clone()),
        _ => anyhow::bail!("{expr}: {response}"),
    }
}

/// The names of the alerts whose condition holds now, with whether each fires or still waits.
///
/// # Errors
/// When Prometheus does not respond.
pub async fn alerts(prometheus: SocketAddr) -> anyhow::Result<BTreeMap<String, bool>> {
    let response = fetch(prometheus, "/api/v1/alerts").await?;
    let alerts = response.pointer("/data/alerts").and_then(Value::as_array).context("no list of alerts")?;
    let state = |alert: &Value| {
        let name = alert.pointer("/labels/alertname")?.as_str()?.to_owned();
        Some((name, alert.get("state")?.as_str()? == "firing"))
    };
    Ok(alerts.iter().filter_map(state).collect())
}

async fn fetch(prometheus: SocketAddr, path: &str) -> anyhow::Result<Value> {
    Client::once(prometheus, Protocol::H1, get(path)?).await?.json()
}

/// What is wrong with `query` on a Prometheus that has seen traffic: it is refused, or it finds nothing. Where finding
/// nothing means that all is well, each of its selectors has to find something instead.
///
/// # Errors
/// When Prometheus does not respond.
pub async fn fault(prometheus: SocketAddr, query: &Query, window: &str) -> anyhow::Result<Option<String>> {
    let expr = query.resolved(window);
    let found = match run_query(prometheus, &expr).await {
        Ok(found) => found,
        Err(refusal) => return Ok(Some(format!("{}: {refusal:#}", query.place))),
    };
    match query.kind {
        Kind::Record(_) | Kind::Panel if found.is_empty() => Ok(Some(format!("{}: nothing from {expr}", query.place))),
        Kind::Record(_) | Kind::Panel => Ok(None),
        Kind::Alert(_) | Kind::Annotation => {
            for selector in selectors::of(&expr)? {
                // ALERTS exists only while some alert is pending or fires.
                let may_be_empty = selector.absent || selector.metric == "ALERTS";
                if !may_be_empty && run_query(prometheus, &selector.probe).await?.is_empty() {
                    return Ok(Some(format!("{}: nothing from {}", query.place, selector.probe)));
                }
            }
            Ok(None)
        }
    }
}

fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;

    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}
