//! How often does an interval ever leave the truth out, looked at all the time? Nominally at most 5% for both ends
//! together. And the mean of the evidence against a true hypothesis, which must not exceed 1.

use serde_json::{Value, json};
use stats::bounded::{Bets, Side};
use stats::clusters::{Clusters, Difference};
use stats::moments::Moments;
use stats::ratio::{Split, log_evidence};

use crate::many::many;
use crate::random::Random;
use crate::traffic::{Agreement, Habits, position};

/// `ln(1/0.025)`, for one of two ends.
const ONE_END: f64 = 3.688_879_454;
/// `ln(1/0.05)`.
const BOTH_ENDS: f64 = 2.995_732_274;
const UNITS: u32 = 10_000;

pub(crate) fn rows(streams: u64, seed: u64) -> Vec<Value> {
    let (good, certain) = (Agreement::of_mean(0.9), Agreement::of_mean(0.995));
    let habits = Habits::of_mean(0.6);
    vec![
        row("agreement, by request", streams, |index| bounded(seed ^ (index << 20), 0.9, |random| good.draw(random))),
        row("noise, by request", streams, |index| {
            bounded(seed ^ 0x10 ^ (index << 20), 0.995, |random| certain.draw(random))
        }),
        row("fallbacks, by look of 1 to 30 requests", streams, |index| {
            bounded(seed ^ 0x20 ^ (index << 20), 0.05, |random| {
                let requests = 1 + random.below(30);
                (0..requests).filter(|_| random.chance(0.05)).count() as f64 / requests as f64
            })
        }),
        row("slow answers in bursts, by look", streams, |index| {
            bounded(seed ^ 0x30 ^ (index << 20), 0.02, |random| if random.chance(0.02) { 1.0 } else { 0.0 })
        }),
        row("difference of accept rates, by user", streams, |index| difference(seed ^ 0x40 ^ (index << 20), &habits)),
        row("share of users in the model's arm", streams, |index| split(seed ^ 0x50 ^ (index << 20), 0.1)),
    ]
}

/// Was the truth ever left out, and the evidence below it at the last look.
struct Stream {
    left_out: bool,
    evidence: f64,
}

fn row(name: &str, streams: u64, run: impl Fn(u64) -> Stream + Sync) -> Value {
    let outcomes = many(name, streams, || (), |(), index| run(index));
    let left_out = outcomes.iter().filter(|stream| stream.left_out).count() as f64 / streams as f64;
    let mean = outcomes.iter().map(|stream| stream.evidence).sum::<f64>() / streams as f64;
    json!({
        "trial": name,
        "streams": streams,
        "coverage": 1.0 - left_out,
        "nominal": 0.95,
        "mean_evidence_against_the_truth": mean,
    })
}

fn bounded(seed: u64, truth: f64, draw: impl Fn(&mut Random) -> f64) -> Stream {
    let mut random = Random::new(seed);
    let (below, above) = (Bets::new(Side::Below, truth), Bets::new(Side::Above, truth));
    let mut seen = Moments::NONE;
    let mut left_out = false;
    let mut evidence = 1.0;
    for unit in 1..=UNITS {
        seen.push(draw(&mut random));
        left_out |= below.reaches(seen, ONE_END) || above.reaches(seen, ONE_END);
        if unit == 500 {
            evidence = below.log_evidence(seen).exp();
        }
    }
    Stream { left_out, evidence }
}

/// Users of both arms come back and give more feedback; judged from 100 users in the smaller arm on, as by default.
fn difference(seed: u64, habits: &Habits) -> Stream {
    const USERS: usize = 4_000;
    let mut random = Random::new(seed);
    let mut given = vec![(0_u64, 0_u64); USERS];
    let mut arms = [Clusters::default(); 2];
    let (mut left_out, mut evidence) = (false, 1.0);
    for unit in 1..=UNITS {
        let point = random.unit();
        let user = ((point * point * USERS as f64) as usize).min(USERS - 1);
        let arm = usize::from(position(seed, user) < 0.25);
        let accepted = u64::from(habits.accepts(seed, user, &mut random));
        if let (Some((k, a)), Some(sums)) = (given.get_mut(user), arms.get_mut(arm)) {
            sums.users += u64::from(*k == 0);
            sums.given += 1;
            sums.accepted += accepted;
            sums.given_squared += 2 * *k + 1;
            sums.accepted_squared += accepted * (2 * *a + 1);
            sums.given_accepted += (*k + 1) * (*a + accepted) - *k * *a;
            *k += 1;
            *a += accepted;
        }
        if unit % 10 != 0 {
            continue;
        }
        let [rule, model] = arms;
        let Some(difference) = Difference::of(&rule, &model, 0.05) else { continue };
        if difference.users() < 100.0 {
            continue;
        }
        left_out |= difference.lower_bound(ONE_END) > 0.0 || difference.upper_bound(ONE_END) < 0.0;
        evidence = difference.log_evidence_below(0.0).exp();
    }
    Stream { left_out, evidence }
}

fn split(seed: u64, wanted: f64) -> Stream {
    let mut seen = Split::default();
    let (mut left_out, mut evidence) = (false, 1.0);
    for user in 0..UNITS as usize {
        if position(seed, user) < wanted {
            seen.model += 1.0;
        } else {
            seen.rule += 1.0;
        }
        let log = log_evidence(seen, wanted);
        left_out |= log >= BOTH_ENDS;
        if user == 500 {
            evidence = log.exp();
        }
    }
    Stream { left_out, evidence }
}
