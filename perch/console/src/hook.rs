//! Alertmanager's webhook: an alert with the label for it rolls back, once.
//!
//! An alert is identified by its fingerprint and start, so repeats of an alert and repeated posts have no further
//! effect. An operator's action after the alert's start overrides the alert: the operator knew, or could have known,
//! about it.
//!
//! A start may be wrong. After a restart of Prometheus and Alertmanager, an alert that never ended starts again: until
//! Alertmanager has posted its end, it counts as the earlier alert (for a day, in case that post is lost). A start may
//! also be in the future, if a clock is ahead: an alert has started when it is first received.
//!
//! An unreadable alert in a post does not prevent the others from taking effect; the response names it.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use clients::error_chain;
use contract::alerts::{ACTION_LABEL, ACTION_ROLLBACK};
use guard_runtime::audit_log::{Actor, AuditLogError, Entry, Event, ROLLBACK};
use guard_runtime::clock::now_ms;
use guard_runtime::manual_override::OverrideError;
use serde::Deserialize;
use serde_json::Value;

use super::Console;
use super::clock;

/// Largest post, in bytes.
pub(super) const BODY_BYTES: usize = 256 * 1024;
/// Version of Alertmanager's format.
const VERSION: &str = "4";
/// Longest fingerprint, start and name, in bytes.
const LONGEST: usize = 200;
/// An alert whose end was not posted for this long counts as ended.
const UNENDED_MS: u64 = 24 * 3_600_000;

/// The fields of a post that are read.
#[derive(Debug, Deserialize)]
struct Post {
    version: String,
    alerts: Vec<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    status: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    starts_at: String,
    fingerprint: String,
}

/// An alert with the label that requests a rollback.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RollbackAlert {
    name: String,
    reason: String,
    starts_ms: u64,
    fingerprint: String,
    /// `true` if Alertmanager posted its end.
    ended: bool,
}

impl RollbackAlert {
    fn key(&self) -> String {
        format!("{}{}", self.key_prefix(), self.starts_ms)
    }

    /// The common prefix of the keys of all alerts with this fingerprint.
    fn key_prefix(&self) -> String {
        format!("alert {} ", self.fingerprint)
    }
}

/// A post that was rejected.
#[derive(Debug, thiserror::Error)]
pub(super) enum HookError {
    /// Without Alertmanager's token.
    #[error("the bearer token is missing or wrong")]
    Unauthorized,
    /// Not in Alertmanager's format.
    #[error("the body is not a post of Alertmanager: {0}")]
    Unreadable(String),
    /// The alert could not be written to the audit log; Alertmanager retries.
    #[error("acting on the alert")]
    ManualOverride(#[from] OverrideError),
}

impl IntoResponse for HookError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Unreadable(_) => StatusCode::BAD_REQUEST,
            Self::ManualOverride(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut response = (status, format!("{}\n", error_chain(&self))).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Handles a post. The response counts the rollbacks; after 200 Alertmanager does not retry.
pub(super) async fn take(
    State(console): State<Console>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<axum::Json<Value>, HookError> {
    authorize(&console, &headers)?;
    let (alerts, unreadable) = rollback_alerts(&body)?;
    let (mut rolled_back, mut failed) = (0_u32, None);
    for alert in &alerts {
        let done = if alert.ended { console.record_end(alert).await } else { console.roll_back(alert).await };
        match done {
            Ok(done) => rolled_back += u32::from(done),
            // The other alerts take effect all the same, and do not again when Alertmanager retries.
            Err(error) => failed = Some(error),
        }
    }
    for reason in &unreadable {
        console.record_unreadable(reason).await.unwrap_or_else(|error| failed = Some(error.into()));
    }
    if let Some(error) = failed {
        return Err(error.into());
    }
    let mut response = serde_json::json!({ "rolled_back": rolled_back });
    if let Some(response) = response.as_object_mut().filter(|_| !unreadable.is_empty()) {
        response.insert("unreadable".to_owned(), unreadable.into());
    }
    Ok(axum::Json(response))
}

fn authorize(console: &Console, headers: &HeaderMap) -> Result<(), HookError> {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let presented = token.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    match &console.0.settings.hook_token {
        Some(token) if token.is(presented) => Ok(()),
        _ => Err(HookError::Unauthorized),
    }
}

/// The alerts that request a rollback, and the reasons why others that request one cannot be read.
fn rollback_alerts(body: &[u8]) -> Result<(Vec<RollbackAlert>, Vec<String>), HookError> {
    let post: Post = serde_json::from_slice(body).map_err(|error| HookError::Unreadable(error.to_string()))?;
    if post.version != VERSION {
        return Err(HookError::Unreadable(format!("its version is {:?}, but {VERSION:?} is supported", post.version)));
    }
    let (mut found, mut unreadable) = (Vec::new(), Vec::new());
    for (at, alert) in post.alerts.into_iter().enumerate() {
        let label = |name: &str| alert.pointer(&format!("/labels/{name}")).and_then(Value::as_str);
        if label(ACTION_LABEL) != Some(ACTION_ROLLBACK) {
            continue;
        }
        let read = serde_json::from_value(alert).map_err(|error| error.to_string()).and_then(of_alert);
        match read {
            Ok(alert) => found.push(alert),
            Err(reason) => unreadable.push(format!("alerts[{at}]: {reason}")),
        }
    }
    // If no alert can be read, the error is for Alertmanager's log.
    if found.is_empty() && !unreadable.is_empty() {
        return Err(HookError::Unreadable(unreadable.join("; ")));
    }
    Ok((found, unreadable))
}

fn of_alert(alert: Alert) -> Result<RollbackAlert, String> {
    let field = |name: &str, text: &str| {
        let good = !text.is_empty() && text.len() <= LONGEST && !text.chars().any(char::is_control);
        if good { Ok(text.to_owned()) } else { Err(format!("{name} is missing, too long or has control characters")) }
    };
    let name = field("alertname", alert.labels.get("alertname").map_or("", String::as_str))?;
    let fingerprint = field("fingerprint", &alert.fingerprint)?;
    let start = field("startsAt", &alert.starts_at)?;
    let starts_ms =
        clock::parse(&start).ok_or_else(|| format!("startsAt is {start:?}, which is not an RFC 3339 time"))?;
    let ended = match alert.status.as_str() {
        "firing" => false,
        "resolved" => true,
        other => return Err(format!("status is {other:?}, which is neither firing nor resolved")),
    };
    let summary = alert.annotations.get("summary").map_or("", String::as_str);
    let reason: String = summary.chars().filter(|letter| !letter.is_control()).take(LONGEST).collect();
    Ok(RollbackAlert { name, reason, starts_ms, fingerprint, ended })
}

impl Console {
    /// Rolls back, unless that was done for this alert, or an operator has acted since it began.
    async fn roll_back(&self, alert: &RollbackAlert) -> Result<bool, OverrideError> {
        let now_ms = now_ms();
        // If the log cannot be read, no operator is known to have acted.
        let began_ms = began(&self.0.audit_log.read().unwrap_or_default(), alert, now_ms);
        let mut manual_override = self
            .manual_override(Actor::Alert(alert.name.clone()))
            .with_idempotency_key(alert.key())
            .valid_since(began_ms);
        match manual_override.roll_back(now_ms, &alert.reason).await {
            // It is in the audit log: where the share was not set, the guard retries at each evaluation.
            Ok(()) | Err(OverrideError::Sink(_)) => Ok(true),
            Err(OverrideError::AlreadyDone(_) | OverrideError::Superseded(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Records once that an alert requested a rollback and could not be read, for the author of its rule.
    async fn record_unreadable(&self, reason: &str) -> Result<(), AuditLogError> {
        let key = format!("unreadable {reason}");
        let mut held = self.0.audit_log.lock().await?;
        if held.find_by_key(&key).is_some() {
            return Ok(());
        }
        let what = Event::Rejected { requested: ROLLBACK.to_owned() };
        held.append_with_key(now_ms(), Actor::Alert("that cannot be read".to_owned()), what, reason, &key).map(|_| ())
    }

    /// Records the end of an alert that is in the audit log. Never rolls back.
    async fn record_end(&self, alert: &RollbackAlert) -> Result<bool, OverrideError> {
        let mut held = self.0.audit_log.lock().await?;
        if last_of(held.entries(), alert).is_some_and(|entry| entry.event != Event::AlertResolved) {
            let key = format!("{} ended", alert.key());
            held.append_with_key(now_ms(), Actor::Alert(alert.name.clone()), Event::AlertResolved, "", &key)?;
        }
        Ok(false)
    }
}

/// The last entry about alerts with this fingerprint.
fn last_of<'a>(entries: &'a [Entry], alert: &RollbackAlert) -> Option<&'a Entry> {
    let prefix = alert.key_prefix();
    entries.iter().rev().find(|entry| entry.idempotency_key.as_deref().is_some_and(|key| key.starts_with(&prefix)))
}

/// When the alert began, in milliseconds since 1970: with the earliest alert of its fingerprint that has not ended.
fn began(entries: &[Entry], alert: &RollbackAlert, now_ms: u64) -> u64 {
    let prefix = alert.key_prefix();
    // An alert has started by the time it is received, even if its clock is ahead.
    let start = |entry: &Entry| {
        Some(entry.idempotency_key.as_deref()?.strip_prefix(&prefix)?.parse::<u64>().ok()?.min(entry.at_ms))
    };
    let since =
        |entry: &&Entry| now_ms.saturating_sub(entry.at_ms) <= UNENDED_MS && entry.event != Event::AlertResolved;
    let same = entries
        .iter()
        .rev()
        .filter(|entry| entry.idempotency_key.as_deref().is_some_and(|key| key.starts_with(&prefix)));
    let before = same.take_while(since).filter_map(start).min();
    before.map_or(alert.starts_ms, |before| before.min(alert.starts_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(alerts: &str) -> String {
        format!(r#"{{"version":"4","status":"firing","receiver":"perch","alerts":[{alerts}]}}"#)
    }

    fn alert(status: &str, action: &str) -> String {
        format!(
            r#"{{"status":"{status}","labels":{{"alertname":"FilterReloaded","perch_action":"{action}"}},
                "annotations":{{"summary":"It crashed"}},"startsAt":"2026-11-25T02:30:05.123Z",
                "endsAt":"0001-01-01T00:00:00Z","generatorURL":"x","fingerprint":"c0ffee"}}"#
        )
    }

    #[test]
    fn only_an_alert_with_the_label_requests_a_rollback() {
        let alerts = [alert("resolved", "rollback"), alert("firing", "page"), alert("firing", "rollback")].join(",");
        let found = rollback_alerts(post(&alerts).as_bytes()).unwrap();
        let expected = RollbackAlert {
            name: "FilterReloaded".into(),
            reason: "It crashed".into(),
            starts_ms: 1_795_573_805_123,
            fingerprint: "c0ffee".into(),
            ended: false,
        };
        assert_eq!(expected.key(), "alert c0ffee 1795573805123");
        assert_eq!(found, ([RollbackAlert { ended: true, ..expected.clone() }, expected].to_vec(), vec![]));
    }

    #[test]
    fn a_body_that_is_not_alertmanagers_is_rejected() {
        let odd = [
            String::new(),
            "{}".to_owned(),
            post(&alert("firing", "rollback")).replace("\"4\"", "\"5\""),
            post(&alert("firing", "rollback")).replace("c0ffee", ""),
            post(&alert("firing", "rollback")).replace("2026-11", "yesterday"),
        ];
        for body in odd {
            assert!(matches!(rollback_alerts(body.as_bytes()), Err(HookError::Unreadable(_))), "{body}");
        }
    }

    #[test]
    fn case_16_an_unreadable_alert_does_not_prevent_the_others() {
        let sound = alert("firing", "rollback");
        let odd = [
            sound.replace("FilterReloaded", ""),
            sound.replace("FilterReloaded", &"x".repeat(201)),
            sound.replace("2026-11", "yesterday"),
            sound.replace("\"c0ffee\"", "7"),
        ];
        for odd in odd {
            let (found, unreadable) = rollback_alerts(post(&[odd.as_str(), &sound].join(",")).as_bytes()).unwrap();
            assert_eq!((found.len(), unreadable.len()), (1, 1), "{odd}");
        }
        // An alert that requests no rollback need not be readable.
        let (found, unreadable) = rollback_alerts(post(&format!("{{}},{{\"labels\":5}},{sound}")).as_bytes()).unwrap();
        assert_eq!((found.len(), unreadable.len()), (1, 0));
    }

    #[test]
    fn case_66_an_alert_that_starts_again_without_having_ended_began_with_the_first_one() {
        let hour = 3_600_000;
        let alert = |starts_ms: u64| RollbackAlert {
            name: "x".into(),
            reason: String::new(),
            starts_ms,
            fingerprint: "c0ffee".into(),
            ended: false,
        };
        let entry = |at_ms: u64, event: Event, key: &str| Entry {
            number: at_ms,
            at_ms,
            actor: Actor::Alert("x".into()),
            event,
            reason: String::new(),
            idempotency_key: Some(key.to_owned()),
        };
        let first = entry(11, Event::Rollback, "alert c0ffee 10");
        let other = entry(12, Event::Rollback, "alert c0ffeefee 1");
        let again = entry(13, Event::Rejected { requested: "rollback".into() }, "alert c0ffee 12");
        let ended = entry(14, Event::AlertResolved, "alert c0ffee 12 ended");
        assert_eq!(began(&[], &alert(50), 60), 50);
        assert_eq!(began(&[first.clone(), other.clone()], &alert(50), 60), 10);
        assert_eq!(began(&[first.clone(), other, again.clone()], &alert(50), 60), 10);
        assert_eq!(began(&[first.clone(), again, ended], &alert(50), 60), 50, "its end was posted");
        assert_eq!(began(&[first], &alert(30 * hour), 30 * hour), 30 * hour, "its end was not, for more than a day");
        let ahead = entry(11, Event::Rollback, &format!("alert c0ffee {hour}"));
        assert_eq!(began(&[ahead], &alert(hour - 5), 60), 11, "case E7: it had started when it was received");
    }
}
