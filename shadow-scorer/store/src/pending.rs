//! Suggestion events, and those that are not stored yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One suggestion of one transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct SuggestionEvent {
    /// Unique; the client sends it back with its feedback.
    pub event_id: String,
    /// Of which transaction.
    pub txn_id: i64,
    /// `rule` or `model`.
    pub arm: String,
    /// The model's version, empty for the rules.
    pub model_version: String,
    /// The top label, empty if there was none.
    pub label: String,
    /// Its confidence, 0.0..=1.0.
    pub confidence: f64,
    /// The user's pseudonym, 16 hex digits, empty if not known.
    pub bucket: String,
    /// The user's cohort: a [`contract::names::Cohort`] value.
    pub cohort: String,
    /// Seconds since 1970.
    pub created_at: i64,
}

/// Events that are not stored yet, by their ids: feedback on one finds it here. Bounded by the queue they wait in.
#[derive(Debug, Clone, Default)]
pub struct PendingEvents(Arc<Mutex<HashMap<String, Arc<SuggestionEvent>>>>);

impl PendingEvents {
    /// Adds one that is about to be stored.
    pub fn add(&self, event: &Arc<SuggestionEvent>) {
        self.lock().insert(event.event_id.clone(), Arc::clone(event));
    }

    /// Takes away those that are stored now, or never will be.
    pub fn remove(&self, events: &[Arc<SuggestionEvent>]) {
        let mut pending = self.lock();
        for event in events {
            pending.remove(&event.event_id);
        }
    }

    pub(crate) fn get(&self, event_id: &str) -> Option<SuggestionEvent> {
        self.lock().get(event_id).map(|event| SuggestionEvent::clone(event))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<SuggestionEvent>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
