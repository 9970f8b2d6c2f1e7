//! The steps of the rollout, each with what was wanted and what was seen.

use std::collections::BTreeSet;
use std::time::Duration;

use contract::ports::Part;
use contract::share::Share;
use stack::Stack;

use super::counts::{self, Counts, nonzero};
use super::promises::Promises;
use super::set_share;
use super::tally::{Tally, listed, millis};
use super::traffic::Traffic;

const NO_ERRORS: &str = "no client met an error";
const ONE_ARM: &str = "a user keeps their side while the share stays";
const ONLY_ADDED: &str = "a growing share only adds users";
const FORETOLD: &str = "every user is on the side that the pseudonym foretells";
const NEAR: &str = "the share seen is the share wanted";
const BOOKS: &str = "requests = observed + dropped + skipped, and items = True + False + None";
const FAST_FALLBACK: &str = "a dead scorer costs a client less than a second";
const BACK: &str = "after the rollback nobody gets the model's answer";

/// Traffic, and who was inside at the step before.
#[derive(Debug)]
pub(crate) struct Walk {
    traffic: Traffic,
    inside: BTreeSet<u32>,
    counts: Counts,
}

impl Walk {
    pub(crate) fn new(traffic: Traffic) -> Self {
        Self { traffic, inside: BTreeSet::new(), counts: Counts::default() }
    }

    /// One step up.
    pub(crate) async fn step(&mut self, stack: &Stack, share: Share, promises: &mut Promises) -> anyhow::Result<()> {
        say!("\nShare {share}: {} requests of {} users", self.traffic.total(), self.traffic.users);
        set_share(stack, share).await?;
        self.counts = counts::settled(stack).await?;
        let replies = self.traffic.drive(&stack.gateway_url(), "sending", async |_| Ok(())).await?;
        let tally = Tally::of(replies);
        self.show(stack, share, &tally, promises).await?;

        let left = self.inside.difference(&tally.inside).count();
        say!("  against the ramp    {left} users left the model's side as the share grew");
        promises.check(ONLY_ADDED, left == 0, format!("{left} users left at {share}"));
        self.inside = tally.inside;
        Ok(())
    }

    /// At the share as it stands the scorer is killed, stays away for a while, and is started again.
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
        say!("  slowest answer      {} ms", millis(tally.slowest));
        promises.check(FAST_FALLBACK, tally.slowest < 1_000_000, format!("{} ms", millis(tally.slowest)));
        // Before the rollback the gateway must have taken the scorer back, or the next step would show only fallbacks.
        tokio::time::sleep(Duration::from_secs(2)).await;
        stack.wait_ready(Part::Gateway).await?;
        Ok(())
    }

    /// To 0 at once.
    pub(crate) async fn roll_back(&mut self, stack: &Stack, promises: &mut Promises) -> anyhow::Result<()> {
        say!("\nRollback to 0%");
        set_share(stack, Share::OFF).await?;
        self.counts = counts::settled(stack).await?;
        let replies = self.traffic.drive(&stack.gateway_url(), "sending", async |_| Ok(())).await?;
        let tally = Tally::of(replies);
        self.show(stack, Share::OFF, &tally, promises).await?;
        promises.check(BACK, tally.inside.is_empty(), format!("{} users still did", tally.inside.len()));
        Ok(())
    }

    async fn show(&self, stack: &Stack, share: Share, tally: &Tally, promises: &mut Promises) -> anyhow::Result<()> {
        let now = counts::settled(stack).await?;
        let counted = now.since(&self.counts);
        let users = f64::from(self.traffic.users);
        let seen = tally.inside.len() as f64 / users;
        let foretold = self.foretold(stack, share)?;
        let surprises = tally.inside.symmetric_difference(&foretold).count();
        let wavering = tally.wavering();

        say!(
            "  share               wanted {share}, seen {:.2}% ({} of {users} users)",
            seen * 100.0,
            tally.inside.len()
        );
        say!(
            "  users               {wavering} changed side within the step, {surprises} not where their pseudonym foretells"
        );
        say!("  answers             rules {}, model {}, fallbacks {}", tally.rules, tally.model, tally.fallen_back());
        if tally.fallen_back() > 0 {
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
        say!("  latency p50 / p99   rules {}, model {}", tally.rule_latency(), tally.model_latency());

        promises.check(NO_ERRORS, tally.failed() == 0, listed(&tally.errors));
        promises.check(ONE_ARM, wavering == 0, format!("{wavering} users changed side at {share}"));
        promises.check(FORETOLD, surprises == 0, format!("{surprises} users at {share}"));
        // Four standard deviations of a draw of that many users, exact at 0 and at 100%.
        let wanted = share.fraction();
        let slack = 4.0 * (wanted * (1.0 - wanted) / users).sqrt();
        promises.check(NEAR, (seen - wanted).abs() <= slack, format!("{:.2}% at {share}", seen * 100.0));
        let balanced = counted.imbalance().is_none() && counted.intercepted == tally.requests as f64;
        let evidence =
            counted.imbalance().unwrap_or_else(|| format!("{} sent, {} counted", tally.requests, counted.intercepted));
        promises.check(BOOKS, balanced, evidence);
        Ok(())
    }

    fn foretold(&self, stack: &Stack, share: Share) -> anyhow::Result<BTreeSet<u32>> {
        let mut inside = BTreeSet::new();
        for user in 0..self.traffic.users {
            if share.holds(stack.bucket(&Traffic::identity(user))?) {
                inside.insert(user);
            }
        }
        Ok(inside)
    }
}
