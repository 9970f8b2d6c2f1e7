//! Alertmanager's posts: an alert that is labelled so rolls back, once.
//!
//! An alert is told from others by its fingerprint and start, so that the repeats of one alert, and a post that is sent
//! again, do nothing more. An operator's word after the alert's start overrules it: that operator knew, or could have
//! known, what the alert is about.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use contract::alerts::{ACTION_LABEL, ACTION_ROLLBACK};
use serde::Deserialize;

use super::Console;
use super::clock;
use crate::guard::clock::now_ms;
use crate::guard::hand::HandError;
use crate::guard::in_words;
use crate::guard::ledger::By;

/// Bytes of a post, at most.
pub(super) const BODY_BYTES: usize = 256 * 1024;
/// Version of Alertmanager's format.
const VERSION: &str = "4";
/// Longest fingerprint, start and name, in bytes.
const LONGEST: usize = 200;

/// A post, as far as it is read.
#[derive(Debug, Deserialize)]
struct Post {
    version: String,
    alerts: Vec<Alert>,
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

/// An alert that asks for a rollback.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    name: String,
    reason: String,
    starts_ms: u64,
    key: String,
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
    Hand(#[from] HandError),
}

impl IntoResponse for HookError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Stranger => StatusCode::UNAUTHORIZED,
            Self::Unreadable(_) => StatusCode::BAD_REQUEST,
            Self::Hand(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut answer = (status, format!("{}\n", in_words(&self))).into_response();
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
) -> Result<axum::Json<serde_json::Value>, HookError> {
    authorize(&console, &headers)?;
    let mut rolled_back = 0_u32;
    for wanted in wanted(&body)? {
        rolled_back += u32::from(console.roll_back(&wanted).await?);
    }
    Ok(axum::Json(serde_json::json!({ "rolled_back": rolled_back })))
}

fn authorize(console: &Console, headers: &HeaderMap) -> Result<(), HookError> {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown = shown.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    match &console.0.settings.hook_token {
        Some(token) if token.is(shown) => Ok(()),
        _ => Err(HookError::Stranger),
    }
}

/// The alerts that ask for a rollback.
fn wanted(body: &[u8]) -> Result<Vec<Wanted>, HookError> {
    let post: Post = serde_json::from_slice(body).map_err(|error| HookError::Unreadable(error.to_string()))?;
    if post.version != VERSION {
        return Err(HookError::Unreadable(format!("version {:?}, {VERSION} is read", post.version)));
    }
    let asks = |alert: &Alert| {
        alert.status == "firing" && alert.labels.get(ACTION_LABEL).is_some_and(|action| action == ACTION_ROLLBACK)
    };
    post.alerts.into_iter().filter(asks).map(of_alert).collect()
}

fn of_alert(alert: Alert) -> Result<Wanted, HookError> {
    let field = |name: &str, text: &str| {
        let good = !text.is_empty() && text.len() <= LONGEST && !text.chars().any(char::is_control);
        if good { Ok(text.to_owned()) } else { Err(HookError::Unreadable(format!("{name} is missing or too long"))) }
    };
    let name = field("alertname", alert.labels.get("alertname").map_or("", String::as_str))?;
    let fingerprint = field("fingerprint", &alert.fingerprint)?;
    let start = field("startsAt", &alert.starts_at)?;
    let starts_ms =
        clock::parse(&start).ok_or_else(|| HookError::Unreadable(format!("startsAt is {start:?}, no moment")))?;
    let summary = alert.annotations.get("summary").map_or("", String::as_str);
    let reason: String = summary.chars().filter(|letter| !letter.is_control()).take(LONGEST).collect();
    Ok(Wanted { name, reason, starts_ms, key: format!("alert {fingerprint} {starts_ms}") })
}

impl Console {
    /// Rolls back, unless that was done for this alert, or an operator has spoken since it began.
    async fn roll_back(&self, wanted: &Wanted) -> Result<bool, HandError> {
        let mut hand = self.hand(By::Alert(wanted.name.clone())).once(wanted.key.clone()).about(wanted.starts_ms);
        match hand.roll_back(now_ms(), &wanted.reason).await {
            // Written down: where the share did not get through, the guard tries again at each look.
            Ok(()) | Err(HandError::Sink(_)) => Ok(true),
            Err(HandError::Done(_) | HandError::Overruled(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
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
    fn only_a_firing_alert_that_says_so_asks_for_a_rollback() {
        let alerts = [alert("resolved", "rollback"), alert("firing", "page"), alert("firing", "rollback")].join(",");
        let found = wanted(post(&alerts).as_bytes()).unwrap();
        let expected = Wanted {
            name: "FilterReloaded".into(),
            reason: "It crashed".into(),
            starts_ms: 1_795_573_805_123,
            key: "alert c0ffee 1795573805123".into(),
        };
        assert_eq!(found, [expected]);
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
}
