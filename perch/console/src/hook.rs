//! Alertmanager's posts: an alert that is labelled so rolls back, once.
//!
//! An alert is told from others by its fingerprint and start, so that the repeats of one alert, and a post that is sent
//! again, do nothing more. An operator's word after the alert's start overrules it: that operator knew, or could have
//! known, what the alert is about.
//!
//! A start may be wrong. After a restart of Prometheus and Alertmanager an alert that never ended starts again: until
//! Alertmanager has posted its end, it is the alert that began before (for a day, should that post be lost). A start may
//! lie ahead, by a clock that is ahead: what was heard of had begun.
//!
//! An alert in a post that cannot be read does not keep the others from being taken; it is named in the answer.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use contract::alerts::{ACTION_LABEL, ACTION_ROLLBACK};
use serde::Deserialize;
use serde_json::Value;

use super::Console;
use super::clock;
use crate::guard::audit_log::{Actor, AuditLogError, Entry, Event};
use crate::guard::clock::now_ms;
use crate::guard::error_chain;
use crate::guard::manual_override::OverrideError;

/// Bytes of a post, at most.
pub(super) const BODY_BYTES: usize = 256 * 1024;
/// Version of Alertmanager's format.
const VERSION: &str = "4";
/// Longest fingerprint, start and name, in bytes.
const LONGEST: usize = 200;
/// An alert whose end was not posted for so long has ended all the same.
const UNENDED_MS: u64 = 24 * 3_600_000;

/// A post, as far as it is read.
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

/// An alert that asks for a rollback, or did.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    name: String,
    reason: String,
    starts_ms: u64,
    fingerprint: String,
    /// Alertmanager says that it has ended.
    ended: bool,
}

impl Wanted {
    fn key(&self) -> String {
        format!("{}{}", self.keys(), self.starts_ms)
    }

    /// How the keys of all alerts with this fingerprint begin.
    fn keys(&self) -> String {
        format!("alert {} ", self.fingerprint)
    }
}

/// A post that was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum HookError {
    /// Not from Alertmanager.
    #[error("the bearer token is missing or wrong")]
    Stranger,
    /// Not what Alertmanager posts.
    #[error("this is no post of Alertmanager's: {0}")]
    Unreadable(String),
    /// It could not be written down; Alertmanager tries again.
    #[error("the alert was not taken")]
    ManualOverride(#[from] OverrideError),
}

impl IntoResponse for HookError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Stranger => StatusCode::UNAUTHORIZED,
            Self::Unreadable(_) => StatusCode::BAD_REQUEST,
            Self::ManualOverride(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut answer = (status, format!("{}\n", error_chain(&self))).into_response();
        if status == StatusCode::UNAUTHORIZED {
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        answer
    }
}

/// Takes a post. The answer counts what was done; 200 means that it need not be sent again.
pub(super) async fn take(
    State(console): State<Console>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<axum::Json<Value>, HookError> {
    authorize(&console, &headers)?;
    let (wanted, unreadable) = wanted(&body)?;
    let (mut rolled_back, mut failed) = (0_u32, None);
    for wanted in &wanted {
        let done = if wanted.ended { console.has_ended(wanted).await } else { console.roll_back(wanted).await };
        match done {
            Ok(done) => rolled_back += u32::from(done),
            // The others are taken all the same; those that were need not be taken again.
            Err(error) => failed = Some(error),
        }
    }
    for why in &unreadable {
        console.write_down_unreadable(why).await.unwrap_or_else(|error| failed = Some(error.into()));
    }
    if let Some(error) = failed {
        return Err(error.into());
    }
    let mut answer = serde_json::json!({ "rolled_back": rolled_back });
    if let Some(answer) = answer.as_object_mut().filter(|_| !unreadable.is_empty()) {
        answer.insert("unreadable".to_owned(), unreadable.into());
    }
    Ok(axum::Json(answer))
}

fn authorize(console: &Console, headers: &HeaderMap) -> Result<(), HookError> {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown = shown.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    match &console.0.settings.hook_token {
        Some(token) if token.is(shown) => Ok(()),
        _ => Err(HookError::Stranger),
    }
}

/// The alerts that ask for a rollback, and in words those that do and cannot be read.
fn wanted(body: &[u8]) -> Result<(Vec<Wanted>, Vec<String>), HookError> {
    let post: Post = serde_json::from_slice(body).map_err(|error| HookError::Unreadable(error.to_string()))?;
    if post.version != VERSION {
        return Err(HookError::Unreadable(format!("version {:?}, {VERSION} is read", post.version)));
    }
    let (mut found, mut unreadable) = (Vec::new(), Vec::new());
    for (at, alert) in post.alerts.into_iter().enumerate() {
        let label = |name: &str| alert.pointer(&format!("/labels/{name}")).and_then(Value::as_str);
        if label(ACTION_LABEL) != Some(ACTION_ROLLBACK) {
            continue;
        }
        let read = serde_json::from_value(alert).map_err(|error| error.to_string()).and_then(of_alert);
        match read {
            Ok(wanted) => found.push(wanted),
            Err(why) => unreadable.push(format!("alerts[{at}]: {why}")),
        }
    }
    // A post of which nothing can be read is an error that Alertmanager logs.
    if found.is_empty() && !unreadable.is_empty() {
        return Err(HookError::Unreadable(unreadable.join("; ")));
    }
    Ok((found, unreadable))
}

fn of_alert(alert: Alert) -> Result<Wanted, String> {
    let field = |name: &str, text: &str| {
        let good = !text.is_empty() && text.len() <= LONGEST && !text.chars().any(char::is_control);
        if good { Ok(text.to_owned()) } else { Err(format!("{name} is missing or too long")) }
    };
    let name = field("alertname", alert.labels.get("alertname").map_or("", String::as_str))?;
    let fingerprint = field("fingerprint", &alert.fingerprint)?;
    let start = field("startsAt", &alert.starts_at)?;
    let starts_ms = clock::parse(&start).ok_or_else(|| format!("startsAt is {start:?}, which is not a moment"))?;
    let ended = match alert.status.as_str() {
        "firing" => false,
        "resolved" => true,
        other => return Err(format!("status is {other:?}, which is neither firing nor resolved")),
    };
    let summary = alert.annotations.get("summary").map_or("", String::as_str);
    let reason: String = summary.chars().filter(|letter| !letter.is_control()).take(LONGEST).collect();
    Ok(Wanted { name, reason, starts_ms, fingerprint, ended })
}

impl Console {
    /// Rolls back, unless that was done for this alert, or an operator has spoken since it began.
    async fn roll_back(&self, wanted: &Wanted) -> Result<bool, OverrideError> {
        let now_ms = now_ms();
        // Where the log cannot be read, nobody is known to have spoken.
        let began_ms = began(&self.0.ledger.read().unwrap_or_default(), wanted, now_ms);
        let mut hand =
            self.hand(Actor::Alert(wanted.name.clone())).with_idempotency_key(wanted.key()).valid_since(began_ms);
        match hand.roll_back(now_ms, &wanted.reason).await {
            // Written down: where the share did not get through, the guard tries again at each look.
            Ok(()) | Err(OverrideError::Sink(_)) => Ok(true),
            Err(OverrideError::AlreadyDone(_) | OverrideError::Superseded(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes down, once, that an alert asked for a rollback and could not be read: whoever wrote its rule looks here.
    async fn write_down_unreadable(&self, why: &str) -> Result<(), AuditLogError> {
        let key = format!("unreadable {why}");
        let mut held = self.0.ledger.lock().await?;
        if held.find_by_key(&key).is_some() {
            return Ok(());
        }
        let what = Event::Rejected { requested: "rollback".to_owned() };
        held.append_with_key(now_ms(), Actor::Alert("that cannot be read".to_owned()), what, why, &key).map(|_| ())
    }

    /// Writes down that an alert has ended for which something was done or refused. Never rolls back.
    async fn has_ended(&self, wanted: &Wanted) -> Result<bool, OverrideError> {
        let mut held = self.0.ledger.lock().await?;
        if last_of(held.entries(), wanted).is_some_and(|entry| entry.event != Event::AlertResolved) {
            let key = format!("{} ended", wanted.key());
            held.append_with_key(now_ms(), Actor::Alert(wanted.name.clone()), Event::AlertResolved, "", &key)?;
        }
        Ok(false)
    }
}

/// The last entry about alerts with this fingerprint.
fn last_of<'a>(entries: &'a [Entry], wanted: &Wanted) -> Option<&'a Entry> {
    let keys = wanted.keys();
    entries.iter().rev().find(|entry| entry.idempotency_key.as_deref().is_some_and(|key| key.starts_with(&keys)))
}

/// When the alert began, in milliseconds since 1970: with the alert of the same fingerprint that has not ended.
fn began(entries: &[Entry], wanted: &Wanted, now_ms: u64) -> u64 {
    let keys = wanted.keys();
    // An alert that was heard of had begun, whatever its clock says.
    let start = |entry: &Entry| {
        Some(entry.idempotency_key.as_deref()?.strip_prefix(&keys)?.parse::<u64>().ok()?.min(entry.at_ms))
    };
    let since =
        |entry: &&Entry| now_ms.saturating_sub(entry.at_ms) <= UNENDED_MS && entry.event != Event::AlertResolved;
    let same =
        entries.iter().rev().filter(|entry| entry.idempotency_key.as_deref().is_some_and(|key| key.starts_with(&keys)));
    let before = same.take_while(since).filter_map(start).min();
    before.map_or(wanted.starts_ms, |before| before.min(wanted.starts_ms))
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
    fn only_an_alert_that_says_so_asks_for_a_rollback() {
        let alerts = [alert("resolved", "rollback"), alert("firing", "page"), alert("firing", "rollback")].join(",");
        let found = wanted(post(&alerts).as_bytes()).unwrap();
        let expected = Wanted {
            name: "FilterReloaded".into(),
            reason: "It crashed".into(),
            starts_ms: 1_795_573_805_123,
            fingerprint: "c0ffee".into(),
            ended: false,
        };
        assert_eq!(expected.key(), "alert c0ffee 1795573805123");
        assert_eq!(found, ([Wanted { ended: true, ..expected.clone() }, expected].to_vec(), vec![]));
    }

    #[test]
    fn what_alertmanager_does_not_post_is_refused() {
        let odd = [
            String::new(),
            "{}".to_owned(),
            post(&alert("firing", "rollback")).replace("\"4\"", "\"5\""),
            post(&alert("firing", "rollback")).replace("c0ffee", ""),
            post(&alert("firing", "rollback")).replace("2026-11", "yesterday"),
        ];
        for body in odd {
            assert!(matches!(wanted(body.as_bytes()), Err(HookError::Unreadable(_))), "{body}");
        }
    }

    #[test]
    fn case_16_an_odd_alert_does_not_keep_the_others_from_being_taken() {
        let sound = alert("firing", "rollback");
        let odd = [
            sound.replace("FilterReloaded", ""),
            sound.replace("FilterReloaded", &"x".repeat(201)),
            sound.replace("2026-11", "yesterday"),
            sound.replace("\"c0ffee\"", "7"),
        ];
        for odd in odd {
            let (found, unreadable) = wanted(post(&[odd.as_str(), &sound].join(",")).as_bytes()).unwrap();
            assert_eq!((found.len(), unreadable.len()), (1, 1), "{odd}");
        }
        // What asks for nothing need not be readable.
        let (found, unreadable) = wanted(post(&format!("{{}},{{\"labels\":5}},{sound}")).as_bytes()).unwrap();
        assert_eq!((found.len(), unreadable.len()), (1, 0));
    }

    #[test]
    fn case_66_an_alert_that_starts_again_without_having_ended_began_with_the_first_one() {
        let hour = 3_600_000;
        let wanted = |starts_ms: u64| Wanted {
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
        assert_eq!(began(&[], &wanted(50), 60), 50);
        assert_eq!(began(&[first.clone(), other.clone()], &wanted(50), 60), 10);
        assert_eq!(began(&[first.clone(), other, again.clone()], &wanted(50), 60), 10);
        assert_eq!(began(&[first.clone(), again, ended], &wanted(50), 60), 50, "its end was posted");
        assert_eq!(began(&[first], &wanted(30 * hour), 30 * hour), 30 * hour, "its end was not, for more than a day");
        let ahead = entry(11, Event::Rollback, &format!("alert c0ffee {hour}"));
        assert_eq!(began(&[ahead], &wanted(hour - 5), 60), 11, "case E7: it had begun when it was heard of");
    }
}
