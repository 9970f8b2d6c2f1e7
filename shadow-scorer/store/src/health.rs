//! Tracks whether the store takes writes, by the results of the last ones.
//!
//! A store that answers reads but takes no writes (a full disk, a read-only file, a primary that was demoted) loses
//! every event and every piece of feedback while all live answers are well, so it is named in the log once, in
//! `/readyz`, and in a metric. A connection to a PostgreSQL server that became read-only is not used again: the address
//! may lead to the new primary by now, and connections live for half an hour.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::StoreError;

/// Shortest time between two moments from which on new connections are made: where all servers are read-only, each
/// write would otherwise be a connection of its own.
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// Shared by all who use one store.
#[derive(Debug)]
pub(crate) struct Health {
    begun: Instant,
    /// Connections older than this moment (ns since `begun`) are closed; 0 for none. A connection's first write can
    /// fail within the millisecond in which it was made, so that nothing coarser tells it from the next one.
    renewed_at_ns: AtomicU64,
    trouble: Mutex<Option<String>>,
}

impl Health {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), renewed_at_ns: AtomicU64::new(0), trouble: Mutex::new(None) }
    }

    /// Remembers an error that says that no writes are taken.
    pub(crate) fn failed(&self, error: &StoreError) {
        if !error.takes_no_writes() {
            return;
        }
        if matches!(error, StoreError::ReadOnly { .. }) {
            self.renew(self.now_ns());
        }
        let before = self.trouble().replace(error.to_string());
        if before.is_none() {
            tracing::error!(%error, "store_writes_failed");
        }
    }

    /// Remembers that a write was taken.
    pub(crate) fn wrote(&self) {
        if self.trouble().take().is_some() {
            tracing::info!("store_writes_recovered");
        }
    }

    /// The error of the last write, if the store takes none.
    pub(crate) fn last_error(&self) -> Option<String> {
        self.trouble().clone()
    }

    /// Returns `true` if a connection of this age may be used.
    pub(crate) fn admits(&self, age: Duration) -> bool {
        let renewed = self.renewed_at_ns.load(Ordering::Relaxed);
        let made = self.now_ns().saturating_sub(nanoseconds(age));
        renewed == 0 || made > renewed
    }

    fn renew(&self, now_ns: u64) {
        let before = self.renewed_at_ns.load(Ordering::Relaxed);
        if before == 0 || now_ns.saturating_sub(before) >= nanoseconds(RENEW_EVERY) {
            self.renewed_at_ns.fetch_max(now_ns, Ordering::Relaxed);
        }
    }

    fn now_ns(&self) -> u64 {
        // From 1 on, since 0 stands for no moment.
        nanoseconds(self.begun.elapsed()).saturating_add(1)
    }

    fn trouble(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_only() -> StoreError {
        StoreError::ReadOnly { place: "here".into(), cause: sqlx::Error::RowNotFound }
    }

    #[test]
    fn trouble_is_known_until_a_write_is_taken() {
        let health = Health::new();
        health.failed(&StoreError::Late { place: "here".into() });
        assert_eq!(health.last_error(), None, "a slow store takes writes");
        health.failed(&read_only());
        assert!(health.last_error().is_some_and(|said| said.contains("takes no writes")));
        health.wrote();
        assert_eq!(health.last_error(), None);
    }

    #[test]
    fn connections_from_before_are_not_used_and_newer_ones_are() {
        let health = Health::new();
        assert!(health.admits(Duration::from_secs(3_600)));
        health.failed(&read_only());
        assert!(!health.admits(Duration::from_secs(3_600)));
        assert!(health.admits(Duration::ZERO));
    }
}
