//! How much observation work there may be at once.
//!
//! Two bounds, observations and bytes. Whoever finds the gate shut is turned away at once: nothing queues without a
//! bound, and nothing waits to be let in.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::IntGauge;

/// A gate with its two bounds.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    most_observations: usize,
    most_bytes: usize,
    inside: Mutex<(usize, usize)>,
    observations: Option<IntGauge>,
    bytes: Option<IntGauge>,
}

/// The right to be inside; given back when dropped.
#[derive(Debug)]
pub(super) struct Pass {
    shared: Arc<Shared>,
    observations: usize,
    bytes: usize,
}

impl Gate {
    /// A gate that lets in up to `observations` and `bytes`, and shows what is inside on the gauges.
    #[must_use]
    pub(super) fn new(observations: usize, bytes: usize, gauges: Option<(IntGauge, IntGauge)>) -> Self {
        let (of_observations, of_bytes) = gauges.unzip();
        Self {
            shared: Arc::new(Shared {
                most_observations: observations,
                most_bytes: bytes,
                inside: Mutex::default(),
                observations: of_observations,
                bytes: of_bytes,
            }),
        }
    }

    /// Lets a batch in, or not. An empty gate lets in anything, so that no batch is too large for ever.
    #[must_use]
    pub(super) fn enter(&self, observations: usize, bytes: usize) -> Option<Pass> {
        let shared = &self.shared;
        let mut inside = shared.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let (more, more_bytes) = (inside.0.saturating_add(observations), inside.1.saturating_add(bytes));
        let fits = more <= shared.most_observations && more_bytes <= shared.most_bytes;
        if !fits && *inside != (0, 0) {
            return None;
        }
        *inside = (more, more_bytes);
        shared.show(*inside);
        Some(Pass { shared: Arc::clone(shared), observations, bytes })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inside = self.shared.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.0 = inside.0.saturating_sub(self.observations);
        inside.1 = inside.1.saturating_sub(self.bytes);
        self.shared.show(*inside);
    }
}

impl Shared {
    fn show(&self, inside: (usize, usize)) {
        for (gauge, value) in [(&self.observations, inside.0), (&self.bytes, inside.1)] {
            if let Some(gauge) = gauge {
                gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_makes_room() {
        let gate = Gate::new(10, 1_000, None);
        let first = gate.enter(6, 100).unwrap();
        assert!(gate.enter(5, 100).is_none());
        let second = gate.enter(4, 100).unwrap();
        drop(first);
        assert!(gate.enter(6, 100).is_some());
        drop(second);
    }

    #[test]
    fn bytes_count_too() {
        let gate = Gate::new(10, 1_000, None);
        let _pass = gate.enter(1, 900).unwrap();
        assert!(gate.enter(1, 101).is_none());
    }

    #[test]
    fn a_batch_over_the_bounds_goes_in_alone() {
        let gate = Gate::new(10, 1_000, None);
        let large = gate.enter(50, 5_000).unwrap();
        assert!(gate.enter(1, 1).is_none());
        drop(large);
        assert!(gate.enter(1, 1).is_some());
    }

    #[test]
    fn the_gauges_show_what_is_inside() {
        let gauge = || IntGauge::new("g", "g").unwrap();
        let (observations, bytes) = (gauge(), gauge());
        let gate = Gate::new(10, 1_000, Some((observations.clone(), bytes.clone())));
        let pass = gate.enter(3, 70);
        assert_eq!((observations.get(), bytes.get()), (3, 70));
        drop(pass);
        assert_eq!((observations.get(), bytes.get()), (0, 0));
    }
}
