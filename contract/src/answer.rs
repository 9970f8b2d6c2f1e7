//! Where items, their ids and their labels stand in an answer, and how to read them.
//!
//! The schema is configuration of the filter, and travels with every batch to the scorer, so that both read an answer
//! in one way. Defaults are those of `/ml/suggestions`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Most items that are read of one answer; the rest of a longer one counts as [`Fault::WrongType`].
pub const MAX_ITEMS: usize = 10_000;

/// JSON pointers (RFC 6901) into an answer; `id` and `label` start at an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnswerSchema {
    /// The array of items.
    pub items: String,
    /// An item's id: a string or an integer.
    pub id: String,
    /// An item's top label: a string, absent where the side has none.
    pub label: String,
    /// Labels by which a side says nothing.
    pub abstain: Vec<String>,
}

impl Default for AnswerSchema {
    fn default() -> Self {
        Self {
            items: "/items".into(),
            id: "/txn_id".into(),
            label: "/candidates/0/label".into(),
            abstain: vec!["unknown".into()],
        }
    }
}

/// A schema that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("answer.{field} is {value:?}: a JSON pointer is empty or starts with '/', e.g. {example:?}")]
pub struct SchemaError {
    /// The field at fault.
    pub field: &'static str,
    /// What it held.
    pub value: String,
    /// A value that would do.
    pub example: &'static str,
}

impl AnswerSchema {
    /// Checks the pointers' form.
    ///
    /// # Errors
    /// Names the first field that is no JSON pointer.
    pub fn check(&self) -> Result<(), SchemaError> {
        let fields = [
            ("items", &self.items, "/items"),
            ("id", &self.id, "/txn_id"),
            ("label", &self.label, "/candidates/0/label"),
        ];
        for (field, value, example) in fields {
            if !value.is_empty() && !value.starts_with('/') {
                return Err(SchemaError { field, value: value.clone(), example });
            }
        }
        Ok(())
    }

    /// Does `label` say nothing?
    #[must_use]
    pub fn abstains(&self, label: &str) -> bool {
        self.abstain.iter().any(|abstaining| abstaining == label)
    }
}

/// One item of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its id; an integer in its decimal form, so that `88` and `"88"` are one item.
    pub id: String,
    /// Its top label, if the side gave one.
    pub label: Option<String>,
}

/// Why an answer cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The body is not JSON.
    #[error("the answer is not JSON")]
    NotJson,
    /// There is no array of items.
    #[error("the answer has no items")]
    NoItems,
    /// The items are no array (or too many), or an id or label is of the wrong type.
    #[error("an item, id or label of the answer has the wrong type")]
    WrongType,
}

/// Reads an answer's items. An empty array is an answer with no items, not a fault: who must not accept it says so.
///
/// # Errors
/// See [`Fault`].
pub fn read(body: &[u8], schema: &AnswerSchema) -> Result<Vec<Item>, Fault> {
    let document: Value = serde_json::from_slice(body).map_err(|_| Fault::NotJson)?;
    items(&document, schema)
}

/// As [`read`], of an answer that is parsed already.
///
/// # Errors
/// See [`Fault`].
pub fn items(document: &Value, schema: &AnswerSchema) -> Result<Vec<Item>, Fault> {
    let items = match document.pointer(&schema.items) {
        Some(Value::Array(items)) => items,
        Some(Value::Null) | None => return Err(Fault::NoItems),
        Some(_) => return Err(Fault::WrongType),
    };
    if items.len() > MAX_ITEMS {
        return Err(Fault::WrongType);
    }
    items.iter().map(|item| read_item(item, schema)).collect()
}

fn read_item(item: &Value, schema: &AnswerSchema) -> Result<Item, Fault> {
    let id = match item.pointer(&schema.id) {
        Some(Value::String(id)) => id.clone(),
        Some(Value::Number(id)) if id.is_i64() || id.is_u64() => id.to_string(),
        _ => return Err(Fault::WrongType),
    };
    Ok(Item { id, label: label_at(item, &schema.label)? })
}

/// A path that ends early (no candidates) is no label; one that meets a scalar where it must go on, or ends at
/// something that is no string, is of the wrong type.
fn label_at(item: &Value, pointer: &str) -> Result<Option<String>, Fault> {
    let mut at = item;
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        let next = match at {
            Value::Object(map) => map.get(&step),
            Value::Array(list) => match step.parse::<usize>() {
                Ok(index) => list.get(index),
                Err(_) => return Err(Fault::WrongType),
            },
            Value::Null => None,
            _ => return Err(Fault::WrongType),
        };
        match next {
            Some(value) => at = value,
            None => return Ok(None),
        }
    }
    match at {
        Value::String(label) => Ok(Some(label.clone())),
        Value::Null => Ok(None),
        _ => Err(Fault::WrongType),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_default(body: &str) -> Result<Vec<Item>, Fault> {
        read(body.as_bytes(), &AnswerSchema::default())
    }

    #[test]
    fn ids_as_numbers_and_strings_are_one() {
        let items = read_default(
            r#"{"items":[{"txn_id":88,"candidates":[{"label":"coffee"}]},{"txn_id":"89","candidates":[]}]}"#,
        )
        .unwrap();
        assert_eq!(items.len(), 2);
        assert_eq!((items[0].id.as_str(), items[0].label.as_deref()), ("88", Some("coffee")));
        assert_eq!((items[1].id.as_str(), items[1].label.as_deref()), ("89", None));
    }

    #[test]
    fn each_fault_is_told_apart() {
        assert_eq!(read_default("<html>"), Err(Fault::NotJson));
        assert_eq!(read_default("{}"), Err(Fault::NoItems));
        assert_eq!(read_default(r#"{"items":{}}"#), Err(Fault::WrongType));
        assert_eq!(read_default(r#"{"items":[{"txn_id":1.5}]}"#), Err(Fault::WrongType));
        assert_eq!(read_default(r#"{"items":[{"txn_id":1,"candidates":"x"}]}"#), Err(Fault::WrongType));
        assert_eq!(read_default(r#"{"items":[{"txn_id":1,"candidates":[{"label":7}]}]}"#), Err(Fault::WrongType));
        assert_eq!(read_default(r#"{"items":[]}"#), Ok(vec![]));
    }

    #[test]
    fn a_pointer_without_its_slash_is_named() {
        let schema = AnswerSchema { label: "label".into(), ..AnswerSchema::default() };
        assert!(schema.check().unwrap_err().to_string().contains("answer.label"));
    }
}
