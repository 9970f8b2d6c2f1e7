//! The last act: the guard takes a good model to 100%, and a bad one back to 0.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use contract::names;
use contract::ports::Part;
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
# The demo's users ask about transactions of every year, those of the training's first months among them.
signals: {drift_at_most: null}
";
/// A ramp takes half a minute; a slow machine may take longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// Rounds of traffic before the ramps, at most.
const WARM_ROUNDS: u32 = 12;
/// Part of a round for which there may be no model to ask, well below what the plan's signal allows.
const WARM_ENOUGH: f64 = 0.02;

const NO_ERRORS: &str = "no client met an error";
const UP: &str = "the guard takes a good model to 100%";
const BACK: &str = "the guard stops a model with two labels swapped, and sets the share back to 0";

/// Two ramps under the traffic of `traffic`, whose rounds should be short: the guard is looked at between them.
pub(crate) async fn act(stack: &Stack, traffic: &Traffic, promises: &mut Promises) -> anyhow::Result<()> {
    let guard = Guard::of(stack);
    warm(stack, traffic).await?;
    say!("\nA ramp that the guard drives, 10 → 50 → 100%, with times for a demo");
    guard.start("a good model", "baseline: {minimum_time: 6s, minimum_requests: 1000}").await?;
    let good =
        guard.watch(stack, traffic, promises, |seen| seen.share == Some(1.0) && seen.agreement.is_some()).await?;
    promises.check(UP, good.share == Some(1.0), good.words());
    let agreement = good.agreement.context("the guard has judged no agreement")?.value;

    guard.perch(&["canary", "set", "off", "--reason", "a new model comes"]).await?;
    let (version, [one, other]) = models::deploy_swapped(&stack.registry())?;
    reload(stack).await?;
    say!("\nThe same for model {version}: {one} and {other} were mixed up in its training");
    let known = format!("baseline: {{agreement: {agreement}, minimum_time: 6s, minimum_requests: 500}}");
    guard.start("a bad model", &known).await?;
    let bad = guard.watch(stack, traffic, promises, |seen| seen.stopped.is_some()).await?;
    let share = stack.share().await?;
    let held = bad.stopped.is_some() && share == Some(Share::OFF);
    promises.check(BACK, held, format!("{}; Envoy holds {share:?}", bad.words()));
    if let Some(reason) = &bad.stopped {
        say!("  stopped             {reason}");
    }
    say!("  the console         {} while it runs: share, evidence, audit log", stack.url(Part::Console));
    Ok(())
}

/// Traffic until the scorer has read what it needs of these users: on a busy machine it asks a cold store for longer than
/// it may, and the guard rightly holds a ramp while the model often cannot be asked.
async fn warm(stack: &Stack, traffic: &Traffic) -> anyhow::Result<()> {
    let mut before = Asked::read(stack).await?;
    for _ in 0..WARM_ROUNDS {
        traffic.drive(&stack.gateway_url(), "warming up", async |_| Ok(())).await?;
        counts::settled(stack).await?;
        let now = Asked::read(stack).await?;
        if now.in_vain - before.in_vain <= (now.all - before.all) * WARM_ENOUGH {
            break;
        }
        before = now;
    }
    Ok(())
}

/// Requests on which the model was asked, and those for which there was none to ask.
struct Asked {
    all: f64,
    in_vain: f64,
}

impl Asked {
    async fn read(stack: &Stack) -> anyhow::Result<Self> {
        let scrape = stack.scrape().await?;
        let in_vain = scrape.sum(names::PREDICT_REQUESTS, &[("available", "False")]);
        Ok(Self { all: scrape.sum(names::PREDICT_REQUESTS, &[]), in_vain })
    }
}

/// Lets the scorer take the model that the registry names now.
async fn reload(stack: &Stack) -> anyhow::Result<()> {
    let url = format!("{}/ml/v2/model/reload", stack.gateway_url());
    let token = contract::token::Token::from_file(&stack.console_token()?)?;
    let token = String::from_utf8_lossy(token.current());
    let answer = reqwest::Client::new().post(&url).bearer_auth(token).send().await?;
    let (status, text) = (answer.status(), answer.text().await?);
    anyhow::ensure!(status.is_success(), "the scorer did not take the new model: {status} {text}");
    Ok(())
}

/// The guard, by the operator's own command.
pub(crate) struct Guard {
    program: PathBuf,
    folder: PathBuf,
    runtime: PathBuf,
    admin: String,
    plan: PathBuf,
}

/// What the guard last said.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) share: Option<f64>,
    pub(crate) stopped: Option<String>,
    agreement: Option<Judged>,
    last_change: Option<(u64, String)>,
}

/// Agreement, where the guard had enough to judge it by.
#[derive(Debug, Clone, PartialEq)]
struct Judged {
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

    /// `perch` with these arguments; what it prints.
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

    /// Traffic until the guard says what is waited for, or stops, or takes too long; what it then says.
    async fn watch(
        &self,
        stack: &Stack,
        traffic: &Traffic,
        promises: &mut Promises,
        until: impl Fn(&Seen) -> bool,
    ) -> anyhow::Result<Seen> {
        let began = Instant::now();
        let mut told = self.look().await?.last_change.map_or(0, |(number, _)| number);
        let mut judged: Option<Judged> = None;
        loop {
            let tally = Tally::of(traffic.drive(&stack.gateway_url(), "sending", async |_| Ok(())).await?);
            promises.check(NO_ERRORS, tally.failed() == 0, listed(&tally.errors));
            let mut seen = self.look().await?;
            // Just after a step the guard has nothing to judge by; what moved it is what it judged before.
            seen.agreement = seen.agreement.or(judged.take());
            judged.clone_from(&seen.agreement);
            if let Some((number, words)) = seen.last_change.as_ref().filter(|(number, _)| *number > told) {
                told = *number;
                say!("  {:>3} s  {words}", began.elapsed().as_secs());
                if let Some(Judged { reason, .. }) =
                    seen.agreement.as_ref().filter(|judged| !words.contains(&judged.reason))
                {
                    say!("         {reason}");
                }
            }
            if until(&seen) || seen.stopped.is_some() || began.elapsed() > PATIENCE {
                return Ok(seen);
            }
        }
    }

    pub(crate) async fn look(&self) -> anyhow::Result<Seen> {
        let text = self.perch(&["ramp", "status", "--json"]).await?;
        let all: Value = serde_json::from_str(&text).context("what `perch ramp status --json` prints")?;
        Ok(Seen::of(&all))
    }
}

impl Seen {
    fn of(all: &Value) -> Self {
        let text = |path: &str| all.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let judgements = all.pointer("/report/decision/judgements").and_then(Value::as_array);
        let agreement = judgements
            .into_iter()
            .flatten()
            .find(|judgement| judgement.get("check").and_then(Value::as_str) == Some("agreement"))
            .and_then(|judgement| {
                let reason = judgement.get("reason").and_then(Value::as_str).unwrap_or_default().to_owned();
                Some(Judged { value: judgement.get("value")?.as_f64()?, reason })
            });
        let number = all.pointer("/last_change/number").and_then(Value::as_u64);
        let to = text("/last_change/to").and_then(|to| Share::from_runtime(&to));
        let change = to.map(|to| format!("{to}: {}", text("/last_change/reason").unwrap_or_default()));
        Self {
            share: all.pointer("/report/share").and_then(Value::as_f64),
            stopped: text("/report/latched/reason").or_else(|| text("/report/frozen/reason")),
            agreement,
            last_change: number.zip(change),
        }
    }

    pub(crate) fn words(&self) -> String {
        let share = self.share.map_or_else(|| "unknown".to_owned(), |share| format!("{}%", share * 100.0));
        format!("share {share}, {}", self.stopped.as_deref().unwrap_or("not stopped"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_guard_says_is_read_from_the_operators_command() {
        let seen = Seen::of(&json!({
            "report": {
                "share": 0.5, "latched": null, "frozen": null,
                "decision": {"judgements": [{"check": "agreement", "value": 0.8, "reason": "80% of 900 requests"}]},
            },
            "last_change": {"number": 3, "what": "set", "from": "10", "to": "50", "reason": "every check passes"},
        }));
        assert_eq!((seen.share, seen.stopped.as_deref()), (Some(0.5), None));
        assert_eq!(seen.agreement, Some(Judged { value: 0.8, reason: "80% of 900 requests".to_owned() }));
        assert_eq!(seen.last_change, Some((3, "50%: every check passes".to_owned())));
        let stopped = Seen::of(&json!({"report": {"latched": {"at_ms": 1, "reason": "agreement has fallen"}}}));
        assert_eq!(stopped.stopped.as_deref(), Some("agreement has fallen"));
        let early = json!({"check": "agreement", "value": null, "reason": "no judged request at this step yet"});
        assert_eq!(Seen::of(&json!({"report": {"decision": {"judgements": [early]}}})).agreement, None);
    }
}
