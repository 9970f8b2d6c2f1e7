//! The real Envoy with the built filter, between a rules backend and a scorer that respond by script.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use contract::batch_result::{self, BatchResult};
use contract::frame::{self, Batch, Encoding};
use contract::headers;
use contract::names::{Agree, Arm, Cohort, NotCompared};
use contract::response::{self, ResponseSchema};
use contract::series::{BATCH, INTERCEPTED, OBSERVATION};
use contract::share::{RUNTIME_KEY, Share};
use http::Request;
use serde_json::{Value, json};
use stack::{Builder, Scrape, Stack};

use crate::changes::{self, Change};
use crate::channel_body::ChannelBody;
use crate::client::{Client, ClientResponse, Protocol, request_body, suggest};
use crate::eventually::eventually;
use crate::upstream::{Received, Script, Upstream};

/// The version that the scripted model claims.
pub const MODEL_VERSION: &str = "scripted-1";
/// What the scripted rules say of every transaction.
pub const BASELINE_LABEL: &str = "groceries";
/// What the scripted model says of every transaction.
pub const CANDIDATE_LABEL: &str = "coffee";

/// A gateway between two scripted sides.
pub struct ScriptedStack {
    /// The running Envoy.
    pub stack: Stack,
    /// In the rules' place.
    pub rules: Upstream,
    /// In the scorer's place: live responses and observations.
    pub scorer: Upstream,
}

impl ScriptedStack {
    /// Starts with what `change` makes of the defaults: application and candidate respond as they should, nobody is in
    /// the canary.
    ///
    /// # Errors
    /// When Envoy or the filter's module is missing (the error says how to get it), or Envoy does not start.
    pub async fn start(change: impl FnOnce(Builder) -> Builder) -> anyhow::Result<Self> {
        let rules = Upstream::start(|request| Script::json(200, items(request, BASELINE_LABEL))).await?;
        let scorer = Upstream::start(with_observer(good_response)).await?;
        let builder = Stack::builder()?.rules_at(rules.address()).scorer_at(scorer.address());
        let stack = change(builder).start().await?;
        wait_for_shares(&stack).await?;
        Ok(Self { stack, rules, scorer })
    }

    /// Sets the share and waits until it holds on every worker: the native module's know it when it is set, a
    /// WebAssembly worker two seconds later at the latest where it has traffic.
    ///
    /// # Errors
    /// When Envoy does not respond.
    pub async fn set_share(&self, share: Share) -> anyhow::Result<()> {
        self.set_runtime(RUNTIME_KEY, &share.to_runtime()).await
    }

    /// As [`ScriptedStack::set_share`], for any key.
    ///
    /// # Errors
    /// When Envoy does not respond.
    pub async fn set_runtime(&self, key: &str, value: &str) -> anyhow::Result<()> {
        self.stack.admin().set_runtime(key, value).await?;
        if self.stack.native() {
            return Ok(());
        }
        // A worker without traffic may sleep, so it is kept awake.
        let before = self.scrape().await?.sum(INTERCEPTED, &[]);
        let (set, mut sent) = (tokio::time::Instant::now(), 0.0);
        while set.elapsed() < MAX_SHARE_COPY_AGE {
            self.send(suggest("somebody", request_body([1]))?).await?;
            sent += 1.0;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.settled(before + sent).await
    }

    /// Writes the disk layer as a ConfigMap mount does: a new directory, then the link is renamed over the old one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_disk_layer(&self, version: &str, share: Share) -> anyhow::Result<()> {
        let link = self.stack.runtime_link();
        let parent = link.parent().context("the link has no parent")?;
        let dir = parent.join(version);
        std::fs::create_dir_all(dir.join("perch"))?;
        std::fs::write(dir.join("perch").join(RUNTIME_KEY), share.to_runtime())?;
        let fresh = parent.join("fresh");
        std::os::unix::fs::symlink(version, &fresh)?;
        Ok(std::fs::rename(fresh, link)?)
    }

    /// Waits until `requests` are counted, and every observation of one has reached the scorer.
    async fn settled(&self, requests: f64) -> anyhow::Result<()> {
        eventually("all observations are counted", || async {
            let scrape = self.scrape().await?;
            let [intercepted, ended] = [INTERCEPTED, OBSERVATION].map(|metric| scrape.sum(metric, &[]));
            anyhow::ensure!(intercepted >= requests && intercepted == ended, "{ended} of {requests} ended");
            let [sent, over] = ["sent", "answered"].map(|result| scrape.sum(BATCH, &[("result", result)]));
            anyhow::ensure!(sent == over, "{over} of {sent} batches are answered");
            Ok(())
        })
        .await
    }

    /// As [`ScriptedStack::start`], with everybody in the canary.
    ///
    /// # Errors
    /// As [`ScriptedStack::start`].
    pub async fn all_canary() -> anyhow::Result<Self> {
        Self::start(|builder| builder.share(Share::ALL)).await
    }

    /// The candidate responds to live requests by `script` from now on; observations get their results.
    pub fn candidate_responds(&self, script: Script) {
        self.scorer.respond_with(with_observer(move |_| script.clone()));
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.stack.gateway()
    }

    /// One request over HTTP/1.1 on a connection of its own.
    ///
    /// # Errors
    /// When the response is not whole.
    pub async fn send(&self, request: Request<ChannelBody>) -> anyhow::Result<ClientResponse> {
        Client::once(self.address(), Protocol::H1, request).await
    }

    /// The same request straight to the rules.
    ///
    /// # Errors
    /// When the response is not whole.
    pub async fn send_to_application(&self, request: Request<ChannelBody>) -> anyhow::Result<ClientResponse> {
        Client::once(self.rules.address(), Protocol::H1, request).await
    }

    /// Envoy's metrics now.
    ///
    /// # Errors
    /// When Envoy does not respond.
    pub async fn scrape(&self) -> anyhow::Result<Scrape> {
        Ok(self.stack.scrape().await?)
    }

    /// Waits until exactly `expected` has moved since `before` under `prefixes`.
    ///
    /// # Errors
    /// Shows what moved instead.
    pub async fn expect_changes(
        &self,
        before: &Scrape,
        prefixes: &[&str],
        expected: &[Change<'_>],
    ) -> anyhow::Result<()> {
        eventually("the counters", || async { changes::expect(before, &self.scrape().await?, prefixes, expected) })
            .await
    }

    /// The observations that the scorer has been sent.
    ///
    /// # Errors
    /// When a batch cannot be parsed.
    pub fn observations(&self) -> anyhow::Result<Vec<RecordedObservation>> {
        let mut seen = Vec::new();
        for batch in self.scorer.received().iter().filter(|request| request.path == frame::PATH && request.whole) {
            for observation in Batch::parse(&batch.body)?.observations {
                seen.push(RecordedObservation {
                    assigned: observation.assigned,
                    served: observation.served,
                    fallback: observation.fallback,
                    bucket: observation.bucket.map(|bucket| bucket.to_string()),
                    cohort: observation.cohort,
                    status: observation.status,
                    encoding: observation.encoding,
                    baseline: observation.baseline.to_vec(),
                    candidate: observation.candidate.map(<[u8]>::to_vec),
                });
            }
        }
        Ok(seen)
    }

    /// The live questions that the scorer has been asked.
    #[must_use]
    pub fn candidate_requests(&self) -> Vec<Received> {
        self.scorer.received().into_iter().filter(|request| request.path != frame::PATH).collect()
    }

    /// A user in the canary at `share`, or outside of it.
    ///
    /// # Errors
    /// When there is no such user among many.
    pub fn user(&self, share: Share, inside: bool) -> anyhow::Result<String> {
        for number in 0..100_000 {
            let user = format!("user-{number}");
            if share.includes(self.stack.bucket(&user)?) == inside {
                return Ok(user);
            }
        }
        anyhow::bail!("no user is {} the canary at {share}", if inside { "in" } else { "outside of" })
    }
}

impl Drop for ScriptedStack {
    /// The test harness shows it only where a test fails.
    #[allow(clippy::print_stdout)]
    fn drop(&mut self) {
        println!("{}", self.stack.logs());
    }
}

/// A worker's copy of the shares is no older than this where it has traffic or a canary; an older one gives nobody the
/// candidate.
pub const MAX_SHARE_COPY_AGE: Duration = Duration::from_nanos(filter::decision::shares::STALE_NS);

/// Waits until each WebAssembly worker has its first copy of the shares.
///
/// # Errors
/// When Envoy does not respond.
pub async fn wait_for_shares(stack: &Stack) -> anyhow::Result<()> {
    if stack.plugin_config().is_none() || stack.native() {
        return Ok(());
    }
    eventually("the workers know the shares", || async {
        let scrape = stack.scrape().await?;
        if scrape.matching(INTERCEPTED, &[]).next().is_none() {
            // The filter was refused.
            return Ok(());
        }
        let [told, asked] = ["completed", "active"].map(|what| {
            scrape.sum(&format!("envoy_cluster_upstream_rq_{what}"), &[("envoy_cluster_name", "perch_admin")])
        });
        // Envoy's main thread has a VM too, which asks as the workers' do. A request counts as completed before the
        // filter has read what came.
        let all = f64::from(stack.concurrency() + 1);
        anyhow::ensure!(told >= all && asked == 0.0, "{told} of {all}");
        Ok(())
    })
    .await
}

/// An observation as it reached the scorer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedObservation {
    /// The user's arm.
    pub assigned: Arm,
    /// Whose response the client was given.
    pub served: Arm,
    /// The candidate failed.
    pub fallback: bool,
    /// The user's pseudonym.
    pub bucket: Option<String>,
    /// The user's cohort.
    pub cohort: Cohort,
    /// What the client got.
    pub status: u16,
    /// Of the application's response.
    pub encoding: Encoding,
    /// The application's response.
    pub baseline: Vec<u8>,
    /// The candidate's, where it is known.
    pub candidate: Option<Vec<u8>>,
}

/// The model's response to `request` as the scorer gives it.
#[must_use]
pub fn good_response(request: &Received) -> Script {
    candidate_script(200, items(request, CANDIDATE_LABEL))
}

/// A script with the headers of everything that the scorer writes.
#[must_use]
pub fn candidate_script(status: u16, body: impl Into<bytes::Bytes>) -> Script {
    Script::json(status, body).header(headers::SCORER, "1").header(headers::MODEL_VERSION, MODEL_VERSION)
}

/// Answers batches by counts as the scorer would, every readable item as `True`; everything else by `live`.
pub fn with_observer(
    live: impl Fn(&Received) -> Script + Send + Sync + 'static,
) -> impl Fn(&Received) -> Script + Send + Sync + 'static {
    let live = Arc::new(live);
    move |request| if request.path == frame::PATH { result_of(&request.body) } else { live(request) }
}

fn result_of(batch: &[u8]) -> Script {
    let Ok(batch) = Batch::parse(batch) else { return candidate_script(400, "not a batch") };
    let mut result = BatchResult { version: batch_result::VERSION, ..BatchResult::default() };
    for observation in &batch.observations {
        result.observations += 1;
        if !observation.success() {
            continue;
        }
        if observation.assigned == Arm::Baseline {
            result.available += 1;
        }
        match response::read(observation.given().1, &batch.schema) {
            Ok(items) => result.agree_true += u32::try_from(items.len()).unwrap_or(u32::MAX),
            Err(_) => *result.not_compared.entry(NotCompared::Unreadable).or_default() += 1,
        }
    }
    let label = BASELINE_LABEL.to_owned();
    result.labels = vec![batch_result::LabelCount { label, agree: Agree::True, items: result.agree_true }];
    match serde_json::to_vec(&result) {
        Ok(body) => candidate_script(200, body),
        Err(error) => candidate_script(500, error.to_string()),
    }
}

/// One item with `label` for each transaction of a question.
#[must_use]
pub fn items(request: &Received, label: &str) -> Vec<u8> {
    let request_body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
    let ids = request_body.get("txn_ids").and_then(Value::as_array).cloned().unwrap_or_default();
    let items: Vec<Value> = ids
        .iter()
        .map(|id| {
            let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
            json!({"txn_id": id, "event_id": id, "candidates": [{"label": label, "confidence": 0.9, "reasons": []}]})
        })
        .collect();
    json!({"items": items}).to_string().into_bytes()
}

/// How many items a response of the default shape has.
///
/// # Errors
/// When it has none of that shape.
pub fn item_count(response: &ClientResponse) -> anyhow::Result<usize> {
    let items = response::read(&response.body, &ResponseSchema::default());
    Ok(items.with_context(|| String::from_utf8_lossy(&response.body).into_owned())?.len())
}
