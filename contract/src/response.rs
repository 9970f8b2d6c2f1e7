//! Where items, their ids and their labels stand in an answer, and how to read them.
//!
//! The schema is configuration of the filter, and travels with every batch to the scorer, so that both read an answer
//! in one way. Defaults are those of `/ml/suggestions`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

pub use crate::picked::Found;
use crate::picked::{Integer, List, Path, pick};

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
    read_with(body, schema, [], |item, []| item)
}

/// As [`read`], with what stands at `besides` in each item: JSON pointers that start at it, as those of the schema do.
///
/// # Errors
/// See [`Fault`].
pub fn read_with<'a, R, const N: usize>(
    body: &'a [u8],
    schema: &AnswerSchema,
    besides: [&str; N],
    mut make: impl FnMut(Item, [Found<'a>; N]) -> R,
) -> Result<Vec<R>, Fault> {
    entries(body, schema, &besides, |id, label, besides| {
        let id = match id {
            Id::Text(text) => text.into_owned(),
            Id::Number(number) => number.to_string(),
        };
        let besides = std::array::from_fn(|at| besides.get_mut(at).map_or(Found::Nothing, Found::take));
        make(Item { id, label: label.map(Cow::into_owned) }, besides)
    })
}

/// How many items an answer has, where each can be read.
///
/// # Errors
/// See [`Fault`].
pub fn count(body: &[u8], schema: &AnswerSchema) -> Result<usize, Fault> {
    entries(body, schema, &[], |_, _, _| ()).map(|items| items.len())
}

/// An item's id as it stands there.
enum Id<'a> {
    Text(Cow<'a, str>),
    Number(Integer),
}

fn entries<'a, R>(
    body: &'a [u8],
    schema: &AnswerSchema,
    besides: &[&str],
    mut make: impl FnMut(Id<'a>, Option<Cow<'a, str>>, &mut [Found<'a>]) -> R,
) -> Result<Vec<R>, Fault> {
    let places: Vec<Path<'_>> =
        [schema.id.as_str(), schema.label.as_str()].iter().chain(besides).map(|pointer| Path::of(pointer)).collect();
    let item = |found: &mut [Found<'a>]| {
        let [id, label, besides @ ..] = found else { return Err(Fault::WrongType) };
        let id = match id.take() {
            Found::Text(text) => Id::Text(text),
            Found::Integer(number) => Id::Number(number),
            Found::Nothing | Found::Number(_) | Found::Other => return Err(Fault::WrongType),
        };
        let label = match label.take() {
            Found::Text(label) => Some(label),
            Found::Nothing => None,
            Found::Integer(_) | Found::Number(_) | Found::Other => return Err(Fault::WrongType),
        };
        Ok(make(id, label, besides))
    };
    match pick(body, &Path::of(&schema.items), &places, MAX_ITEMS, item) {
        Ok(List::Entries(items)) => items.into_iter().collect(),
        Ok(List::Nothing) => Err(Fault::NoItems),
        Ok(List::Other | List::TooLong) => Err(Fault::WrongType),
        Err(_) => Err(Fault::NotJson),
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
