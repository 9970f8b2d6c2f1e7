//! The turns that the variants take.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::variants::Variant;
use super::{Case, Measured};
use crate::figures::Rounds;
use crate::load::{Crowd, Seen, Target};
use crate::machine;

/// Requests under way at saturation.
const CLIENTS: usize = 32;
/// The steady phases' rates, as shares of what the gateway itself saturates at: 70 % of what it can do without a filter is
/// more than some of them can do at all.
pub(crate) const SHARES: [f64; 2] = [0.3, 0.7];

/// How long, and how often. What others do on the machine, and on the other half of its cores, changes a core's speed
/// twofold from one second to the next; so a round is many short turns, and its figures are those of all its turns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Phases {
    rounds: usize,
    /// Turns of a round at saturation.
    saturated: usize,
    /// Turns of a round at each steady rate; 0 where only the cost of a request is asked.
    steady: usize,
}

/// A turn at saturation, and one at a steady rate.
const SATURATED: Duration = Duration::from_millis(120);
const STEADY: Duration = Duration::from_millis(300);
/// After a turn, so that the batches which it has left behind are its own and not the next one's: the filter's tick and
/// the way to the scorer and back.
const SETTLED: Duration = Duration::from_millis(70);

impl Phases {
    pub(crate) const fn full() -> Self {
        Self { rounds: 6, saturated: 10, steady: 4 }
    }

    pub(crate) const fn quick() -> Self {
        Self { rounds: 6, saturated: 10, steady: 0 }
    }

    /// Of the further cases.
    pub(crate) const fn other() -> Self {
        Self { rounds: 3, saturated: 8, steady: 0 }
    }
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
    pub(crate) steady: [Steady; 2],
}

/// Of a steady phase.
#[derive(Debug, Default, Clone)]
pub(crate) struct Steady {
    /// Requests a second.
    pub(crate) rate: Rounds,
    /// µs of CPU a request.
    pub(crate) cpu: Rounds,
    /// µs.
    pub(crate) p50: Rounds,
    pub(crate) p99: Rounds,
    pub(crate) p999: Rounds,
    /// p99 in µs of those that the rules answered, and of those that the model answered.
    pub(crate) p99_rules: Rounds,
    pub(crate) p99_model: Rounds,
}

/// # Errors
/// When a request is not answered as it should be.
pub(crate) async fn measure(
    case: Case,
    variants: &[Variant],
    takes_part: &[usize],
    phases: Phases,
) -> Result<Measured> {
    let exchanges = Arc::new(case.kind.exchanges());
    let mut seats = Vec::new();
    for variant in takes_part.iter().filter_map(|at| variants.get(*at)) {
        let target = Target { address: variant.stack.gateway(), protocol: case.protocol };
        let mut crowd = Crowd::connect(target, exchanges.clone(), CLIENTS).await?;
        crowd.once().await?;
        // Envoy's caches, and V8, which compiles what runs often once more.
        crowd.saturate(4 * SATURATED, &mut Seen::default()).await?;
        seats.push(Seat { variant, crowd, figures: Figures::default() });
    }
    ensure!(!seats.is_empty(), "no variant of these names");
    for round in 0..phases.rounds {
        eprintln!("{} bytes, {} items, {:?}: round {}", case.kind.bytes, case.kind.items, case.protocol, round + 1);
        let turns = take_turns(&mut seats, phases.saturated, round, None).await?;
        for (Seat { figures, .. }, turns) in seats.iter_mut().zip(turns) {
            figures.saturated.push(turns.seen.rate());
            figures.busy.push(turns.used_ns / 1e9 / turns.seen.seconds);
            figures.cpu.push(turns.per_request());
        }
        for (load, share) in SHARES.into_iter().enumerate().filter(|_| phases.steady > 0) {
            let turns = take_turns(&mut seats, phases.steady, round, Some(share)).await?;
            for (seat, turns) in seats.iter_mut().zip(turns) {
                if let Some(steady) = seat.figures.steady.get_mut(load) {
                    steady.add(&turns);
                }
            }
        }
    }
    let figures = seats.into_iter().map(|seat| (seat.variant.key, seat.variant.label, seat.figures)).collect();
    Ok(Measured { case, figures })
}

/// A variant, its clients and what they have found.
struct Seat<'a> {
    variant: &'a Variant,
    crowd: Crowd,
    figures: Figures,
}

/// What a variant's turns of one round at one load came to.
#[derive(Default)]
struct Turns {
    seen: Seen,
    used_ns: f64,
}

impl Turns {
    /// µs of CPU.
    fn per_request(&self) -> f64 {
        self.used_ns / 1e3 / self.seen.all.len().max(1) as f64
    }
}

impl Steady {
    fn add(&mut self, turns: &Turns) {
        let seen = &turns.seen;
        self.rate.push(seen.rate());
        self.cpu.push(turns.per_request());
        self.p50.push(seen.percentile(0.5));
        self.p99.push(seen.percentile(0.99));
        self.p999.push(seen.percentile(0.999));
        self.p99_rules.push(crate::figures::percentile(&seen.rules, 0.99) / 1e3);
        self.p99_model.push(crate::figures::percentile(&seen.model, 0.99) / 1e3);
    }
}

/// Everybody once, in another order from pass to pass, and not always after the same one: what a turn leaves behind (a
/// scorer that catches up on the core next door) is not to be one variant's burden.
fn order(count: usize, pass: usize) -> impl Iterator<Item = usize> {
    let steps: Vec<usize> = (1..=count).filter(|step| coprime(*step, count)).collect();
    let step = steps.get(pass % steps.len().max(1)).copied().unwrap_or(1);
    (0..count).map(move |place| (place * step + pass) % count)
}

const fn coprime(a: usize, b: usize) -> bool {
    if b == 0 { a == 1 } else { coprime(b, a % b) }
}

/// `turns` turns of every variant, one after the other; at saturation where there is no `share` of it.
async fn take_turns(seats: &mut [Seat<'_>], turns: usize, round: usize, share: Option<f64>) -> Result<Vec<Turns>> {
    let mut all: Vec<Turns> = seats.iter().map(|_| Turns::default()).collect();
    let order: Vec<usize> = (0..turns).flat_map(|pass| order(seats.len(), pass + round)).collect();
    for at in order {
        let (Some(seat), Some(mine)) = (seats.get_mut(at), all.get_mut(at)) else { continue };
        let before = machine::cpu_ns(seat.variant.pid)?;
        let asked = match share {
            None => seat.crowd.saturate(SATURATED, &mut mine.seen).await,
            // Of what this round has shown: in the next the machine may be another.
            Some(share) => seat.crowd.steady(share * seat.figures.saturated.last(), STEADY, &mut mine.seen).await,
        };
        asked.with_context(|| format!("gateway {:?}", seat.variant.key))?;
        tokio::time::sleep(SETTLED).await;
        mine.used_ns += machine::cpu_ns(seat.variant.pid)?.saturating_sub(before) as f64;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_turn_in_a_pass_and_follows_several_others() {
        for count in 1..=9 {
            let mut before = std::collections::HashSet::new();
            for pass in 0..20 {
                let order: Vec<usize> = order(count, pass).collect();
                let mut sorted = order.clone();
                sorted.sort_unstable();
                assert_eq!(sorted, (0..count).collect::<Vec<_>>());
                before.extend(order.windows(2).filter(|pair| pair[1] == 0).map(|pair| pair[0]));
            }
            assert!(before.len() >= count.saturating_sub(1).min(2), "{count}: {before:?}");
        }
    }
}
