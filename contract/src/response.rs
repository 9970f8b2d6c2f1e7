//! The items of a response: where they, their ids and their labels stand, and how they are read.
//!
//! The schema is a part of the filter's configuration and travels to the scorer with every batch, so that both read a
//! response in the same way. Its defaults are those of `/ml/suggestions`.
//!
//! ```
//! use contract::response::{ResponseSchema, read};
//!
//! let body = br#"{"items": [{"txn_id": 88, "candidates": [{"label": "coffee"}]}, {"txn_id": "89"}]}"#;
//! let items = read(body, &ResponseSchema::default()).unwrap();
//! assert_eq!((items[0].id.as_str(), items[0].label.as_deref()), ("88", Some("coffee")));
//! assert_eq!((items[1].id.as_str(), items[1].label.as_deref()), ("89", None));
//! ```

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

pub use crate::json_select::JsonValue;
use crate::json_select::{Integer, List, Pointer, select_entries};

/// Most items that are read of one response; a longer one counts as [`ResponseError::WrongType`].
pub const MAX_ITEMS: usize = 10_000;

/// JSON pointers (RFC 6901) into a response; `id` and `label` start at an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResponseSchema {
    /// The array of items.
    pub items: String,
    /// An item's id: a string or an integer.
    pub id: String,
    /// An item's top label: a string, absent where the response gives none.
    pub label: String,
    /// Labels that stand for no opinion.
    pub abstain: Vec<String>,
}

impl Default for ResponseSchema {
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
#[error(
    "response.{field} is {value:?}: a JSON pointer is empty or begins with '/', and writes '~' as ~0; give e.g. {example:?}"
)]
pub struct SchemaError {
    /// The field at fault.
    pub field: &'static str,
    /// Its value.
    pub value: String,
    /// A value that is accepted.
    pub example: &'static str,
}

impl ResponseSchema {
    /// Checks the pointers' form.
    ///
    /// # Errors
    /// Names the first field that is not a JSON pointer.
    pub fn check(&self) -> Result<(), SchemaError> {
        let fields = [
            ("items", &self.items, "/items"),
            ("id", &self.id, "/txn_id"),
            ("label", &self.label, "/candidates/0/label"),
        ];
        for (field, value, example) in fields {
            if Pointer::parse(value).is_none() {
                return Err(SchemaError { field, value: value.clone(), example });
            }
        }
        Ok(())
    }

    /// Returns `true` if `label` stands for no opinion.
    #[must_use]
    pub fn abstains(&self, label: &str) -> bool {
        self.abstain.iter().any(|abstaining| abstaining == label)
    }
}

/// One item of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its id; an integer in its decimal form, so that `88` and `"88"` are one item.
    pub id: String,
    /// Its top label, if it has one.
    pub label: Option<String>,
}

/// Why the items of a response cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// The body is not JSON.
    #[error("the response is not JSON")]
    NotJson,
    /// There is no array of items.
    #[error("the response has no items")]
    NoItems,
    /// The items are not an array (or too many), or an id or label is of the wrong type.
    #[error("an item, id or label of the response has the wrong type")]
    WrongType,
}

/// Reads a response's items. An empty array is a response without items and not an error: that is for the caller to judge.
///
/// # Errors
/// See [`ResponseError`].
pub fn read(body: &[u8], schema: &ResponseSchema) -> Result<Vec<Item>, ResponseError> {
    read_with(body, schema, [], |item, []| item)
}

/// Like [`read`], with the values at `extra` in each item: JSON pointers that start at the item.
///
/// # Errors
/// See [`ResponseError`].
pub fn read_with<'a, R, const N: usize>(
    body: &'a [u8],
    schema: &ResponseSchema,
    extra: [&str; N],
    mut make: impl FnMut(Item, [JsonValue<'a>; N]) -> R,
) -> Result<Vec<R>, ResponseError> {
    entries(body, schema, &extra, |id, label, extra| {
        let id = match id {
            Id::Text(text) => text.into_owned(),
            Id::Number(number) => number.to_string(),
        };
        let extra = std::array::from_fn(|at| extra.get_mut(at).map_or(JsonValue::Absent, JsonValue::take));
        make(Item { id, label: label.map(Cow::into_owned) }, extra)
    })
}

/// The number of items in a response, each of which can be read.
///
/// # Errors
/// See [`ResponseError`].
pub fn count(body: &[u8], schema: &ResponseSchema) -> Result<usize, ResponseError> {
    entries(body, schema, &[], |_, _, _| ()).map(|items| items.len())
}

/// An item's id as it is written.
enum Id<'a> {
    Text(Cow<'a, str>),
    Number(Integer),
}

fn entries<'a, R>(
    body: &'a [u8],
    schema: &ResponseSchema,
    extra: &[&str],
    mut make: impl FnMut(Id<'a>, Option<Cow<'a, str>>, &mut [JsonValue<'a>]) -> R,
) -> Result<Vec<R>, ResponseError> {
    // Pointers are checked where the configuration is read; one that is not a pointer selects the whole item.
    let list = Pointer::parse(&schema.items).unwrap_or_default();
    let own = [schema.id.as_str(), schema.label.as_str()];
    let places: Vec<Pointer<'_>> =
        own.iter().chain(extra).map(|text| Pointer::parse(text).unwrap_or_default()).collect();
    let item = |values: &mut [JsonValue<'a>]| {
        let [id, label, extra @ ..] = values else { return Err(ResponseError::WrongType) };
        let id = match id.take() {
            JsonValue::Text(text) => Id::Text(text),
            JsonValue::Integer(number) => Id::Number(number),
            JsonValue::Absent | JsonValue::Number(_) | JsonValue::Other => return Err(ResponseError::WrongType),
        };
        let label = match label.take() {
            JsonValue::Text(label) => Some(label),
            JsonValue::Absent => None,
            JsonValue::Integer(_) | JsonValue::Number(_) | JsonValue::Other => return Err(ResponseError::WrongType),
        };
        Ok(make(id, label, extra))
    };
    match select_entries(body, &list, &places, MAX_ITEMS, item) {
        Ok(List::Entries(items)) => items.into_iter().collect(),
        Ok(List::Absent) => Err(ResponseError::NoItems),
        Ok(List::Other | List::TooLong) => Err(ResponseError::WrongType),
        Err(_) => Err(ResponseError::NotJson),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_default(body: &str) -> Result<Vec<Item>, ResponseError> {
        read(body.as_bytes(), &ResponseSchema::default())
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
    fn each_fault_has_its_own_error() {
        assert_eq!(read_default("<html>"), Err(ResponseError::NotJson));
        assert_eq!(read_default("{}"), Err(ResponseError::NoItems));
        assert_eq!(read_default(r#"{"items":{}}"#), Err(ResponseError::WrongType));
        assert_eq!(read_default(r#"{"items":[{"txn_id":1.5}]}"#), Err(ResponseError::WrongType));
        assert_eq!(read_default(r#"{"items":[{"txn_id":1,"candidates":"x"}]}"#), Err(ResponseError::WrongType));
        assert_eq!(
            read_default(r#"{"items":[{"txn_id":1,"candidates":[{"label":7}]}]}"#),
            Err(ResponseError::WrongType)
        );
        assert_eq!(read_default(r#"{"items":[]}"#), Ok(vec![]));
    }

    #[test]
    fn a_field_that_is_not_a_pointer_is_named() {
        let schema = ResponseSchema { label: "label".into(), ..ResponseSchema::default() };
        assert!(schema.check().unwrap_err().to_string().contains("response.label"));
        let schema = ResponseSchema { id: "/a~b".into(), ..ResponseSchema::default() };
        assert!(schema.check().unwrap_err().to_string().contains("response.id"));
    }
}
