//! What an evaluation came to, for logs, metrics, `perch status` and the console.

use guard::decision::{Action, Decision};
use guard::plan::raw::Raw;
use guard::state::{Phase, Stop};
use serde::{Deserialize, Serialize};

/// File of the last report, for `perch status`.
pub const STATUS_FILE: &str = "status.json";

/// What a look came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// The next look is so many milliseconds later.
    pub interval_ms: u64,
    /// This guard's name.
    pub guard: String,
    /// Does it hold the lease?
    pub leading: bool,
    /// Who does, when it does not.
    pub leader: Option<String>,
    /// Where the ramp is.
    pub phase: Option<Phase>,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// The share that the gateways hold, 0..=1; `None` while it is not known.
    pub share: Option<f64>,
    /// The next step's share, as Envoy's runtime writes it.
    pub next: Option<String>,
    /// The plan in force, as written; `None` without the lease.
    pub plan: Option<Raw>,
    /// Number of the last of the ledger's orders that was carried out or refused.
    pub orders_done: u64,
    /// Why the guard does not act.
    pub paused: Option<Stop>,
    /// Why it rolled back.
    pub latched: Option<Stop>,
    /// Why it froze.
    pub frozen: Option<Stop>,
    /// The decision; `None` without the lease.
    pub decision: Option<Decision>,
    /// Was it carried out? `None` when nothing was to be set.
    pub carried_out: Option<bool>,
    /// What could not be read or done, in words.
    pub troubles: Vec<String>,
}

impl Report {
    /// One line for a log: the decision and its first reason, or who leads.
    #[must_use]
    pub fn line(&self) -> String {
        let Some(decision) = &self.decision else {
            return format!("watching: {} holds the lease", self.leader.as_deref().unwrap_or("another guard"));
        };
        let set = match (&decision.set_share, self.carried_out) {
            (Some(share), Some(true)) => format!(" to {share}"),
            (Some(share), _) => format!(" to {share}, not carried out"),
            (None, _) => String::new(),
        };
        format!("{}{set}: {}", decision.action.as_str(), decision.reasons.join("; "))
    }

    /// Is it worth a line of its own after `before`? Holds for the same reason are not.
    #[must_use]
    pub fn differs_from(&self, before: &Self) -> bool {
        let essence = |report: &Self| {
            let decision = report.decision.as_ref();
            let verdicts: Option<Vec<_>> =
                decision.map(|decision| decision.judgements.iter().map(|judgement| judgement.verdict).collect());
            (report.leading, decision.map(|decision| decision.action), verdicts, report.troubles.clone())
        };
        let acts = self.decision.as_ref().is_some_and(|decision| decision.action == Action::Advance);
        acts || essence(self) != essence(before)
    }
}
