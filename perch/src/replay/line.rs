//! A line of a recorded log.

use serde_json::Value;

/// One recorded request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its body, as the client sent it.
    pub body: String,
    /// Who asked, if the log says; anything that tells users apart.
    pub user: Option<String>,
}

/// A line that is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    /// Not JSON.
    #[error("is not JSON: {0}")]
    NotJson(String),
    /// Not an object.
    #[error("is no object: write {{\"body\": {{…}}, \"user\": \"…\"}}, or the request's body itself")]
    NotObject,
}

impl Recorded {
    /// Reads `{"body": …, "user": …}`, body being an object or a text, or a bare body. `None` for an empty line.
    ///
    /// # Errors
    /// When the line is no JSON object.
    pub fn parse(line: &str) -> Result<Option<Self>, BadLine> {
        let line = line.trim();
        if line.is_empty() {
            return Ok(None);
        }
        let value: Value = serde_json::from_str(line).map_err(|error| BadLine::NotJson(error.to_string()))?;
        let Value::Object(fields) = &value else { return Err(BadLine::NotObject) };
        let Some(body) = fields.get("body") else {
            return Ok(Some(Self { body: line.to_owned(), user: None }));
        };
        let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
        let user = fields.get("user").filter(|user| !user.is_null());
        let user = user.map(|user| user.as_str().map_or_else(|| user.to_string(), str::to_owned));
        Ok(Some(Self { body, user }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
