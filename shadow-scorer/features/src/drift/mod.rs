//! Drift: how far the rows that a model is given have moved from those that it was trained on.
//!
//! For each feature, the population stability index (PSI) between the training distribution, which the manifest holds,
//! and the last seven days: `Σ (now − then) · ln(now / then)` over the same bins. The application's [`Layout`] says
//! which features are compared one by one and which as one, by where their mass lies; the predicted labels are compared
//! too. Below 0.1 nothing has happened; from [`MOVED`] on a feature has moved, and the alert on it and the guard's
//! signal use the same number.
//!
//! **Edges.** Nothing is reported before [`Patience::rows`] rows of [`Patience::users`] users over [`Patience::span`]
//! were seen (a morning is not a sample of a day, nor are ten users one of a population), and nothing of weekly
//! features before the whole week: "collecting" is a state of its own, not a PSI of 0.
//!
//! **Bound.** The window is a ring of hours, each a fixed array of counts, some 700 KiB in all.

mod layout;
mod reference;
mod window;

use std::sync::Mutex;

use serde::Serialize;

pub use layout::{Feature, Layout, Mass};
pub use reference::{LABEL, NoReference, Reference};
use window::Window;

/// PSI from which on a feature counts as moved.
pub const MOVED: f64 = 0.25;

/// How much data is needed before drift is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Rows, at least 1.
    pub rows: u64,
    /// Time between the first and the last of them, in seconds.
    pub span: u64,
    /// Distinct users behind them. What a user buys is a habit: the rows of ten users are not a sample of a population,
    /// however many rows they are.
    pub users: u64,
}

/// Collects rows and compares them with a model's training distribution. One per model: a new champion starts with an
/// empty window.
#[derive(Debug)]
pub struct Watch {
    reference: Reference,
    patience: Patience,
    window: Mutex<Window>,
}

/// The state of drift at a moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Rows in the window.
    pub rows: u64,
    /// Time that they span, in seconds.
    pub span_seconds: u64,
    /// Distinct users that were observed; `None` where no user is known, as their number then decides nothing.
    pub users: Option<u64>,
    /// `true` while there is too little data to judge by.
    pub collecting: bool,
    /// PSI by feature, the greatest first; features with too little data are left out. The gauges hold all of them.
    #[serde(skip)]
    pub psi: Vec<(String, f64)>,
    /// Features at or above [`MOVED`], the worst first.
    pub moved: Vec<String>,
    /// Share of items on which baseline and candidate agree, in the window; `None` without any.
    pub agreement: Option<f64>,
    /// The same at training; `None` if the manifest does not say.
    pub agreement_baseline: Option<f64>,
    /// `true` if agreement fell by more than a tenth of its value at training.
    pub agreement_fell: bool,
}

impl Report {
    /// Returns `true` if there is a reason to train again.
    #[must_use]
    pub fn needs_training(&self) -> bool {
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
        for (row, label) in rows.chunks_exact(self.reference.width.max(1)).zip(labels) {
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

    /// The state at `now`, with rows that came from `users` distinct users.
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
