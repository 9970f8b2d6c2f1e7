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
use serde_json::Value;

use super::Console;
use super::clock;
use crate::guard::clock::now_ms;
use crate::guard::hand::HandError;
use crate::guard::in_words;
use crate::guard::ledger::{By, Entry, LedgerError, What};

/// Bytes of a post, at most.
pub(super) const BODY_BYTES: usize = 256 * 1024;
/// Version of Alertmanager's format.
const VERSION: &str = "4";
/// Longest fingerprint, start and name, in bytes.
const LONGEST: usize = 200;

/// A post, as far as it is read. Each alert is read by itself, so that an odd one costs the others nothing.
#[derive(Debug, Deserialize)]
struct Post {
    version: String,
    alerts: Vec<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
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
    fingerprint: String,
}

impl Wanted {
    /// Beginning of the keys of everything that was done for alerts with these labels.
    fn family(&self) -> String {
        format!("alert {} ", self.fingerprint)
    }

    /// Tells this firing of the alert from every other.
    fn key(&self) -> String {
        format!("{}{}", self.family(), self.starts_ms)
    }
}

/// The alerts of a post that ask for a rollback.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    sound: Vec<Wanted>,
    /// Why one cannot be carried out.
    odd: Vec<String>,
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
) -> Result<axum::Json<Value>, HookError> {
    authorize(&console, &headers)?;
    let Asked { sound, odd } = asked(&body)?;
    let (mut rolled_back, mut failed) = (0_u32, None);
    for wanted in sound {
        match console.roll_back(&wanted).await {
            Ok(done) => rolled_back += u32::from(done),
            Err(error) => failed = Some(error),
        }
    }
    for reason in &odd {
        console.write_down_odd(reason).await.unwrap_or_else(|error| failed = Some(error.into()));
    }
    match failed {
        Some(error) => Err(error.into()),
        None if odd.is_empty() => Ok(axum::Json(serde_json::json!({ "rolled_back": rolled_back }))),
        None => Ok(axum::Json(serde_json::json!({ "rolled_back": rolled_back, "refused": odd }))),
    }
}

fn authorize(console: &Console, headers: &HeaderMap) -> Result<(), HookError> {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown = shown.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    match &console.0.settings.hook_token {
        Some(token) if token.is(shown) => Ok(()),
        _ => Err(HookError::Stranger),
    }
}

/// The alerts that ask for a rollback: those that can be carried out, and what is odd about others.
///
/// # Errors
/// When it is not a post of Alertmanager's, or everything in it is odd.
fn asked(body: &[u8]) -> Result<Asked, HookError> {
    let post: Post = serde_json::from_slice(body).map_err(|error| HookError::Unreadable(error.to_string()))?;
    if post.version != VERSION {
        return Err(HookError::Unreadable(format!("version {:?}, {VERSION} is read", post.version)));
    }
    let mut asked = Asked::default();
    for (at, alert) in post.alerts.into_iter().enumerate() {
        match read(alert) {
            Ok(wanted) => asked.sound.extend(wanted),
            Err(why) => asked.odd.push(format!("alerts[{at}]: {why}")),
        }
    }
    if asked.sound.is_empty() && !asked.odd.is_empty() {
        return Err(HookError::Unreadable(asked.odd.join("; ")));
    }
    Ok(asked)
}

/// An alert that asks for a rollback; `None` for any other.
fn read(alert: Value) -> Result<Option<Wanted>, String> {
    let text = |name: &str| alert.get(name).and_then(Value::as_str);
    let action = alert.get("labels").and_then(|labels| labels.get(ACTION_LABEL)).and_then(Value::as_str);
    if text("status") != Some("firing") || action != Some(ACTION_ROLLBACK) {
        return Ok(None);
    }
    of_alert(serde_json::from_value(alert).map_err(|error| error.to_string())?).map(Some)
}

fn of_alert(alert: Alert) -> Result<Wanted, String> {
    let field = |name: &str, text: &str| {
        let good = !text.is_empty() && text.len() <= LONGEST && !text.chars().any(char::is_control);
        if good { Ok(text.to_owned()) } else { Err(format!("{name} is missing or too long")) }
    };
    let name = field("alertname", alert.labels.get("alertname").map_or("", String::as_str))?;
    let fingerprint = field("fingerprint", &alert.fingerprint)?;
    let start = field("startsAt", &alert.starts_at)?;
    let starts_ms = clock::parse(&start).ok_or_else(|| format!("startsAt is {start:?}, which is not a time"))?;
    let summary = alert.annotations.get("summary").map_or("", String::as_str);
    let reason: String = summary.chars().filter(|letter| !letter.is_control()).take(LONGEST).collect();
    Ok(Wanted { name, reason, starts_ms, fingerprint })
}

impl Console {
    /// Rolls back, unless that was done for this alert, or an operator has spoken since it began.
    async fn roll_back(&self, wanted: &Wanted) -> Result<bool, HandError> {
        let now_ms = now_ms();
        let began_ms = if wanted.starts_ms <= now_ms { Some(wanted.starts_ms) } else { self.first_seen(wanted)? };
        let mut hand = self.hand(By::Alert(wanted.name.clone())).once(wanted.key());
        if let Some(began_ms) = began_ms {
            hand = hand.about(began_ms);
        }
        match hand.roll_back(now_ms, &wanted.reason).await {
            // Written down: where the share did not get through, the guard tries again at each look.
            Ok(()) | Err(HandError::Sink(_)) => Ok(true),
            Err(HandError::Done(_) | HandError::Overruled(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// When an alert with these labels was first taken, which is when one began whose clock runs ahead, as far as is known
    /// here: otherwise no operator could overrule it before that clock's moment has come. `None` for the first one.
    fn first_seen(&self, wanted: &Wanted) -> Result<Option<u64>, LedgerError> {
        let family = wanted.family();
        let of_these = |entry: &Entry| entry.key.as_deref().is_some_and(|key| key.starts_with(&family));
        Ok(self.entries()?.into_iter().filter(of_these).map(|entry| entry.at_ms).min())
    }

    /// Writes down, once, that an alert asked for a rollback and could not be read: whoever wrote its rule looks here.
    async fn write_down_odd(&self, reason: &str) -> Result<(), LedgerError> {
        let key = format!("odd {reason}");
        let mut held = self.0.ledger.hold().await?;
        if held.keyed(&key).is_some() {
            return Ok(());
        }
        let what = What::Refused { wanted: "rollback".to_owned() };
        held.append_keyed(now_ms(), By::Alert("that cannot be read".to_owned()), what, reason, &key).map(|_| ())
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
        let found = asked(post(&alerts).as_bytes()).unwrap();
        let expected = Wanted {
            name: "FilterReloaded".into(),
            reason: "It crashed".into(),
            starts_ms: 1_795_573_805_123,
            fingerprint: "c0ffee".into(),
        };
        assert_eq!(expected.key(), "alert c0ffee 1795573805123");
        assert_eq!(found, Asked { sound: vec![expected], odd: Vec::new() });
    }

    #[test]
    fn case_16_an_odd_alert_costs_the_others_nothing() {
        let sound = alert("firing", "rollback");
        let odd = [
            sound.replace("\"alertname\":\"FilterReloaded\",", ""),
            sound.replace("FilterReloaded", &"x".repeat(201)),
            sound.replace("2026-11", "yesterday"),
            sound.replace("\"c0ffee\"", "7"),
            sound.replace("\"It crashed\"", "[]"),
        ];
        for odd in odd {
            for alerts in [format!("{odd},{sound}"), format!("{sound},{odd}")] {
                let found = asked(post(&alerts).as_bytes()).unwrap();
                assert_eq!((found.sound.len(), found.odd.len()), (1, 1), "{odd}");
            }
        }
        // One that asks for nothing need not be read.
        let other = sound.replace("rollback", "page").replace("c0ffee", "");
        assert_eq!(asked(post(&format!("{other},7,{sound}")).as_bytes()).unwrap().odd, Vec::<String>::new());
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
            assert!(matches!(asked(body.as_bytes()), Err(HookError::Unreadable(_))), "{body}");
        }
    }
}
