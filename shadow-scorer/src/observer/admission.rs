//! Admission control: how much observation work may be queued or in progress.
//!
//! There is a limit on observations and one on bytes. A batch beyond them is rejected immediately: there is no
//! unbounded queue, and nothing waits for admission.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::IntGauge;

/// The two limits, and what is admitted.
#[derive(Debug, Clone)]
pub(super) struct AdmissionControl {
    limits: Arc<Limits>,
}

#[derive(Debug)]
struct Limits {
    most_observations: usize,
    most_bytes: usize,
    admitted: Mutex<(usize, usize)>,
    observations: Option<IntGauge>,
    bytes: Option<IntGauge>,
}

/// Counts a batch against the limits until dropped.
#[derive(Debug)]
pub(super) struct Permit {
    limits: Arc<Limits>,
    observations: usize,
    bytes: usize,
}

impl AdmissionControl {
    /// Admits up to `observations` and `bytes`, and shows on the gauges how much is admitted.
    #[must_use]
    pub(super) fn new(observations: usize, bytes: usize, gauges: Option<(IntGauge, IntGauge)>) -> Self {
        let (of_observations, of_bytes) = gauges.unzip();
        Self {
            limits: Arc::new(Limits {
                most_observations: observations,
                most_bytes: bytes,
                admitted: Mutex::default(),
                observations: of_observations,
                bytes: of_bytes,
            }),
        }
    }

    /// Admits a batch, or returns `None`. If nothing is admitted any batch is, so that none is rejected for ever.
    #[must_use]
    pub(super) fn try_admit(&self, observations: usize, bytes: usize) -> Option<Permit> {
        let limits = &self.limits;
        let mut admitted = limits.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        let (more, more_bytes) = (admitted.0.saturating_add(observations), admitted.1.saturating_add(bytes));
        let fits = more <= limits.most_observations && more_bytes <= limits.most_bytes;
        if !fits && *admitted != (0, 0) {
            return None;
        }
        *admitted = (more, more_bytes);
        limits.update_gauges(*admitted);
        Some(Permit { limits: Arc::clone(limits), observations, bytes })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut admitted = self.limits.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        admitted.0 = admitted.0.saturating_sub(self.observations);
        admitted.1 = admitted.1.saturating_sub(self.bytes);
        self.limits.update_gauges(*admitted);
    }
}

impl Limits {
    fn update_gauges(&self, admitted: (usize, usize)) {
        for (gauge, value) in [(&self.observations, admitted.0), (&self.bytes, admitted.1)] {
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
    fn a_finished_batch_makes_room() {
        let admission = AdmissionControl::new(10, 1_000, None);
        let first = admission.try_admit(6, 100).unwrap();
        assert!(admission.try_admit(5, 100).is_none());
        let second = admission.try_admit(4, 100).unwrap();
        drop(first);
        assert!(admission.try_admit(6, 100).is_some());
        drop(second);
    }

    #[test]
    fn bytes_are_limited_too() {
        let admission = AdmissionControl::new(10, 1_000, None);
        let _permit = admission.try_admit(1, 900).unwrap();
        assert!(admission.try_admit(1, 101).is_none());
    }

    #[test]
    fn a_batch_beyond_the_limits_is_admitted_alone() {
        let admission = AdmissionControl::new(10, 1_000, None);
        let large = admission.try_admit(50, 5_000).unwrap();
        assert!(admission.try_admit(1, 1).is_none());
        drop(large);
        assert!(admission.try_admit(1, 1).is_some());
    }

    #[test]
    fn the_gauges_show_what_is_admitted() {
        let gauge = || IntGauge::new("g", "g").unwrap();
        let (observations, bytes) = (gauge(), gauge());
        let admission = AdmissionControl::new(10, 1_000, Some((observations.clone(), bytes.clone())));
        let permit = admission.try_admit(3, 70);
        assert_eq!((observations.get(), bytes.get()), (3, 70));
        drop(permit);
        assert_eq!((observations.get(), bytes.get()), (0, 0));
    }
}
