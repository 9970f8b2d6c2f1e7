//! The rollout by the guard: it takes a good model to 100%, and a bad one back to 0.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use contract::ports::Part;
use contract::series;
use contract::share::Share;
use serde_json::Value;
use stack::Stack;

use super::promises::Promises;
use super::tally::{Tally, listed};
use super::traffic::Traffic;
use super::{counts, models};

/// Like the plan of weeks that `perch ramp plan` prints, but for its times.
const PLAN: &str = "
steps: [10%, 50%, 100%]
minimum_time: 6s
minimum_requests: 1000
# Longer than Prometheus takes to scrape again.
settle_time: 6s
agreement: {tolerated_drop: 0.05}
# The demo's users have transactions of every year, those of the training's first months among them.
signals: {drift_at_most: null}
";
/// A ramp takes half a minute; a slow machine may take longer.
const RAMP_TIMEOUT: Duration = Duration::from_secs(120);

/// Rounds of traffic before the ramps, at most.
const MAX_WARM_ROUNDS: u32 = 12;
/// Part of a round's requests that the candidate may miss, well below what the plan's signal allows.
const WARM_ENOUGH: f64 = 0.02;

const NO_ERRORS: &str = "no client met an error";
const UP: &str = "the guard takes a good model to 100%";
const BACK: &str = "the guard stops a model with two labels swapped, and sets the share back to 0";

/// Two ramps under `traffic`, whose rounds should be short: the guard's status is read between them.
pub(crate) async fn run(stack: &Stack, traffic: &Traffic, promises: &mut Promises) -> anyhow::Result<()> {
    let guard = Guard::of(stack);
    warm_up(stack, traffic).await?;
    say!("\nA rollout that the guard drives, 10 → 50 → 100%, with times for a demo");
    guard.start("a good model", "baseline: {minimum_time: 6s, minimum_requests: 1000}").await?;
    let good =
        guard.watch(stack, traffic, promises, |status| status.share == Some(1.0) && status.agreement.is_some()).await?;
    promises.check(UP, good.share == Some(1.0), good.describe());
    let agreement = good.agreement.context("the guard reported no agreement")?.value;

    guard.perch(&["canary", "set", "off", "--reason", "a new model comes"]).await?;
    let (version, [one, other]) = models::deploy_swapped(&stack.registry())?;
    reload(stack).await?;
    say!("\nThe same for model {version}: {one} and {other} were mixed up in its training");
    let known = format!("baseline: {{agreement: {agreement}, minimum_time: 6s, minimum_requests: 500}}");
    guard.start("a bad model", &known).await?;
    let bad = guard.watch(stack, traffic, promises, |status| status.stopped.is_some()).await?;
    let share = stack.share().await?;
    let back = bad.stopped.is_some() && share == Some(Share::OFF);
    promises.check(BACK, back, format!("{}; Envoy holds {share:?}", bad.describe()));
    if let Some(reason) = &bad.stopped {
        say!("  stopped             {reason}");
    }
    say!("  the console         {} while it runs: share, evidence, audit log", stack.url(Part::Console));
    Ok(())
}

/// Traffic until the scorer has cached what it needs of these users: on a busy machine a cold store answers after the
/// deadline, and the guard rightly holds a ramp while the candidate often misses requests.
async fn warm_up(stack: &Stack, traffic: &Traffic) -> anyhow::Result<()> {
    let mut before = CandidateRequests::read(stack).await?;
    for _ in 0..MAX_WARM_ROUNDS {
        traffic.drive(&stack.gateway_url(), "warming up", async |_| Ok(())).await?;
        counts::settled(stack).await?;
        let now = CandidateRequests::read(stack).await?;
        if now.unanswered - before.unanswered <= (now.all - before.all) * WARM_ENOUGH {
            break;
        }
        before = now;
    }
    Ok(())
}

/// Requests to the candidate, and those of them without a response.
struct CandidateRequests {
    all: f64,
    unanswered: f64,
}

impl CandidateRequests {
    async fn read(stack: &Stack) -> anyhow::Result<Self> {
        let scrape = stack.scrape().await?;
        let unanswered = scrape.sum(series::PREDICT_REQUESTS, &[("available", "False")]);
        Ok(Self { all: scrape.sum(series::PREDICT_REQUESTS, &[]), unanswered })
    }
}

/// Makes the scorer load the model that the registry names now.
async fn reload(stack: &Stack) -> anyhow::Result<()> {
    let url = format!("{}/ml/v2/model/reload", stack.gateway_url());
    let token = contract::token::Token::from_file(&stack.console_token()?)?;
    let token = String::from_utf8_lossy(token.current());
    let response = reqwest::Client::new().post(&url).bearer_auth(token).send().await?;
    let (status, text) = (response.status(), response.text().await?);
    anyhow::ensure!(status.is_success(), "reloading the scorer's model by {url}: {status} {text}");
    Ok(())
}

/// The guard, driven by the operator's own command.
pub(crate) struct Guard {
    program: PathBuf,
    folder: PathBuf,
    runtime: PathBuf,
    admin: String,
    plan: PathBuf,
}

/// What `perch ramp status` reports.
#[derive(Debug, Default)]
pub(crate) struct GuardStatus {
    pub(crate) share: Option<f64>,
    pub(crate) stopped: Option<String>,
    agreement: Option<AgreementCheck>,
    last_change: Option<(u64, String)>,
}

/// The agreement check, where the guard had enough data for it.
#[derive(Debug, Clone, PartialEq)]
struct AgreementCheck {
    value: f64,
    reason: String,
}

impl Guard {
    pub(crate) fn of(stack: &Stack) -> Self {
        Self {
            program: stack.program("perch"),
            folder: stack.guard_folder(),
            runtime: stack.runtime_link(),
            admin: stack.url(Part::Admin),
            plan: stack.dir().join("plan.yaml"),
        }
    }

    /// Runs `perch` with these arguments and returns its output.
    pub(crate) async fn perch(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = tokio::process::Command::new(&self.program);
        command
            .args(arguments)
            .env("PERCH_GUARD_FOLDER", &self.folder)
            .env("PERCH_RUNTIME_LINK", &self.runtime)
            .env("PERCH_GATEWAYS", &self.admin)
            .env("PERCH_OPERATOR", "demo");
        let done = command.output().await.with_context(|| format!("running {}", self.program.display()))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        anyhow::ensure!(done.status.success(), "perch {}: {}", arguments.join(" "), text(&done.stderr));
        Ok(text(&done.stdout))
    }

    async fn start(&self, reason: &str, baseline: &str) -> anyhow::Result<()> {
        self.start_by(&format!("{PLAN}{baseline}\n"), reason).await
    }

    /// Starts a ramp by `plan`, in YAML.
    pub(crate) async fn start_by(&self, plan: &str, reason: &str) -> anyhow::Result<()> {
        std::fs::write(&self.plan, plan)?;
        let plan = self.plan.display().to_string();
        self.perch(&["ramp", "start", "--plan", &plan, "--reason", reason]).await.map(drop)
    }

    /// Sends traffic until the status fulfils `until`, the guard stops the ramp, or [`RAMP_TIMEOUT`] is over.
    async fn watch(
        &self,
        stack: &Stack,
        traffic: &Traffic,
        promises: &mut Promises,
        until: impl Fn(&GuardStatus) -> bool,
    ) -> anyhow::Result<GuardStatus> {
        let began = Instant::now();
        let mut reported = self.status().await?.last_change.map_or(0, |(number, _)| number);
        let mut last_check: Option<AgreementCheck> = None;
        loop {
            let tally = Tally::of(traffic.drive(&stack.gateway_url(), "sending", async |_| Ok(())).await?);
            promises.check(NO_ERRORS, tally.failed() == 0, listed(&tally.errors));
            let mut status = self.status().await?;
            // Just after a step the guard has no data yet; what moved it is the check before.
            status.agreement = status.agreement.or(last_check.take());
            last_check.clone_from(&status.agreement);
            if let Some((number, change)) = status.last_change.as_ref().filter(|(number, _)| *number > reported) {
                reported = *number;
                say!("  {:>3} s  {change}", began.elapsed().as_secs());
                if let Some(AgreementCheck { reason, .. }) =
                    status.agreement.as_ref().filter(|check| !change.contains(&check.reason))
                {
                    say!("         {reason}");
                }
            }
            if until(&status) || status.stopped.is_some() || began.elapsed() > RAMP_TIMEOUT {
                return Ok(status);
            }
        }
    }

    pub(crate) async fn status(&self) -> anyhow::Result<GuardStatus> {
        let text = self.perch(&["ramp", "status", "--json"]).await?;
        let all: Value = serde_json::from_str(&text).context("what `perch ramp status --json` prints")?;
        Ok(GuardStatus::of(&all))
    }
}

impl GuardStatus {
    fn of(all: &Value) -> Self {
        let text = |path: &str| all.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let checks = all.pointer("/report/decision/checks").and_then(Value::as_array);
        let agreement = checks
            .into_iter()
            .flatten()
            .find(|check| check.get("check").and_then(Value::as_str) == Some("agreement"))
            .and_then(|check| {
                let reason = check.get("reason").and_then(Value::as_str).unwrap_or_default().to_owned();
                Some(AgreementCheck { value: check.get("value")?.as_f64()?, reason })
            });
        let number = all.pointer("/last_change/number").and_then(Value::as_u64);
        let to = text("/last_change/to").and_then(|to| Share::from_runtime(&to));
        let change = to.map(|to| format!("set to {to}: {}", text("/last_change/reason").unwrap_or_default()));
        Self {
            share: all.pointer("/report/share").and_then(Value::as_f64),
            stopped: text("/report/latched/reason").or_else(|| text("/report/frozen/reason")),
            agreement,
            last_change: number.zip(change),
        }
    }

    pub(crate) fn describe(&self) -> String {
        let share = self.share.map_or_else(|| "unknown".to_owned(), |share| format!("{}%", share * 100.0));
        format!("share {share}, {}", self.stopped.as_deref().unwrap_or("not stopped"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_status_is_read_from_the_output_of_perch() {
        let status = GuardStatus::of(&json!({
            "report": {
                "share": 0.5, "latched": null, "frozen": null,
                "decision": {"checks": [{"check": "agreement", "value": 0.8, "reason": "80% of 900 requests"}]},
            },
            "last_change": {"number": 3, "event": "share_set", "from": "10", "to": "50", "reason": "every check passes"},
        }));
        assert_eq!((status.share, status.stopped.as_deref()), (Some(0.5), None));
        assert_eq!(status.agreement, Some(AgreementCheck { value: 0.8, reason: "80% of 900 requests".to_owned() }));
        assert_eq!(status.last_change, Some((3, "set to 50%: every check passes".to_owned())));
        let stopped = GuardStatus::of(&json!({"report": {"latched": {"at_ms": 1, "reason": "agreement has fallen"}}}));
        assert_eq!(stopped.stopped.as_deref(), Some("agreement has fallen"));
        let early =
            json!({"check": "agreement", "value": null, "reason": "no request has been compared at this step yet"});
        assert_eq!(GuardStatus::of(&json!({"report": {"decision": {"checks": [early]}}})).agreement, None);
    }
}
