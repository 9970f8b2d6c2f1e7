//! The audit log, and the lock that puts all changes of the share in one order.
//!
//! Every program that changes the share (an operator's command, the console, the guard) holds the lock while it does,
//! so the order of the entries is the order in which the gateways were changed. An operator is never rejected. The
//! guard and alerts are rejected when an operator has acted since they decided ([`LockedAuditLog::superseding_entry`]):
//! the last manual override holds. A guard also gives way to an alert, and decides again.
//!
//! Commands to the guard are entries too; the guard carries out those that it has not processed. `log_file` describes
//! how entries are stored.

mod log_file;

use serde::{Deserialize, Serialize};

pub use log_file::{AuditLog, AuditLogContents, AuditLogError, LockedAuditLog};

use guard::plan::raw::RawPlan;

/// In [`Event::Rejected`]: a rollback was requested.
pub const ROLLBACK: &str = "rollback";
/// In [`Event::Rejected`]: stands before the beta cohort's share that was requested.
pub(crate) const BETA: &str = "beta ";

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// 1, 2, 3, …
    pub number: u64,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// The cause of the event.
    pub actor: Actor,
    /// The event, with its fields beside those of the entry.
    #[serde(flatten)]
    pub event: Event,
    /// The reason that the actor gave.
    pub reason: String,
    /// Identifies a request that could be sent twice, so that it is carried out once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

/// The cause of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// An operator, by name.
    Operator(String),
    /// A guard, by name.
    Guard(String),
    /// An alert, by name.
    Alert(String),
}

/// An event in the audit log: a change, an observation of the guard's, or a command to it. Shares are in the syntax of
/// Envoy's runtime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The share was set.
    ShareSet {
        /// The share before; `None` when it was not known.
        from: Option<String>,
        /// The share after.
        to: String,
    },
    /// The guard found the share changed without an entry, e.g. at a gateway's admin interface.
    ExternalChange {
        /// The share before.
        from: String,
        /// The share after.
        to: String,
    },
    /// The beta cohort's share was set.
    BetaShareSet {
        /// The share before; `None` when it was not known.
        from: Option<String>,
        /// The share after.
        to: String,
    },
    /// The guard froze the rollout.
    Frozen,
    /// The guard found that entries are missing from the audit log.
    EntriesLost {
        /// Number of the last missing entry.
        last: u64,
    },
    /// An alert that had requested a rollback was resolved.
    AlertResolved,
    /// Command: start a rollout.
    Start {
        /// The rollout plan.
        plan: Box<RawPlan>,
    },
    /// Command: stop acting until resumed.
    Pause,
    /// Command: continue.
    Resume,
    /// Command: let the rollout leave a step that requires approval.
    Approve,
    /// Command: end the rollout.
    Abort,
    /// Command: set the share to 0% and keep it there until resumed.
    Rollback,
    /// A request was rejected: an operator had acted meanwhile, or it did not apply.
    Rejected {
        /// What was requested: a share, `beta` and the beta cohort's share, [`ROLLBACK`], or an entry.
        requested: String,
    },
}
