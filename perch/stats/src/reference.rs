//! Our numbers against those of published implementations, on recorded streams (`reference/make.py` says which).

use serde::Deserialize;

use super::bounded::{Bets, Side, lower_bound, upper_bound};
use super::clusters::Clusters;
use super::moments::Moments;
use super::{clusters, normal, ratio};

#[derive(Deserialize)]
struct Reference {
    bounded: Vec<Bounded>,
    normal: Vec<Normal>,
    ratio: Vec<Ratio>,
    users: Vec<Users>,
}

#[derive(Deserialize)]
struct Bounded {
    name: String,
    values: Vec<f64>,
    looks: Vec<usize>,
    thresholds: Vec<f64>,
    log_wealth_below: Vec<Vec<f64>>,
    upper_same_bets: Vec<f64>,
    hedged: Vec<(f64, f64)>,
}

#[derive(Deserialize)]
struct Normal {
    one_sided: bool,
    variance: f64,
    prior_variance: f64,
    estimate: f64,
    log_mixture: f64,
    alpha: f64,
    bound: f64,
}

#[derive(Deserialize)]
struct Ratio {
    name: String,
    wanted: f64,
    model: Vec<f64>,
    rule: Vec<f64>,
    concentrations: Vec<f64>,
    log_bayes_factor: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct Users {
    given: Vec<u64>,
    accepted: Vec<u64>,
    rate: f64,
    variance: f64,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("reference/streams.json")).unwrap()
}

fn after(values: &[f64], look: usize) -> Moments {
    let mut moments = Moments::NONE;
    values.iter().take(look).for_each(|value| moments.push(*value));
    moments
}

#[test]
fn on_single_items_half_of_the_wealth_is_exactly_confseqs() {
    for stream in reference().bounded.iter().filter(|stream| stream.values.iter().all(|x| *x == 0.0 || *x == 1.0)) {
        for (threshold, expected) in stream.thresholds.iter().zip(&stream.log_wealth_below) {
            let bets = Bets::new(Side::Below, *threshold);
            for (look, expected) in stream.looks.iter().zip(expected) {
                let ours = bets.log_evidence_of_ends(after(&stream.values, *look));
                assert!((ours - expected).abs() < 1e-6, "{} at {look}: {ours} {expected}", stream.name);
            }
        }
    }
}

#[test]
fn from_sums_alone_the_wealth_is_below_confseqs_from_every_value_and_not_far() {
    for stream in reference().bounded {
        for (threshold, expected) in stream.thresholds.iter().zip(&stream.log_wealth_below) {
            let bets = Bets::new(Side::Below, *threshold);
            for (look, expected) in stream.looks.iter().zip(expected) {
                let ours = bets.log_evidence(after(&stream.values, *look));
                assert!(ours <= expected + 1e-9, "{} at {look}: {ours} {expected}", stream.name);
                let near = expected - 0.7 - 0.25 * expected.abs();
                assert!(ours >= near, "{} below {threshold} at {look}: {ours} {expected}", stream.name);
            }
        }
    }
}

#[test]
fn bounds_agree_with_confseqs_for_the_same_bets_and_are_as_close_as_its_hedged_ones() {
    let required = 40_f64.ln();
    for stream in reference().bounded {
        for ((look, same_bets), hedged) in stream.looks.iter().zip(&stream.upper_same_bets).zip(&stream.hedged) {
            let seen = after(&stream.values, *look);
            let (lower, upper) = (lower_bound(seen, required), upper_bound(seen, required));
            assert!(upper >= same_bets - 0.001, "{} at {look}: {upper} {same_bets}", stream.name);
            // Half of our wealth is on the other kind of bound, which costs at most ln 2.
            assert!(upper_bound(seen, required - 0.7) <= same_bets + 0.03, "{} at {look}", stream.name);
            let (hedged_lower, hedged_upper) = hedged;
            assert!(upper - lower <= 1.35 * (hedged_upper - hedged_lower) + 0.02, "{} at {look}", stream.name);
        }
    }
}

#[test]
fn the_normal_mixture_is_confseqs() {
    for row in reference().normal {
        let r = row.prior_variance / row.variance;
        let z = row.estimate / row.variance.sqrt();
        let required = -row.alpha.ln();
        let (log, bound) = if row.one_sided {
            (normal::log_evidence_above(z, r), normal::one_sided_width(row.variance, r, required))
        } else {
            (0.5 * z * z * r / (1.0 + r) - 0.5 * r.ln_1p(), normal::half_width(row.variance, r, required))
        };
        assert!((log - row.log_mixture).abs() < 1e-9, "{log} {}", row.log_mixture);
        assert!((bound / row.bound - 1.0).abs() < 1e-6, "{bound} {}", row.bound);
    }
}

#[test]
fn the_sample_ratio_test_is_its_authors() {
    for stream in reference().ratio {
        for ((model, rule), expected) in stream.model.iter().zip(&stream.rule).zip(&stream.log_bayes_factor) {
            let split = ratio::Split { model: *model, rule: *rule };
            for (concentration, expected) in stream.concentrations.iter().zip(expected) {
                let ours = ratio::log_bayes_factor(split, stream.wanted, *concentration);
                assert!((ours - expected).abs() < 1e-6, "{}: {ours} {expected}", stream.name);
            }
            let mean = expected.iter().map(|log| log.exp()).sum::<f64>() / expected.len() as f64;
            assert!((ratio::log_evidence(split, stream.wanted) - mean.ln()).abs() < 1e-6, "{}", stream.name);
        }
    }
}

#[test]
fn rate_and_variance_by_user_are_those_of_the_definition() {
    for users in reference().users {
        let mut sums = Clusters::default();
        users.given.iter().zip(&users.accepted).for_each(|(given, accepted)| sums.add(*given, *accepted));
        let rate = clusters::rate(&sums).unwrap();
        assert!((rate.value - users.rate).abs() < 1e-12);
        assert!((rate.variance / users.variance - 1.0).abs() < 1e-9, "{} {}", rate.variance, users.variance);
    }
}
