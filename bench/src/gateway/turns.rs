//! Measures the gateways of one benchmark round: each in short turns, between turns of the gateway without a filter.
//!
//! Other load on the machine changes a core's speed twofold from one second to the next. So a turn is short, before and
//! after each there is one of the gateway without a filter, and what a request costs and takes is compared with these
//! two: the rest of the round may be another machine. And two Envoys of one configuration can differ by a fifth for as
//! long as they run, so every round has Envoys of its own.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;

use super::case::Case;
use super::variants::Variant;
use crate::figures::Rounds;
use crate::latencies::{Latencies, percentile};
use crate::load::{ClientPool, Target};
use crate::machine;
use crate::traffic::Exchange;

/// Requests in flight at saturation.
const CLIENTS: usize = 32;
/// The rates of the open loop, as parts of what the gateway itself can handle: 70% of what it handles without a filter
/// is more than some variants can handle at all.
pub(crate) const LOADS: [f64; 2] = [0.3, 0.7];

/// The length of a turn, at saturation or at a steady rate.
const TURN: Duration = Duration::from_millis(300);
/// After every turn, so that the batches which it has left behind are its own and not the next one's: the filter's tick
/// (`limits.flush_ms`) and the way to the scorer and back. Its last batch is seldom full, for which a turn that is much
/// shorter than this would be charged as no gateway is whose traffic goes on. After one without a filter too: a core
/// that has slept serves the first requests more slowly, and a variant that never begins so would look faster.
const SETTLE_TIME: Duration = Duration::from_millis(250);

/// How many turns of each kind a variant takes in a round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turns {
    pub(crate) saturated: usize,
    /// At each steady rate; 0 where only the cost of a request is measured.
    pub(crate) steady: usize,
}

/// A variant's figures, one a round.
#[derive(Debug, Default, Clone)]
pub(crate) struct Figures {
    /// Requests a second at saturation.
    pub(crate) saturated: Rounds,
    /// The gateway's part of its core meanwhile, 0 to 1: well below 1 the load was the limit.
    pub(crate) busy: Rounds,
    /// µs of CPU a request at saturation.
    pub(crate) cpu: Rounds,
    /// The median of its turns' CPU a request over that of the turns without a filter around each.
    pub(crate) cpu_vs_none: Rounds,
    pub(crate) steady: [Steady; 2],
}

/// A variant's figures at a steady rate.
#[derive(Debug, Default, Clone)]
pub(crate) struct Steady {
    /// Requests a second.
    pub(crate) rate: Rounds,
    /// µs of CPU a request.
    pub(crate) cpu: Rounds,
    /// As at saturation.
    pub(crate) cpu_vs_none: Rounds,
    /// µs.
    pub(crate) p50: Rounds,
    pub(crate) p99: Rounds,
    pub(crate) p999: Rounds,
    /// p99 in µs of baseline responses, and of candidate responses.
    pub(crate) p99_baseline: Rounds,
    pub(crate) p99_candidate: Rounds,
    /// The medians of its turns' percentiles over those of the turns without a filter around each.
    pub(crate) p50_vs_none: Rounds,
    pub(crate) p99_vs_none: Rounds,
    /// The same of baseline responses.
    pub(crate) p50_baseline_vs_none: Rounds,
    pub(crate) p99_baseline_vs_none: Rounds,
}

/// One round of `case`: a turn of each variant at a time, the first one's (no filter) between any two. Adds a figure of
/// each kind to `figures`, which are in the variants' order.
///
/// # Errors
/// When a response is missing or is not a 200.
pub(crate) async fn round(
    case: Case,
    exchanges: &Arc<Vec<Exchange>>,
    variants: &[&Variant],
    turns: Turns,
    figures: &mut [Figures],
) -> Result<()> {
    ensure!(!variants.is_empty(), "no variant of these names");
    let mut loaded = Vec::new();
    for variant in variants {
        let target = Target { address: variant.stack.gateway(), protocol: case.protocol };
        let mut clients = ClientPool::connect(target, exchanges.clone(), CLIENTS).await?;
        clients.warm_up().await?;
        // Envoy's caches, and V8, which compiles what runs often once more.
        clients.closed_loop(2 * TURN, &mut Latencies::new()?).await?;
        loaded.push(LoadedVariant { variant, clients, capacity: f64::NAN });
    }
    let taken = take_turns(&mut loaded, turns.saturated, None).await?;
    for ((one, figures), taken) in loaded.iter_mut().zip(&mut *figures).zip(taken) {
        one.capacity = taken.latencies.rate();
        figures.saturated.push(one.capacity);
        figures.busy.push(taken.used_ns / 1e9 / taken.latencies.seconds);
        figures.cpu.push(taken.per_request());
        figures.cpu_vs_none.push(taken.vs_none.cpu.median());
    }
    if turns.steady > 0 {
        measure_open_loop_capacity(&mut loaded).await?;
    }
    for (number, load) in LOADS.into_iter().enumerate().filter(|_| turns.steady > 0) {
        let taken = take_turns(&mut loaded, turns.steady, Some(load)).await?;
        for (figures, taken) in figures.iter_mut().zip(taken) {
            if let Some(steady) = figures.steady.get_mut(number) {
                steady.add(&taken);
            }
        }
    }
    Ok(())
}

/// A variant and its clients.
struct LoadedVariant<'a> {
    variant: &'a Variant,
    clients: ClientPool,
    /// Requests a second that it can handle, as measured in this round.
    capacity: f64,
}

/// Turns that measure what a request costs when requests come evenly.
const CAPACITY_TURNS: usize = 3;

/// Measures what gateways can handle when requests come evenly. At saturation Envoy finds several at each wake-up; one
/// by one they cost it twice as much on a fast machine, where 70% of the rate at saturation is more than it can handle.
async fn measure_open_loop_capacity(loaded: &mut [LoadedVariant<'_>]) -> Result<()> {
    let mut unused: Vec<TurnTotals> = loaded.iter().map(|_| TurnTotals::new()).collect::<Result<_>>()?;
    for variant in 0..loaded.len() {
        let mut cpu = Rounds::default();
        for _ in 0..CAPACITY_TURNS {
            cpu.push(turn(loaded, &mut unused, variant, Some(LOADS[0])).await?.cpu);
        }
        if let Some(one) = loaded.get_mut(variant) {
            one.capacity = one.capacity.min(1e6 / cpu.median());
        }
    }
    Ok(())
}

/// The sums of a variant's turns of one round at one load.
struct TurnTotals {
    latencies: Latencies,
    used_ns: f64,
    vs_none: VersusNone,
}

/// Its turns over those without a filter around each: over the one before, and over the one after. Their mean would lie
/// above most turns, since a turn may be many times slower than usual and never faster, and whatever is set beside it
/// would look good.
#[derive(Debug, Default)]
struct VersusNone {
    cpu: Rounds,
    p50: Rounds,
    p99: Rounds,
    p50_baseline: Rounds,
    p99_baseline: Rounds,
}

impl VersusNone {
    fn push(&mut self, mine: &Turn, around: [&Turn; 2]) {
        for none in around {
            self.cpu.push(mine.cpu / none.cpu);
            self.p50.push(mine.all[0] / none.all[0]);
            self.p99.push(mine.all[1] / none.all[1]);
            self.p50_baseline.push(mine.baseline[0] / none.all[0]);
            self.p99_baseline.push(mine.baseline[1] / none.all[1]);
        }
    }
}

/// The figures of one turn.
#[derive(Debug, Clone, Copy)]
struct Turn {
    /// µs of CPU a request.
    cpu: f64,
    /// p50 and p99 of all responses, and of baseline responses.
    all: [f64; 2],
    baseline: [f64; 2],
}

impl TurnTotals {
    fn new() -> Result<Self> {
        Ok(Self { latencies: Latencies::new()?, used_ns: 0.0, vs_none: VersusNone::default() })
    }

    /// µs of CPU.
    fn per_request(&self) -> f64 {
        self.used_ns / 1e3 / self.latencies.count().max(1) as f64
    }
}

impl Steady {
    fn add(&mut self, taken: &TurnTotals) {
        let latencies = &taken.latencies;
        self.rate.push(latencies.rate());
        self.cpu.push(taken.per_request());
        self.cpu_vs_none.push(taken.vs_none.cpu.median());
        self.p50.push(percentile(&latencies.all, 0.5));
        self.p99.push(percentile(&latencies.all, 0.99));
        self.p999.push(percentile(&latencies.all, 0.999));
        self.p99_baseline.push(percentile(&latencies.baseline, 0.99));
        self.p99_candidate.push(percentile(&latencies.candidate, 0.99));
        self.p50_vs_none.push(taken.vs_none.p50.median());
        self.p99_vs_none.push(taken.vs_none.p99.median());
        self.p50_baseline_vs_none.push(taken.vs_none.p50_baseline.median());
        self.p99_baseline_vs_none.push(taken.vs_none.p99_baseline.median());
    }
}

/// The order of the variants after the first in a pass: another one from pass to pass, and not always after the same
/// one.
fn order(count: usize, pass: usize) -> impl Iterator<Item = usize> {
    let steps: Vec<usize> = (1..=count).filter(|step| coprime(*step, count)).collect();
    let step = steps.get(pass % steps.len().max(1)).copied().unwrap_or(1);
    (0..count).map(move |number| 1 + (number * step + pass) % count)
}

const fn coprime(a: usize, b: usize) -> bool {
    if b == 0 { a == 1 } else { coprime(b, a % b) }
}

/// `turns` turns of every variant, with the first one's around each: at `load`, a part of each one's capacity, or at
/// saturation where there is none.
async fn take_turns(loaded: &mut [LoadedVariant<'_>], turns: usize, load: Option<f64>) -> Result<Vec<TurnTotals>> {
    let mut all: Vec<TurnTotals> = loaded.iter().map(|_| TurnTotals::new()).collect::<Result<_>>()?;
    let others = loaded.len().saturating_sub(1);
    let order_of_variants: Vec<usize> = match others {
        0 => vec![0; turns],
        _ => (0..turns).flat_map(|pass| order(others, pass)).collect(),
    };
    let mut before = turn(loaded, &mut all, 0, load).await?;
    for variant in order_of_variants {
        if variant == 0 {
            turn(loaded, &mut all, 0, load).await?;
            continue;
        }
        let mine = turn(loaded, &mut all, variant, load).await?;
        let after = turn(loaded, &mut all, 0, load).await?;
        if let Some(taken) = all.get_mut(variant) {
            taken.vs_none.push(&mine, [&before, &after]);
        }
        before = after;
    }
    if let Some(none) = all.first_mut() {
        none.vs_none.push(&before, [&before, &before]);
    }
    Ok(all)
}

/// How often a turn is repeated whose rate the gateway did not keep up with.
const MAX_RETRIES: usize = 5;

/// One turn.
async fn turn(
    loaded: &mut [LoadedVariant<'_>],
    all: &mut [TurnTotals],
    variant: usize,
    load: Option<f64>,
) -> Result<Turn> {
    let (Some(one), Some(taken)) = (loaded.get_mut(variant), all.get_mut(variant)) else {
        bail!("no variant {variant}")
    };
    let mut latencies = Latencies::new()?;
    let mut before = machine::cpu_ns(one.variant.pid)?;
    let context = || format!("gateway {:?}", one.variant.key);
    match load {
        None => one.clients.closed_loop(TURN, &mut latencies).await.with_context(context)?,
        Some(load) => {
            let rate = load * one.capacity;
            let mut tries = 0;
            while !one.clients.open_loop(rate, TURN, &mut latencies).await.with_context(context)? {
                tries += 1;
                ensure!(tries <= MAX_RETRIES, "{}: it cannot keep up with {rate:.0} requests a second", context());
                tokio::time::sleep(SETTLE_TIME).await;
                before = machine::cpu_ns(one.variant.pid)?;
            }
        }
    }
    tokio::time::sleep(SETTLE_TIME).await;
    let used_ns = machine::cpu_ns(one.variant.pid)?.saturating_sub(before) as f64;
    let requests = latencies.count().max(1) as f64;
    let of = |latencies: &Histogram<u64>| [0.5, 0.99].map(|quantile| percentile(latencies, quantile));
    let turn = Turn { cpu: used_ns / 1e3 / requests, all: of(&latencies.all), baseline: of(&latencies.baseline) };
    taken.used_ns += used_ns;
    taken.latencies.add(&latencies)?;
    Ok(turn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_of_one_gateway_set_beside_others_of_the_same_are_alike() {
        // From one to 64 times as long, each as often as the other, in two orders.
        let turn = |steps: usize| Turn { cpu: 1.0, all: [1.0, f64::from(1_u32 << (steps % 7))], baseline: [1.0, 1.0] };
        let none: Vec<Turn> = (0..=343).map(|number| turn(number * 3 + number / 49)).collect();
        let mut vs_none = VersusNone::default();
        for (number, around) in none.windows(2).enumerate() {
            vs_none.push(&turn(number * 5 + number / 7), [&around[0], &around[1]]);
        }
        let median = vs_none.p99.median();
        assert!((median - 1.0).abs() < 1e-9, "{median}");
    }

    #[test]
    fn every_variant_has_a_turn_in_a_pass_and_follows_several_others() {
        for count in 1..=9 {
            let mut before = std::collections::HashSet::new();
            for pass in 0..20 {
                let order: Vec<usize> = order(count, pass).collect();
                let mut sorted = order.clone();
                sorted.sort_unstable();
                assert_eq!(sorted, (1..=count).collect::<Vec<_>>());
                before.extend(order.windows(2).filter(|pair| pair[1] == 1).map(|pair| pair[0]));
            }
            assert!(before.len() >= count.saturating_sub(1).min(2), "{count}: {before:?}");
        }
    }
}
