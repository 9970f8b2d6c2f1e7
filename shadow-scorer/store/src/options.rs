//! How the store is used: connections, waits and the cache.

use std::time::Duration;

/// Connections of one scorer at most: for live answers, for observations and for feedback.
pub(crate) const MOST_CONNECTIONS: u32 = 2 * CONNECTIONS + FEEDBACK_CONNECTIONS;
const CONNECTIONS: u32 = 8;
const FEEDBACK_CONNECTIONS: u32 = 4;

/// How the store is used.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most connections at once, at least 1.
    pub connections: u32,
    /// Longest wait for a connection, and again for an answer.
    pub statement_timeout: Duration,
    /// Entities kept in the cache.
    pub cached_entities: u64,
    /// How long one is kept: what was changed by hand in the store shows after this.
    pub cached_for: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS,
            statement_timeout: Duration::from_secs(2),
            cached_entities: 200_000,
            cached_for: Duration::from_secs(300),
        }
    }
}

impl Options {
    /// The connections that feedback has for itself, so that it takes none from live answers.
    #[must_use]
    pub fn for_feedback() -> Self {
        Self { connections: FEEDBACK_CONNECTIONS, ..Self::default() }
    }
}
