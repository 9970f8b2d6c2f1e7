//! The audit log, and the lock that makes it one story.
//!
//! Whoever moves the share (an operator's command, the console, the guard) holds the ledger meanwhile: the order of the
//! entries is the order in which the gateways were told. An operator is never refused. What works by itself, the guard
//! and alerts, is refused when an operator has spoken since it made up its mind ([`Held::overtaken`]): the last human
//! word holds. A guard also gives way to an alert, and decides anew.
//!
//! Orders to the guard are entries too; it carries out those that it has not seen. [`file`] says how they are kept.

mod file;

use serde::{Deserialize, Serialize};

pub use file::{Held, Ledger, LedgerError, Log};

use guard::plan::raw::Raw;

/// One thing that was said or done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// 1, 2, 3, …
    pub number: u64,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// By whom.
    pub by: By,
    /// What.
    #[serde(flatten)]
    pub what: What,
    /// Why, in words.
    pub reason: String,
    /// Tells this word from every other, where it could be sent twice: it is taken once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Who speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// An operator, by the name that is known.
    Human(String),
    /// A guard.
    Guard(String),
    /// An alert.
    Alert(String),
}

/// What was said or done. Shares as Envoy's runtime writes them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// The share was set.
    Set {
        /// Before; `None` when it was not known.
        from: Option<String>,
        /// After.
        to: String,
    },
    /// The share was found changed without an entry: by hand at a gateway.
    Found {
        /// Before.
        from: String,
        /// After.
        to: String,
    },
    /// The beta cohort's own share was set.
    Beta {
        /// Before; `None` when it was not known.
        from: Option<String>,
        /// After.
        to: String,
    },
    /// The guard froze the ramp.
    Froze,
    /// The audit log was found without entries that it had.
    Lost {
        /// The last of them.
        last: u64,
    },
    /// An alert that had asked for a rollback has ended.
    Ended,
    /// Order: start a ramp.
    Start {
        /// With this plan.
        plan: Box<Raw>,
    },
    /// Order: do not act until resumed.
    Pause,
    /// Order: go on.
    Resume,
    /// Order: let the ramp leave a step that waits for a human.
    Approve,
    /// Order: no more ramp.
    Abort,
    /// Order: back to 0%, latched.
    Rollback,
    /// Something was wanted and not done, since an operator had spoken meanwhile, or because it made no sense.
    Refused {
        /// What was wanted.
        wanted: String,
    },
}
