//! A store that does not answer is not waited for by everybody: a live request has better use for its deadline than to
//! find out again what those before it found out.
//!
//! After [`MISSES`] reads in a row without an answer the next ones fail at once. Every [`PAUSE_MS`] one of them tries
//! again, and the first answer ends it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A slow statement now and then is none of this.
const MISSES: u32 = 3;
/// Between two tries, in ms: short beside the time that it takes to repair a store.
const PAUSE_MS: u64 = 1_000;

/// Shared by all readers of one store. Times are ms since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    in_a_row: AtomicU32,
    next_try_ms: AtomicU64,
}

impl Breaker {
    /// Returns `true` if the store may be called. The caller reports the result by [`Self::succeeded`] or
    /// [`Self::missed`].
    pub(crate) fn admits(&self, now_ms: u64) -> bool {
        if self.in_a_row.load(Ordering::Relaxed) < MISSES {
            return true;
        }
        let next = self.next_try_ms.load(Ordering::Relaxed);
        let after = now_ms.saturating_add(PAUSE_MS);
        // One of those who come at the same time has it.
        now_ms >= next && self.next_try_ms.compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// The call succeeded.
    pub(crate) fn succeeded(&self) {
        self.in_a_row.store(0, Ordering::Relaxed);
    }

    /// The call failed or took too long.
    pub(crate) fn missed(&self, now_ms: u64) {
        let more = |misses: u32| Some(MISSES.min(misses + 1));
        let before = self.in_a_row.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        if before.is_ok_and(|before| before + 1 >= MISSES) {
            self.next_try_ms.fetch_max(now_ms.saturating_add(PAUSE_MS), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone_at(now_ms: u64) -> Breaker {
        let breaker = Breaker::default();
        for _ in 0..MISSES {
            assert!(breaker.admits(now_ms));
            breaker.missed(now_ms);
        }
        breaker
    }

    #[test]
    fn what_is_gone_is_tried_once_in_a_while_by_one() {
        let breaker = gone_at(5_000);
        assert!(!breaker.admits(5_000) && !breaker.admits(5_999));
        assert_eq!((0..10).filter(|_| breaker.admits(6_000)).count(), 1);
        breaker.missed(6_200);
        assert!(!breaker.admits(7_000) && breaker.admits(7_200));
    }

    #[test]
    fn an_answer_ends_it() {
        let breaker = gone_at(0);
        assert!(breaker.admits(PAUSE_MS));
        breaker.succeeded();
        assert!((0..10).all(|_| breaker.admits(PAUSE_MS)));
    }

    #[test]
    fn a_try_that_nobody_waits_for_is_followed_by_another() {
        let breaker = gone_at(0);
        assert!(breaker.admits(PAUSE_MS) && !breaker.admits(2 * PAUSE_MS - 1) && breaker.admits(2 * PAUSE_MS));
    }

    #[test]
    fn misses_that_are_not_in_a_row_are_none_of_this() {
        let breaker = Breaker::default();
        for now_ms in 0..100 {
            assert!(breaker.admits(now_ms));
            breaker.missed(now_ms);
            breaker.missed(now_ms);
            breaker.succeeded();
        }
    }
}
