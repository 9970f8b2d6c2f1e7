//! Alerts: where Alertmanager posts them, and which of them request a rollback.
//!
//! The rules are in `prometheus/rules/`, Alertmanager's route in `prometheus/alertmanager.yml.j2`. Every alert is
//! posted, so that the console and `perch status` can show it; only one with the label [`ACTION_LABEL`] =
//! [`ACTION_ROLLBACK`] changes the share.

/// Path, on the console's port, to which Alertmanager posts (its webhook format, version 4).
pub const HOOK_PATH: &str = "/hooks/alertmanager";

/// File in the run folder that holds the hook's bearer token. Alertmanager reads it on every post.
pub const HOOK_TOKEN_FILE: &str = "alertmanager-hook-token";

/// Inhibited alerts, as in Alertmanager's `inhibit_rules`: while the first alert fires, the others are hidden. `perch
/// status` and the console, which read Prometheus directly, hide them too.
pub const INHIBITED: &[(&str, &[&str])] = &[
    ("ScorerDown", &["ModelUnavailable", "ComparisonsMissing", "SuggestAgreementDrop"]),
    ("NothingToCompare", &["SuggestAgreementDrop"]),
];

/// Severity of an alert that sends no notification and only inhibits others.
pub const SEVERITY_INFO: &str = "info";

/// Returns `true` if the alert `name` is to be shown while the alerts `firing` fire.
#[must_use]
pub fn is_news<'a>(name: &str, severity: &str, firing: impl IntoIterator<Item = &'a str>) -> bool {
    let inhibited_by = |source: &str| INHIBITED.iter().any(|(by, targets)| *by == source && targets.contains(&name));
    severity != SEVERITY_INFO && !firing.into_iter().any(inhibited_by)
}

/// Label of an alert: the action that `perch` takes. Absent: `perch` only shows the alert.
pub const ACTION_LABEL: &str = "perch_action";

/// Value of [`ACTION_LABEL`]: set the share to 0 and latch.
pub const ACTION_ROLLBACK: &str = "rollback";
