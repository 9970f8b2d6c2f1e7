//! The turns that the variants take.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::variants::Variant;
use super::{Case, Measured};
use crate::figures::Rounds;
use crate::load::{self, Seen, Target};
use crate::machine;
use crate::traffic::Exchange;

/// Requests under way at saturation.
const CLIENTS: usize = 32;
/// The steady phases' rates, as shares of what "no filter" saturates at: the same rates for all.
pub(crate) const SHARES: [f64; 2] = [0.3, 0.7];

/// How long, and how often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Phases {
    rounds: usize,
    saturated: Duration,
    /// None where only the cost of a request is asked.
    steady: Option<Duration>,
}

impl Phases {
    pub(crate) const fn full() -> Self {
        Self { rounds: 7, saturated: Duration::from_millis(1_500), steady: Some(Duration::from_millis(2_000)) }
    }

    pub(crate) const fn quick() -> Self {
        Self { rounds: 6, saturated: Duration::from_millis(600), steady: None }
    }

    /// Of the further cases.
    pub(crate) const fn other() -> Self {
        Self { rounds: 3, saturated: Duration::from_millis(1_200), steady: None }
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
    let mut figures: Vec<(&'static str, &'static str, Figures)> = Vec::new();
    let chosen: Vec<&Variant> = takes_part.iter().filter_map(|at| variants.get(*at)).collect();
    for variant in &chosen {
        load::once(target(variant, case), &exchanges).await?;
        // Envoy's caches, and V8, which compiles what runs often once more.
        load::saturate(target(variant, case), &exchanges, CLIENTS, phases.saturated / 3).await?;
        figures.push((variant.key, variant.label, Figures::default()));
    }
    let first = chosen.first().context("no variant of these names")?;
    let rate = load::saturate(target(first, case), &exchanges, CLIENTS, phases.saturated).await?.rate();
    let rates = SHARES.map(|share| share * rate);
    for round in 0..phases.rounds {
        eprintln!("{} bytes, {} items, {:?}: round {}", case.kind.bytes, case.kind.items, case.protocol, round + 1);
        // Not always in the same order: what comes after whom may matter.
        for turn in 0..chosen.len() {
            let at = (turn + round) % chosen.len();
            let (Some(variant), Some((_, _, figures))) = (chosen.get(at), figures.get_mut(at)) else { continue };
            take_turn(variant, case, &exchanges, phases, rates, figures)
                .await
                .with_context(|| format!("gateway {:?}", variant.key))?;
        }
    }
    Ok(Measured { case, rates, figures })
}

fn target(variant: &Variant, case: Case) -> Target {
    Target { address: variant.stack.gateway(), protocol: case.protocol }
}

async fn take_turn(
    variant: &Variant,
    case: Case,
    exchanges: &Arc<Vec<Exchange>>,
    phases: Phases,
    rates: [f64; 2],
    figures: &mut Figures,
) -> Result<()> {
    let target = target(variant, case);
    let (begin, before) = (Instant::now(), machine::cpu_ns(variant.pid)?);
    let seen = load::saturate(target, exchanges, CLIENTS, phases.saturated).await?;
    let used = machine::cpu_ns(variant.pid)?.saturating_sub(before) as f64;
    figures.saturated.push(seen.rate());
    figures.busy.push(used / begin.elapsed().as_nanos() as f64);
    figures.cpu.push(per_request(used, &seen));
    let Some(length) = phases.steady else { return Ok(()) };
    for (rate, steady) in rates.into_iter().zip(&mut figures.steady) {
        // What the phase before has left behind (batches under way) is not this one's.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let before = machine::cpu_ns(variant.pid)?;
        let seen = load::steady(target, exchanges, rate, length).await?;
        let used = machine::cpu_ns(variant.pid)?.saturating_sub(before) as f64;
        steady.cpu.push(per_request(used, &seen));
        steady.p50.push(seen.percentile(0.5));
        steady.p99.push(seen.percentile(0.99));
        steady.p999.push(seen.percentile(0.999));
        steady.p99_rules.push(crate::figures::percentile(&seen.rules, 0.99) / 1e3);
        steady.p99_model.push(crate::figures::percentile(&seen.model, 0.99) / 1e3);
    }
    Ok(())
}

fn per_request(used_ns: f64, seen: &Seen) -> f64 {
    used_ns / 1e3 / seen.all.len().max(1) as f64
}
