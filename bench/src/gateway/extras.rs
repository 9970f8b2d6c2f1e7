//! Measured beside the turns: the candidate alone, without a gateway; a candidate that never responds; idle gateways.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::variants::{self, Upstreams, Variant};
use crate::figures::Rounds;
use crate::latencies::{Latencies, percentile};
use crate::load::{ClientPool, Protocol, Target};
use crate::machine::{self, Cores};
use crate::traffic::{Exchange, Kind};

/// The length of each measurement.
const LENGTH: Duration = Duration::from_secs(10);

/// p50 and p99 in µs of the scorer's own responses at `rate` requests a second.
///
/// # Errors
/// When a response is missing, or the scorer cannot keep up.
pub(crate) async fn candidate_alone(scorer: SocketAddr, exchanges: &Arc<Vec<Exchange>>, rate: f64) -> Result<[f64; 2]> {
    let target = Target { address: scorer, protocol: Protocol::H2 };
    let mut latencies = Latencies::new()?;
    let kept_up =
        ClientPool::connect(target, exchanges.clone(), 16).await?.open_loop(rate, LENGTH, &mut latencies).await?;
    ensure!(kept_up, "measuring the candidate alone: the scorer cannot keep up with {rate:.0} requests a second");
    Ok([0.5, 0.99].map(|share| percentile(&latencies.all, share)))
}

/// Time that a canary request waits when the candidate never responds, in ms.
#[derive(Debug)]
pub(crate) struct Frozen {
    /// The filter's build.
    pub(crate) build: &'static str,
    /// How long the application takes.
    pub(crate) work_ms: u32,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) slowest: f64,
}

/// Clients that wait at the same time.
pub(crate) const CONCURRENT_CLIENTS: usize = 16;

/// Each build of the filter, with applications of each kind.
///
/// # Errors
/// When a response is not the application's.
pub(crate) async fn frozen(upstreams: Upstreams, cores: &Cores, kinds: &[Kind]) -> Result<Vec<Frozen>> {
    let mut found = Vec::new();
    for (build, stack, _silent) in variants::frozen(upstreams, cores).await? {
        for kind in kinds {
            let target = Target { address: stack.gateway(), protocol: Protocol::H1 };
            let mut clients = ClientPool::connect(target, Arc::new(kind.exchanges()), CONCURRENT_CLIENTS).await?;
            clients.warm_up().await?;
            let mut latencies = Latencies::new()?;
            clients.closed_loop(LENGTH / 2, &mut latencies).await?;
            ensure!(latencies.candidate.is_empty(), "a scorer that is frozen has responded");
            let [p50, p99, slowest] = [0.5, 0.99, 1.0].map(|share| percentile(&latencies.all, share) / 1e3);
            found.push(Frozen { build, work_ms: kind.work_ms, p50, p99, slowest });
        }
    }
    Ok(found)
}

impl Frozen {
    pub(crate) fn json(&self) -> Value {
        json!({
            "build": self.build,
            "work_ms": self.work_ms,
            "p50_ms": self.p50,
            "p99_ms": self.p99,
            "slowest_ms": self.slowest,
        })
    }
}

/// What idle gateways use: µs of CPU a second, one figure a round.
#[derive(Debug, Default)]
pub(crate) struct Idle(Vec<(&'static str, Rounds)>);

impl Idle {
    /// Measures the gateways of one round.
    ///
    /// # Errors
    /// When one has ended.
    pub(crate) async fn add(&mut self, variants: &[Variant]) -> Result<()> {
        // Work that the last requests left behind is done after this.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = || variants.iter().map(|variant| machine::cpu_ns(variant.pid)).collect::<Result<Vec<u64>>>();
        let before = now()?;
        tokio::time::sleep(LENGTH).await;
        if self.0.is_empty() {
            self.0 = variants.iter().map(|variant| (variant.key, Rounds::default())).collect();
        }
        for ((_, rounds), (after, before)) in self.0.iter_mut().zip(now()?.into_iter().zip(before)) {
            rounds.push(after.saturating_sub(before) as f64 / 1e3 / LENGTH.as_secs_f64());
        }
        Ok(())
    }

    /// What one gateway uses, and how much more that is than the one without a filter.
    pub(crate) fn of(&self, key: &str) -> Option<(&Rounds, Rounds)> {
        let of = |wanted: &str| self.0.iter().find(|(key, _)| *key == wanted).map(|(_, rounds)| rounds);
        let (mine, none) = (of(key)?, of("none")?);
        Some((mine, mine.less(none)))
    }

    /// By key: the figures, and how they compare with the gateway without a filter.
    pub(crate) fn json(&self) -> Value {
        let line = |(key, _): &(&'static str, Rounds)| {
            let (used, more) = self.of(key)?;
            Some(((*key).to_owned(), json!({ "us_a_second": used.json(), "over_none": more.json() })))
        };
        Value::Object(self.0.iter().filter_map(line).collect())
    }
}
