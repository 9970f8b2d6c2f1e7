//! What a client says to a suggestion.

use serde_json::Value;

use crate::suggestions::request::{id, shown};

/// Longest label, event id or reason, in characters; a longer reason is cut, the others are refused.
const MOST_TEXT: usize = 200;

/// Taken or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The label is right.
    Accept,
    /// The label is wrong.
    Reject,
}

impl Action {
    /// As clients and the table write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Reject => "reject",
        }
    }
}

/// A checked answer. The client's `user_id` is not read: nothing here needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedbackRequest {
    /// Of which transaction.
    pub txn_id: i64,
    /// Taken or not.
    pub action: Action,
    /// The label in question.
    pub label: String,
    /// The suggestion's event, if named.
    pub event_id: Option<String>,
    /// As the client saw it, 0.0..=1.0.
    pub confidence: Option<f64>,
    /// The user's words; may be empty.
    pub reason: String,
    /// The sender's pseudonym, where the gateway gave it; never read from the body.
    pub bucket: Option<String>,
}

/// Feedback that cannot be taken; the text is meant for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFeedback {
    /// The body is not JSON.
    #[error(
        "the body is not JSON: send an object like {{\"txn_id\": 88, \"action\": \"accept\", \"label\": \"groceries\"}}"
    )]
    NotJson,
    /// A field is missing or of the wrong kind.
    #[error("{field} is {value}: {rule}")]
    Field {
        /// Which.
        field: &'static str,
        /// What it is, shortened.
        value: String,
        /// What it should be.
        rule: &'static str,
    },
}

impl FeedbackRequest {
    /// Reads feedback. Fields that are not known are passed over.
    ///
    /// # Errors
    /// See [`BadFeedback`]; the offending value is named.
    pub fn parse(body: &[u8]) -> Result<Self, BadFeedback> {
        let request: Value = serde_json::from_slice(body).map_err(|_| BadFeedback::NotJson)?;
        let field = |name: &str| request.get(name).unwrap_or(&Value::Null);
        let bad = |name: &'static str, rule| BadFeedback::Field { field: name, value: shown(field(name)), rule };
        let txn_id = id(field("txn_id")).ok_or_else(|| bad("txn_id", "give an integer or a numeric string"))?;
        let action = match field("action").as_str() {
            Some("accept") => Action::Accept,
            Some("reject") => Action::Reject,
            _ => return Err(bad("action", "give \"accept\" or \"reject\"")),
        };
        // PostgreSQL takes no NUL in a text.
        let short = |text: &str| !text.is_empty() && text.chars().count() <= MOST_TEXT && !text.contains('\0');
        let label = match field("label").as_str() {
            Some(label) if short(label) => label.to_owned(),
            _ => return Err(bad("label", "give the label in question, at most 200 characters, none of them NUL")),
        };
        let event_id = match field("event_id") {
            Value::Null => None,
            Value::String(event) if short(event) => Some(event.clone()),
            _ => {
                return Err(bad(
                    "event_id",
                    "give the suggestion's event_id, without a NUL character, or leave it out",
                ));
            }
        };
        let confidence = match field("confidence") {
            Value::Null => None,
            value => match value.as_f64() {
                Some(confidence) if (0.0..=1.0).contains(&confidence) => Some(confidence),
                _ => return Err(bad("confidence", "give a number from 0 to 1, or leave it out")),
            },
        };
        let reason = match field("reason") {
            Value::Null => String::new(),
            Value::String(reason) if !reason.contains('\0') => reason.chars().take(MOST_TEXT).collect(),
            _ => return Err(bad("reason", "give a text without a NUL character, or leave it out")),
        };
        Ok(Self { txn_id, action, label, event_id, confidence, reason, bucket: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contracts_fields_are_read_and_the_user_is_not() {
        let body = r#"{"txn_id":"88","action":"reject","label":"shopping","event_id":"e","confidence":0.5,"reason":"no","user_id":"secret"}"#;
        let read = FeedbackRequest::parse(body.as_bytes()).unwrap();
        assert_eq!((read.txn_id, read.action, read.label.as_str()), (88, Action::Reject, "shopping"));
        assert!(!format!("{read:?}").contains("secret"));
    }

    #[test]
    fn the_offending_field_is_named() {
        let cases = [
            (r#"{"action":"accept","label":"x"}"#, "txn_id is null"),
            (r#"{"txn_id":1,"action":"maybe","label":"x"}"#, "action is \"maybe\""),
            (r#"{"txn_id":1,"action":"accept"}"#, "label is null"),
            (r#"{"txn_id":1,"action":"accept","label":"x","confidence":7}"#, "confidence is 7"),
            (r#"{"txn_id":1,"action":"accept","label":"x","event_id":5}"#, "event_id is 5"),
            ("x", "not JSON"),
            // Case A6.
            (r#"{"txn_id":1,"action":"accept","label":"cof\u0000fee"}"#, "label is \"cof\\u0000fee\""),
            (r#"{"txn_id":1,"action":"accept","label":"x","event_id":"e\u0000"}"#, "event_id is "),
            (r#"{"txn_id":1,"action":"accept","label":"x","reason":"\u0000"}"#, "reason is "),
        ];
        for (body, named) in cases {
            let error = FeedbackRequest::parse(body.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(named), "{body}: {error}");
        }
    }
}
