//! The rollout by hand: one step at a time, each checked from the clients' replies and from the gateway's counters.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use contract::ports::Part;
use contract::share::{self, Share};
use stack::Stack;

use super::counts::{self, Counts, nonzero};
use super::promises::Promises;
use super::tally::{Tally, listed, millis};
use super::traffic::Traffic;

const NO_ERRORS: &str = "no client met an error";
const ONE_ARM: &str = "a user keeps the same arm while the share is constant";
const ONLY_ADDED: &str = "a growing share only adds users";
const EXPECTED_ARM: &str = "every user is in the arm that their bucket gives";
const NEAR: &str = "the measured share is the configured share";
const ACCOUNTED: &str = "requests = observed + dropped + skipped, and items = agree + disagree + not compared";
const FAST_FALLBACK: &str = "a dead scorer delays a client by less than a second";
const BACK: &str = "after the rollback every client gets the baseline";

/// The traffic, and the users in the canary at the step before.
#[derive(Debug)]
pub(crate) struct ManualRollout {
    traffic: Traffic,
    canary: BTreeSet<u32>,
    counts: Counts,
}

impl ManualRollout {
    pub(crate) fn new(traffic: Traffic) -> Self {
        Self { traffic, canary: BTreeSet::new(), counts: Counts::default() }
    }

    /// One step up.
    pub(crate) async fn step(&mut self, stack: &Stack, share: Share, promises: &mut Promises) -> anyhow::Result<()> {
        say!("\nShare {share}: {} requests of {} users", self.traffic.total(), self.traffic.users);
        set_share(stack, share).await?;
        self.counts = counts::settled(stack).await?;
        let replies = self.traffic.drive(&stack.gateway_url(), "sending", async |_| Ok(())).await?;
        let tally = Tally::of(replies);
        self.show(stack, share, &tally, promises).await?;

        let left = self.canary.difference(&tally.canary).count();
        say!("  stickiness          {left} users left the canary as the share grew");
        promises.check(ONLY_ADDED, left == 0, format!("{left} users left at {share}"));
        self.canary = tally.canary;
        Ok(())
    }

    /// Kills the scorer under load at the current share, and starts it again a while later.
    pub(crate) async fn kill_scorer_under_load(
        &mut self,
        stack: &mut Stack,
        promises: &mut Promises,
    ) -> anyhow::Result<()> {
        let share = stack.share().await?.unwrap_or(Share::OFF);
        let total = self.traffic.total();
        say!("\nShare {share}, the scorer killed (SIGKILL) after a third of {total} requests and back after another");
        self.counts = counts::settled(stack).await?;
        let (killed, back) = (total / 3, total / 3 * 2);
        let gateway = stack.gateway_url();
        let replies = self
            .traffic
            .drive(&gateway, "sending", async |sent| {
                if sent == killed {
                    stack.kill(Part::Scorer);
                } else if sent == back {
                    stack.launch(Part::Scorer)?;
                }
                Ok(())
            })
            .await?;
        stack.wait_ready(Part::Scorer).await?;
        let tally = Tally::of(replies);
        self.show(stack, share, &tally, promises).await?;
        say!("  slowest response    {} ms", millis(tally.slowest));
        promises.check(FAST_FALLBACK, tally.slowest < 1_000_000, format!("{} ms", millis(tally.slowest)));
        // Before the rollback the gateway must have taken the scorer back, or the next step would show only fallbacks.
        tokio::time::sleep(Duration::from_secs(2)).await;
        stack.wait_ready(Part::Gateway).await?;
        Ok(())
    }

    /// Sets the share to 0 at once.
    pub(crate) async fn roll_back(&mut self, stack: &Stack, promises: &mut Promises) -> anyhow::Result<()> {
        say!("\nRollback to 0%");
        set_share(stack, Share::OFF).await?;
        self.counts = counts::settled(stack).await?;
        let replies = self.traffic.drive(&stack.gateway_url(), "sending", async |_| Ok(())).await?;
        let tally = Tally::of(replies);
        self.show(stack, Share::OFF, &tally, promises).await?;
        promises.check(BACK, tally.canary.is_empty(), format!("{} users got the candidate", tally.canary.len()));
        Ok(())
    }

    async fn show(&self, stack: &Stack, share: Share, tally: &Tally, promises: &mut Promises) -> anyhow::Result<()> {
        let now = counts::settled(stack).await?;
        let counted = now.since(&self.counts);
        let users = f64::from(self.traffic.users);
        let measured = tally.canary.len() as f64 / users;
        let expected_canary = self.expected_canary(stack, share)?;
        let misplaced = tally.canary.symmetric_difference(&expected_canary).count();
        let users_in_both_arms = tally.users_in_both_arms();

        say!(
            "  share               configured {share}, measured {:.2}% ({} of {users} users)",
            measured * 100.0,
            tally.canary.len()
        );
        say!(
            "  users               {users_in_both_arms} changed arm within the step, {misplaced} not in the arm that \
             their bucket gives"
        );
        say!(
            "  responses           baseline {}, candidate {}, fallbacks {}",
            tally.baseline,
            tally.candidate,
            tally.fallback_count()
        );
        if tally.fallback_count() > 0 {
            say!("  fallbacks by reason {}", listed(&tally.fallbacks));
        }
        say!("  client errors       {}", listed(&tally.errors));
        say!("  agreement           {}", counted.agreement());
        say!(
            "  accounting          {:.0} requests:{}; {:.0} items",
            counted.intercepted,
            nonzero(&counted.outcomes),
            counted.items()
        );
        say!("  latency p50 / p99   baseline {}, candidate {}", tally.baseline_latency(), tally.candidate_latency());

        promises.check(NO_ERRORS, tally.failed() == 0, listed(&tally.errors));
        promises.check(ONE_ARM, users_in_both_arms == 0, format!("{users_in_both_arms} users changed arm at {share}"));
        promises.check(EXPECTED_ARM, misplaced == 0, format!("{misplaced} users were not at {share}"));
        // Four standard deviations of a draw of that many users, exact at 0 and at 100%.
        let configured = share.fraction();
        let slack = 4.0 * (configured * (1.0 - configured) / users).sqrt();
        promises.check(NEAR, (measured - configured).abs() <= slack, format!("{:.2}% at {share}", measured * 100.0));
        let balanced = counted.imbalance().is_none() && counted.intercepted == tally.requests as f64;
        let evidence =
            counted.imbalance().unwrap_or_else(|| format!("{} sent, {} counted", tally.requests, counted.intercepted));
        promises.check(ACCOUNTED, balanced, evidence);
        Ok(())
    }

    fn expected_canary(&self, stack: &Stack, share: Share) -> anyhow::Result<BTreeSet<u32>> {
        let mut canary = BTreeSet::new();
        for user in 0..self.traffic.users {
            if share.includes(stack.bucket(&Traffic::identity(user))?) {
                canary.insert(user);
            }
        }
        Ok(canary)
    }
}

/// Waits until `share` holds: in Envoy's runtime, from which the native module takes it at once, and in the WebAssembly
/// module's workers, of which those that sleep at share 0 are woken by requests.
async fn set_share(stack: &Stack, share: Share) -> anyhow::Result<()> {
    stack.set_share(share).await?;
    let end = Instant::now() + Duration::from_secs(5);
    while stack.share().await? != Some(share) {
        anyhow::ensure!(
            Instant::now() < end,
            "setting {}={share}: Envoy still holds another value after 5 s",
            share::RUNTIME_KEY
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let url = format!("{}/ml/suggestions", stack.gateway_url());
    // Each over a connection of its own, so that they reach every worker.
    let http = reqwest::Client::builder().pool_max_idle_per_host(0).build()?;
    let set = Instant::now();
    while !stack.native() && set.elapsed() < Duration::from_nanos(filter::decision::shares::STALE_NS) {
        http.post(&url).body("{}").send().await.context("waking the gateway's workers")?;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
