//! The body of a request for suggestions: `{"txn_ids": [88, "89"], "top_k": 3, "mode": "auto"}`.

use std::collections::HashSet;

use serde_json::Value;

/// Most transactions in one request.
pub const MOST_IDS: usize = 1_000;
/// Candidates per transaction where the client does not say.
pub const DEFAULT_TOP_K: usize = 3;
/// Most candidates per transaction.
pub const MOST_TOP_K: usize = 20;
const MODES: [&str; 3] = ["auto", "rule", "model"];

/// A checked request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuggestRequest {
    /// The transactions, in the client's order, each once.
    pub txn_ids: Vec<i64>,
    /// Most candidates per transaction, at least 1.
    pub top_k: usize,
}

/// A request that cannot be answered; the text is meant for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// The body is not JSON.
    #[error("the body is not JSON: send an object like {{\"txn_ids\": [88]}}")]
    NotJson,
    /// There is no list of ids.
    #[error("txn_ids is missing or no list: send an object like {{\"txn_ids\": [88]}}")]
    NoIds,
    /// An id is neither an integer nor a numeric string.
    #[error("txn_ids[{place}] is {value}: an id is an integer or a numeric string")]
    Id {
        /// Where it stands.
        place: usize,
        /// What it is, shortened.
        value: String,
    },
    /// Too many ids.
    #[error("txn_ids has {0} ids, at most {MOST_IDS} are taken: split the request")]
    TooMany(usize),
    /// `top_k` is out of range.
    #[error("top_k is {0}: give a whole number from 1 to {MOST_TOP_K}")]
    TopK(String),
    /// `mode` is none that is known.
    #[error("mode is {0}: give \"auto\", \"rule\" or \"model\", or leave it out")]
    Mode(String),
}

impl SuggestRequest {
    /// Reads a request. Fields that are not known are passed over.
    ///
    /// # Errors
    /// See [`BadRequest`]; the offending value is named.
    pub fn parse(body: &[u8]) -> Result<Self, BadRequest> {
        let request: Value = serde_json::from_slice(body).map_err(|_| BadRequest::NotJson)?;
        let Some(Value::Array(ids)) = request.get("txn_ids") else { return Err(BadRequest::NoIds) };
        if ids.len() > MOST_IDS {
            return Err(BadRequest::TooMany(ids.len()));
        }
        let mut seen = HashSet::with_capacity(ids.len());
        let mut txn_ids = Vec::with_capacity(ids.len());
        for (place, value) in ids.iter().enumerate() {
            let id = id(value).ok_or_else(|| BadRequest::Id { place, value: shown(value) })?;
            if seen.insert(id) {
                txn_ids.push(id);
            }
        }
        mode(request.get("mode"))?;
        Ok(Self { txn_ids, top_k: top_k(request.get("top_k"))? })
    }
}

/// An integer, or a string of decimal digits with an optional sign.
pub fn id(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn top_k(value: Option<&Value>) -> Result<usize, BadRequest> {
    match value {
        None | Some(Value::Null) => Ok(DEFAULT_TOP_K),
        Some(value) => value
            .as_u64()
            .and_then(|k| usize::try_from(k).ok())
            .filter(|k| (1..=MOST_TOP_K).contains(k))
            .ok_or_else(|| BadRequest::TopK(shown(value))),
    }
}

fn mode(value: Option<&Value>) -> Result<(), BadRequest> {
    match value {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(mode)) if MODES.contains(&mode.as_str()) => Ok(()),
        Some(value) => Err(BadRequest::Mode(shown(value))),
    }
}

/// The value as JSON, cut to a length that a message bears.
pub fn shown(value: &Value) -> String {
    const MOST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<SuggestRequest, BadRequest> {
        SuggestRequest::parse(body.as_bytes())
    }

    #[test]
    fn integers_and_numeric_strings_are_ids_and_each_counts_once() {
        let request = parse(r#"{"txn_ids":[88,"89",88,"88"],"mode":"auto","user_id":"x"}"#).unwrap();
        assert_eq!(request, SuggestRequest { txn_ids: vec![88, 89], top_k: 3 });
    }

    #[test]
    fn the_offending_value_is_named() {
        let cases = [
            (r#"{"txn_ids":[88,"8x"]}"#, "txn_ids[1] is \"8x\""),
            (r#"{"txn_ids":[1.5]}"#, "txn_ids[0] is 1.5"),
            (r#"{"txn_ids":[null]}"#, "null"),
            (r#"{"txn_ids":[9223372036854775808]}"#, "9223372036854775808"),
            (r#"{"txn_ids":88}"#, "txn_ids"),
            (r#"{"txn_ids":[1],"top_k":0}"#, "top_k is 0"),
            (r#"{"txn_ids":[1],"top_k":"3"}"#, "top_k is \"3\""),
            (r#"{"txn_ids":[1],"mode":"magic"}"#, "mode is \"magic\""),
            ("[1]", "txn_ids"),
            ("{", "not JSON"),
        ];
        for (body, named) in cases {
            let error = parse(body).unwrap_err().to_string();
            assert!(error.contains(named), "{body}: {error}");
        }
    }

    #[test]
    fn a_long_value_is_shortened() {
        let error = parse(&format!(r#"{{"txn_ids":["{}"]}}"#, "é".repeat(5_000))).unwrap_err().to_string();
        assert!(error.chars().count() < 200, "{error}");
    }

    #[test]
    fn more_ids_than_the_limit_are_refused() {
        let ids = vec!["1"; MOST_IDS + 1].join(",");
        assert_eq!(parse(&format!(r#"{{"txn_ids":[{ids}]}}"#)), Err(BadRequest::TooMany(MOST_IDS + 1)));
    }
}
