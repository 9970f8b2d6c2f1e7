//! The report of an evaluation, for logs, metrics, `perch status` and the console.

use guard::decision::{Action, Decision};
use guard::plan::raw::RawPlan;
use guard::state::{Phase, Stop};
use serde::{Deserialize, Serialize};

/// File with the last report, for `perch status`.
pub const STATUS_FILE: &str = "status.json";

/// The report of an evaluation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EvaluationReport {
    /// Time of the evaluation, in milliseconds since 1970.
    pub at_ms: u64,
    /// Time until the next evaluation, in milliseconds.
    pub interval_ms: u64,
    /// Name of the guard.
    pub guard: String,
    /// The guard holds the lease and may act.
    pub leading: bool,
    /// Name of the guard that holds the lease instead.
    pub leader: Option<String>,
    /// Phase of the rollout; `None` without the lease.
    pub phase: Option<Phase>,
    /// Start of the phase or step, in milliseconds since 1970.
    pub since_ms: u64,
    /// The share that the gateways hold, 0..=1; `None` while it is not known.
    pub share: Option<f64>,
    /// The share of the next step, in the syntax of Envoy's runtime.
    pub next_share: Option<String>,
    /// The rollout plan as written; `None` without the lease.
    pub plan: Option<RawPlan>,
    /// Number of the audit log's entry with the last command that was carried out or rejected.
    pub last_command: u64,
    /// Set while an operator keeps the guard from acting.
    pub paused: Option<Stop>,
    /// Set after a rollback, until an operator resumes.
    pub latched: Option<Stop>,
    /// Set while the rollout is frozen.
    pub frozen: Option<Stop>,
    /// The decision; `None` without the lease.
    pub decision: Option<Decision>,
    /// Whether the decision's share was set; `None` when the decision sets none.
    pub carried_out: Option<bool>,
    /// Everything that could not be read or done, for people.
    pub problems: Vec<String>,
}

impl EvaluationReport {
    /// One line for a log: the decision and its reasons, or the holder of the lease.
    #[must_use]
    pub fn line(&self) -> String {
        let Some(decision) = &self.decision else {
            return format!("standby: {} holds the lease", self.leader.as_deref().unwrap_or("another guard"));
        };
        let set = match (&decision.set_share, self.carried_out) {
            (Some(share), Some(true)) => format!(" to {share}"),
            (Some(share), _) => format!(" to {share}, not carried out"),
            (None, _) => String::new(),
        };
        format!("{}{set}: {}", decision.action.as_str(), decision.reasons.join("; "))
    }

    /// Returns `true` if the report is worth a log line after `before`: the guard advanced, or another field than a
    /// hold's reasons changed.
    #[must_use]
    pub fn differs_from(&self, before: &Self) -> bool {
        let essence = |report: &Self| {
            let decision = report.decision.as_ref();
            let outcomes: Option<Vec<_>> =
                decision.map(|decision| decision.checks.iter().map(|result| result.outcome).collect());
            (report.leading, decision.map(|decision| decision.action), outcomes, report.problems.clone())
        };
        let acts = self.decision.as_ref().is_some_and(|decision| decision.action == Action::Advance);
        acts || essence(self) != essence(before)
    }
}
