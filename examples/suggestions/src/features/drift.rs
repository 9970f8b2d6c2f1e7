//! Which features are watched for drift.
//!
//! The merchant's and the memo's hashed n-grams count as one feature each, by where their mass lies; so does what users
//! filed before, here and overall. How long a user's history is does not count: it grows by itself with every user that
//! stays, and with it the spread of each single share, while where the shares' mass lies stays as it was.

use scorer_features::drift::{Feature, Layout, Mass};

use super::layout::{DENSE_WIDTH, LABELS, MEMO_BINS, MERCHANT_BINS, SHARE, SHARE_HERE};
use super::schema::{Group, SCHEMA};

/// Blocks over which an n-gram's mass is counted.
const BLOCKS: usize = 32;

const MASSES: [Mass; 4] = [
    Mass {
        name: "merchant_gram",
        pointer: "/grams/merchant",
        from: DENSE_WIDTH,
        width: MERCHANT_BINS,
        blocks: BLOCKS,
        unit: 1.0,
    },
    Mass {
        name: "memo_gram",
        pointer: "/grams/memo",
        from: DENSE_WIDTH + MERCHANT_BINS,
        width: MEMO_BINS,
        blocks: BLOCKS,
        unit: 1.0,
    },
    Mass {
        name: "share_here",
        pointer: "/history/share_here",
        from: SHARE_HERE,
        width: LABELS,
        blocks: LABELS,
        unit: 1_000.0,
    },
    Mass { name: "share", pointer: "/history/share", from: SHARE, width: LABELS, blocks: LABELS, unit: 1_000.0 },
];

/// The features that are watched: the named ones but for the history's one by one, the rest by where their mass lies.
#[must_use]
pub fn layout() -> Layout {
    let named = SCHEMA.features().iter().take(DENSE_WIDTH).enumerate();
    let watched = named.filter(|(_, feature)| feature.group != Group::History).map(|(place, feature)| Feature {
        name: feature.name.clone(),
        place,
        weekly: feature.group == Group::Time,
    });
    Layout { features: watched.collect(), masses: MASSES.to_vec() }
}

#[cfg(test)]
mod tests {
    use scorer_features::drift::{LABEL, Patience, Reference, Watch};
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::application;
    use crate::features::{History, Transaction, WIDTH, encode, layout, transaction};
    use crate::generator::{self, Plan};

    /// Rows as they would be served, and what the manifest would say of the same rows.
    fn rows(seed: u64, scale: f64) -> Vec<f32> {
        let payments = generator::generate(&Plan { seed, users: 150, ..Plan::default() });
        let mut rows = vec![0.0; payments.len() * WIDTH];
        for (row, payment) in rows.chunks_exact_mut(WIDTH).zip(&payments) {
            let stored = &payment.transaction;
            #[allow(clippy::cast_precision_loss)]
            let transaction = Transaction {
                merchant: stored.merchant.clone(),
                memo: stored.memo.clone(),
                amount: Some(stored.amount_cents as f64 / 100.0 * scale),
                mcc: stored.mcc,
                channel: stored.channel.clone(),
                hour: Some(transaction::hour(stored.occurred_at)),
                weekday: Some(transaction::weekday(stored.occurred_at)),
                subscription: stored.subscription,
                p2p: stored.p2p,
            };
            encode(&transaction, &History::default(), row).unwrap();
        }
        rows
    }

    fn shares(counts: &[f64]) -> Vec<f64> {
        let sum: f64 = counts.iter().sum();
        counts.iter().map(|count| count / sum.max(1.0)).collect()
    }

    /// The manifest's `drift` of `rows`, as training would write it; a third of the labels is of each class.
    fn distribution(rows: &[f32]) -> Value {
        let mut manifest = json!({"features": {}, "grams": {}, "history": {}, "labels": vec![1.0 / 3.0; 3]});
        let Layout { features, masses } = layout();
        let features: Map<String, Value> = features
            .into_iter()
            .map(|Feature { name, place, .. }| {
                let mut values: Vec<f32> =
                    rows.chunks_exact(WIDTH).map(|row| row[place]).filter(|value| !value.is_nan()).collect();
                values.sort_unstable_by(f32::total_cmp);
                let tenths = (1..10).filter_map(|tenth| values.get(values.len() * tenth / 10).copied());
                let mut edges: Vec<f32> = tenths.collect();
                edges.dedup();
                let mut counts = vec![0.0; edges.len() + 2];
                for value in rows.chunks_exact(WIDTH).map(|row| row[place]) {
                    let nan = edges.len() + 1;
                    counts[if value.is_nan() { nan } else { edges.partition_point(|edge| *edge < value) }] += 1.0;
                }
                let mut shares = shares(&counts);
                let missing = shares.pop();
                (name, json!({"edges": edges, "shares": shares, "missing": missing}))
            })
            .collect();
        manifest["features"] = features.into();
        for Mass { pointer, from, width, blocks, unit, .. } in masses {
            let mut counts = vec![0.0; blocks];
            for row in rows.chunks_exact(WIDTH) {
                for (count, block) in counts.iter_mut().zip(row[from..from + width].chunks(width / blocks)) {
                    *count += f64::from((block.iter().sum::<f32>() * unit).trunc());
                }
            }
            let (group, name) = pointer[1..].split_once('/').unwrap();
            manifest[group][name] = json!(shares(&counts));
        }
        manifest
    }

    fn watch(training: &[f32]) -> Watch {
        let reference = Reference::of(&application().schema(), &distribution(training), Some(0.9), 3).unwrap();
        Watch::new(reference, Patience { rows: 500, span: 3_600, users: 100 })
    }

    /// Spread evenly over `days` from `start`.
    fn play(watch: &Watch, rows: &[f32], start: u64, days: u64, label: impl Fn(usize) -> usize) -> u64 {
        let count = rows.len() / WIDTH;
        for (at, row) in rows.chunks_exact(WIDTH).enumerate() {
            watch.add(row, [label(at)], start + days * 86_400 * at as u64 / count as u64);
        }
        start + days * 86_400
    }

    const START: u64 = 1_790_000_000;

    #[test]
    fn a_stable_week_has_no_drift() {
        let watch = watch(&rows(1, 1.0));
        let end = play(&watch, &rows(2, 1.0), START, 7, |at| at % 3);
        let report = watch.report(end - 1, None);
        assert!(!report.collecting && report.moved.is_empty(), "{:?}", report.psi.first());
        assert!(report.psi.iter().any(|(name, _)| name == "dow"), "the whole week is there");
        assert!(!report.needs_training());
    }

    #[test]
    fn amounts_three_times_as_large_are_named() {
        let watch = watch(&rows(1, 1.0));
        let end = play(&watch, &rows(2, 3.0), START, 2, |at| at % 3);
        let report = watch.report(end, None);
        assert!(report.moved.iter().all(|name| name.contains("amount")), "{:?}", report.moved);
        assert!(report.moved.iter().any(|name| name == "abs_amount"), "{:?}", report.psi);
        assert!(report.needs_training());
    }

    /// Rows of many users stand for rows of few here: what is asked about is the same, only who asks is not.
    #[test]
    fn few_users_are_no_population_however_many_rows_they_make_case_a20() {
        let watch = watch(&rows(1, 1.0));
        let end = play(&watch, &rows(2, 3.0), START, 2, |at| at % 3);
        watch.add_agreement(100, 900, end);
        for users in [1, 10, 99] {
            let report = watch.report(end, Some(users));
            assert!(report.collecting && report.moved.is_empty() && report.psi.is_empty(), "{users}: {report:?}");
            assert!(!report.agreement_fell && !report.needs_training(), "{users}: {report:?}");
        }
        for users in [Some(100), None] {
            let report = watch.report(end, users);
            assert!(!report.moved.is_empty() && report.agreement_fell && report.needs_training(), "{users:?}");
        }
    }

    #[test]
    fn other_predictions_are_named() {
        let watch = watch(&rows(1, 1.0));
        let end = play(&watch, &rows(2, 1.0), START, 2, |at| usize::from(at % 10 == 0));
        assert_eq!(watch.report(end, None).moved, [LABEL]);
    }

    #[test]
    fn missing_values_are_a_bin_of_their_own() {
        let mut now = rows(2, 1.0);
        for row in now.chunks_exact_mut(WIDTH) {
            row[layout::P2P] = f32::NAN;
        }
        let watch = watch(&rows(1, 1.0));
        let end = play(&watch, &now, START, 2, |at| at % 3);
        assert_eq!(watch.report(end, None).moved, ["is_p2p"]);
    }

    #[test]
    fn too_little_data_leads_to_no_decision() {
        let watch = watch(&rows(1, 1.0));
        let some = rows(2, 3.0);
        watch.add(&some[..WIDTH * 400], std::iter::repeat(0), START);
        watch.add(&some[..WIDTH], [0], START + 7_200);
        let few = watch.report(START + 7_200, None);
        assert!(few.collecting && few.psi.is_empty() && !few.needs_training());
        watch.add(&some[..WIDTH * 400], std::iter::repeat(0), START + 7_200);
        let day = watch.report(START + 7_200, None);
        assert!(!day.collecting && day.psi.iter().all(|(name, _)| name != "dow" && name != "hour_of_day"));
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let watch = watch(&rows(1, 1.0));
        let end = play(&watch, &rows(2, 3.0), START, 2, |at| at % 3);
        assert!(!watch.report(end, None).moved.is_empty());
        let later = end + 8 * 86_400;
        assert_eq!(watch.report(later, None).rows, 0);
        let end = play(&watch, &rows(3, 1.0), later, 2, |at| at % 3);
        assert!(watch.report(end, None).moved.is_empty());
        // A clock that is set back must not panic or bring old counts to life.
        assert!(watch.report(START, None).rows <= watch.report(end, None).rows);
    }

    #[test]
    fn agreement_is_held_against_its_baseline() {
        let watch = watch(&rows(1, 1.0));
        assert_eq!(watch.report(START, None).agreement, None);
        watch.add_agreement(850, 150, START);
        assert!(!watch.report(START, None).agreement_fell, "0.85 of 0.9 is not a tenth less");
        watch.add_agreement(700, 300, START);
        assert!(watch.report(START, None).agreement_fell);
    }
}
