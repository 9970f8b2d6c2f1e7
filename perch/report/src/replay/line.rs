//! A line of a recorded log.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// One recorded request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its body, byte for byte as it was recorded.
    pub body: String,
    /// The user, if the log names one.
    pub user: Option<String>,
}

/// A line that is not a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    /// Not JSON.
    #[error("is not JSON: {0}")]
    NotJson(String),
    /// Not an object.
    #[error("is not an object: write {{\"body\": {{…}}, \"user\": \"…\"}}, or the request's body itself")]
    NotObject,
}

/// The members of a line as raw text: a number of thirty digits or a duplicate name would not survive being parsed and
/// written again.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    user: Option<&'a RawValue>,
}

impl Recorded {
    /// Reads `{"body": …, "user": …}`, body being JSON or a text, or a bare body. `None` for an empty line.
    ///
    /// # Errors
    /// When the line is not a JSON object.
    pub fn parse(line: &str) -> Result<Option<Self>, BadLine> {
        let line = line.trim();
        if line.is_empty() {
            return Ok(None);
        }
        let not_json = |error: serde_json::Error| BadLine::NotJson(error.to_string());
        if !line.starts_with('{') {
            return serde_json::from_str::<&RawValue>(line).map_err(not_json).and(Err(BadLine::NotObject));
        }
        let Line { body, user } = serde_json::from_str(line).map_err(not_json)?;
        let Some(body) = body else {
            return Ok(Some(Self { body: line.to_owned(), user: None }));
        };
        let user = user.filter(|user| user.get() != "null").map(|user| text(user).into_owned());
        Ok(Some(Self { body: text(body).into_owned(), user }))
    }
}

/// The contents of a JSON string; any other value as it is written.
fn text(value: &RawValue) -> Cow<'_, str> {
    match serde_json::from_str::<String>(value.get()) {
        Ok(text) => Cow::Owned(text),
        Err(_) => Cow::Borrowed(value.get()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_54_a_body_is_sent_as_it_was_recorded() {
        let body = r#"{"txn_ids" : [88], "n":123456789012345678901,"a":1,"a":2,"x":1.10,"s":"\u00e9"}"#;
        for line in [body.to_owned(), format!(r#" {{"user":"u", "body": {body} }}"#)] {
            assert_eq!(Recorded::parse(&line).unwrap().unwrap().body, body);
        }
        let user = |line: &str| Recorded::parse(line).unwrap().unwrap().user;
        assert_eq!(user(r#"{"body":{},"user":123456789012345678901}"#).as_deref(), Some("123456789012345678901"));
        assert_eq!(user(r#"{"body":{},"user":null}"#), None);
    }

    #[test]
    fn a_body_may_be_an_object_a_text_or_the_line_itself() {
        let parsed = |line: &str| Recorded::parse(line).unwrap().unwrap();
        let body = r#"{"txn_ids":[88]}"#;
        assert_eq!(parsed(body), Recorded { body: body.into(), user: None });
        assert_eq!(
            parsed(&format!(r#"{{"body":{body},"user":7}}"#)),
            Recorded { body: body.into(), user: Some("7".into()) }
        );
        let text = format!(r#"{{"body":"{}","user":"ann","status":200}}"#, body.replace('"', "\\\""));
        assert_eq!(parsed(&text), Recorded { body: body.into(), user: Some("ann".into()) });
        assert_eq!(Recorded::parse("  \n"), Ok(None));
        assert_eq!(Recorded::parse("[1]"), Err(BadLine::NotObject));
        assert!(matches!(Recorded::parse("{"), Err(BadLine::NotJson(_))));
    }
}
