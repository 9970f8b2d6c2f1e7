//! Has what the model sees moved away from what it was trained on?
//!
//! For each feature, the population stability index (PSI) between the training distribution, which the manifest holds,
//! and the last seven days: `Σ (now − then) · ln(now / then)` over the same bins. The merchant's and the memo's hashed
//! n-grams count as one feature each, by where their mass lies; so does what users filed before, here and overall; and so
//! do the predicted labels. Below 0.1 nothing has happened; from [`MOVED`] on a feature has moved, and the alert on it
//! and the guard's signal use the same number.
//!
//! **Edges.** Nothing is said before [`Patience::rows`] rows of [`Patience::users`] users over [`Patience::span`] were
//! seen (a morning is no sample of a day, and ten users are none of a population), and nothing of hour and weekday before the whole week: "collecting" is a state of its own, not a PSI of 0.
//! How long a user's history is does not count: it grows by itself with every user that stays, and with it the spread of
//! each single share, while where the shares' mass lies stays as it was.
//!
//! **Bound.** The window is a ring of hours, each a fixed array of counts, some 700 KiB in all.

mod reference;
mod window;

use std::sync::Mutex;

use serde::Serialize;

pub use reference::{NoReference, Reference};
use window::Window;

/// PSI from which on a feature counts as moved.
pub const MOVED: f64 = 0.25;
/// The name under which the predicted labels are reported.
pub const LABEL: &str = "label";

/// How much must be seen before anything is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Rows, at least 1.
    pub rows: u64,
    /// Time between the first and the last of them, in seconds.
    pub span: u64,
    /// Distinct users behind them. What a user buys is a habit: the rows of ten users are no sample of a population,
    /// however many rows they are.
    pub users: u64,
}

/// Collects rows and compares them with a model's training distribution. One per model: a new champion starts anew.
#[derive(Debug)]
pub struct Watch {
    reference: Reference,
    patience: Patience,
    window: Mutex<Window>,
}

/// What is known now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Rows in the window.
    pub rows: u64,
    /// Time that they span, in seconds.
    pub span_seconds: u64,
    /// Distinct users that were seen; `None` where no user is known, as their number then decides nothing.
    pub users: Option<u64>,
    /// Is there too little to judge anything by?
    pub collecting: bool,
    /// PSI by feature, the greatest first; what cannot be judged yet is not in. The gauges say all of it.
    #[serde(skip)]
    pub psi: Vec<(String, f64)>,
    /// Features at or above [`MOVED`], the worst first.
    pub moved: Vec<String>,
    /// Share of items on which rules and model agree, in the window; `None` without any.
    pub agreement: Option<f64>,
    /// The same at training; `None` if the manifest does not say.
    pub agreement_baseline: Option<f64>,
    /// Has agreement fallen by more than a tenth of its baseline?
    pub agreement_fell: bool,
}

impl Report {
    /// Is there a reason to train anew?
    #[must_use]
    pub fn asks_for_training(&self) -> bool {
        !self.collecting && (!self.moved.is_empty() || self.agreement_fell)
    }
}

/// Agreement below this share of its baseline has fallen.
const FALLEN: f64 = 0.9;

impl Watch {
    /// Begins to collect.
    #[must_use]
    pub fn new(reference: Reference, patience: Patience) -> Self {
        let window = Mutex::new(Window::new(&reference));
        Self { reference, patience, window }
    }

    /// Adds `rows` (feature rows one after another) with the place of each one's predicted class, seen at `now`
    /// (seconds since 1970).
    pub fn add(&self, rows: &[f32], labels: impl IntoIterator<Item = usize>, now: u64) {
        let Ok(mut window) = self.window.lock() else { return };
        let hour = window.hour(now);
        for (row, label) in rows.chunks_exact(super::WIDTH).zip(labels) {
            self.reference.count(row, label, &mut hour.counts);
            hour.rows += 1;
        }
    }

    /// Adds items on which both sides had an opinion.
    pub fn add_agreement(&self, agreed: u64, differed: u64, now: u64) {
        let Ok(mut window) = self.window.lock() else { return };
        let hour = window.hour(now);
        hour.agreed += agreed;
        hour.differed += differed;
    }

    /// What is known at `now`, when the rows came from `users` distinct users.
    #[must_use]
    pub fn report(&self, now: u64, users: Option<u64>) -> Report {
        let Ok(mut window) = self.window.lock() else { return Report::nothing() };
        let seen = window.total(now);
        drop(window);
        let few_users = users.is_some_and(|users| users < self.patience.users);
        let collecting = few_users || seen.rows < self.patience.rows || seen.span < self.patience.span;
        let whole_week = seen.span >= window::SPAN - window::HOUR;
        let mut psi = if collecting { Vec::new() } else { self.reference.compare(&seen.counts, whole_week) };
        psi.sort_by(|a, b| b.1.total_cmp(&a.1));
        let moved = psi.iter().filter(|(_, psi)| *psi >= MOVED).map(|(name, _)| name.clone()).collect();
        let judged = seen.agreed + seen.differed;
        #[allow(clippy::cast_precision_loss)] // counts of a week
        let agreement = (judged > 0).then(|| seen.agreed as f64 / judged as f64);
        let agreement_baseline = self.reference.agreement;
        let fell = |now: f64, then: f64| !few_users && judged >= self.patience.rows && now < then * FALLEN;
        Report {
            rows: seen.rows,
            span_seconds: seen.span,
            users,
            collecting,
            psi,
            moved,
            agreement,
            agreement_baseline,
            agreement_fell: agreement.zip(agreement_baseline).is_some_and(|(now, then)| fell(now, then)),
        }
    }
}

impl Report {
    const fn nothing() -> Self {
        Self {
            rows: 0,
            span_seconds: 0,
            users: None,
            collecting: true,
            psi: Vec::new(),
            moved: Vec::new(),
            agreement: None,
            agreement_baseline: None,
            agreement_fell: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::{self, Plan};
    use crate::features::{History, Transaction, WIDTH, encode, schema, transaction};

    /// Rows as they would be served, and what the manifest would say of the same rows.
    fn rows(seed: u64, scale: f64) -> Vec<f32> {
        let payments = demo::generate(&Plan { seed, users: 150, ..Plan::default() });
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

    fn watch(training: &[f32]) -> Watch {
        let labels = training.chunks_exact(WIDTH).enumerate().map(|(at, _)| at % 3);
        let reference = Reference::from_rows(training, labels, 3, Some(0.9));
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
        assert!(!report.asks_for_training());
    }

    #[test]
    fn amounts_three_times_as_large_are_named() {
        let watch = watch(&rows(1, 1.0));
        let end = play(&watch, &rows(2, 3.0), START, 2, |at| at % 3);
        let report = watch.report(end, None);
        assert!(report.moved.iter().all(|name| name.contains("amount")), "{:?}", report.moved);
        assert!(report.moved.iter().any(|name| name == "abs_amount"), "{:?}", report.psi);
        assert!(report.asks_for_training());
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
            assert!(!report.agreement_fell && !report.asks_for_training(), "{users}: {report:?}");
        }
        for users in [Some(100), None] {
            let report = watch.report(end, users);
            assert!(!report.moved.is_empty() && report.agreement_fell && report.asks_for_training(), "{users:?}");
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
            row[schema::P2P] = f32::NAN;
        }
        let watch = watch(&rows(1, 1.0));
        let end = play(&watch, &now, START, 2, |at| at % 3);
        assert_eq!(watch.report(end, None).moved, ["is_p2p"]);
    }

    #[test]
    fn too_little_is_no_verdict() {
        let watch = watch(&rows(1, 1.0));
        let some = rows(2, 3.0);
        watch.add(&some[..WIDTH * 400], std::iter::repeat(0), START);
        watch.add(&some[..WIDTH], [0], START + 7_200);
        let few = watch.report(START + 7_200, None);
        assert!(few.collecting && few.psi.is_empty() && !few.asks_for_training());
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
