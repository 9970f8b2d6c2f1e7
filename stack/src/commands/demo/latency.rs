//! What Perch costs a client outside of the canary: the same request direct to the backend, through an Envoy without
//! Perch, and through the gateway at 0%, in turns, one at a time.

use contract::ports::Part;
use stack::Stack;

use super::promises::Promises;
use super::tally::{millis, percentile};
use super::traffic::Traffic;

const ROUNDS: u32 = 6;
const REQUESTS_PER_ROUND: u32 = 150;

pub(crate) async fn compare(
    stack: &Stack,
    plain: &Stack,
    traffic: &Traffic,
    promises: &mut Promises,
) -> anyhow::Result<()> {
    say!(
        "\nLatency of baseline responses, one request at a time ({} each, taken in turns)",
        (ROUNDS - 1) * REQUESTS_PER_ROUND
    );
    let path = "/ml/suggestions";
    let mut ways = [
        ("direct to the rules backend", format!("{}{path}", stack.url(Part::Rules)), Vec::new()),
        ("through Envoy without Perch", format!("{}{path}", plain.gateway_url()), Vec::new()),
        ("through the gateway with Perch", format!("{}{path}", stack.gateway_url()), Vec::new()),
    ];
    let mut errors = 0_u32;
    for round in 0..ROUNDS {
        for (_, url, micros) in &mut ways {
            for turn in 0..REQUESTS_PER_ROUND {
                let reply = traffic.send(url, turn % traffic.users, turn).await;
                errors += u32::from(reply.outcome.is_err());
                // The first round opens connections and warms caches.
                if round > 0 {
                    micros.push(reply.micros);
                }
            }
        }
    }
    for (way, _, micros) in &mut ways {
        micros.sort_unstable();
        let of = |percent| percentile(micros, percent).map_or_else(|| "no data".into(), millis);
        say!("  {way:<32} p50 {} ms   p99 {} ms", of(50), of(99));
    }
    promises.check("no client met an error", errors == 0, format!("{errors} errors while measuring"));
    Ok(())
}
