//! What is measured besides the turns: the model's own answer, without a gateway, and gateways with nothing to do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::variants::Variant;
use crate::load::{Crowd, Protocol, Seen, Target};
use crate::machine;
use crate::traffic::Exchange;

/// How long, each.
const LENGTH: Duration = Duration::from_secs(10);

/// p50 and p99 in µs of the scorer's own answers at `rate` requests a second.
///
/// # Errors
/// When one is missing.
pub(crate) async fn model_alone(scorer: SocketAddr, exchanges: &Arc<Vec<Exchange>>, rate: f64) -> Result<[f64; 2]> {
    let target = Target { address: scorer, protocol: Protocol::H2 };
    let mut seen = Seen::default();
    Crowd::connect(target, exchanges.clone(), 16).await?.steady(rate, LENGTH, &mut seen).await?;
    Ok([seen.percentile(0.5), seen.percentile(0.99)])
}

/// µs of CPU a second of each gateway while nobody asks it.
///
/// # Errors
/// When one has ended.
pub(crate) async fn idle(variants: &[Variant]) -> Result<Vec<(&'static str, f64)>> {
    // What the last requests left behind is done.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let now = || variants.iter().map(|variant| machine::cpu_ns(variant.pid)).collect::<Result<Vec<u64>>>();
    let before = now()?;
    tokio::time::sleep(LENGTH).await;
    let used = now()?.into_iter().zip(before).map(|(after, before)| after.saturating_sub(before) as f64 / 1e3);
    Ok(variants.iter().zip(used).map(|(variant, used)| (variant.key, used / LENGTH.as_secs_f64())).collect())
}
