//! What a JSON text holds at some places of each entry of a list; the rest of it is checked to be JSON and passed over.
//!
//! An answer comes from outside, and a tree of all its values takes many times its length in memory (an empty array is
//! two bytes of text and dozens in a tree), where Perch wants an id and a label of each item.

mod down;
mod path;
mod within;

use std::borrow::Cow;
use std::fmt::{Display, Formatter, Result as Written};

use serde::de::{DeserializeSeed, Error};

use self::down::{Down, Pick};
pub(crate) use self::path::Path;
use self::within::Sought;

/// What stands at a place.
#[derive(Debug, Clone, PartialEq)]
pub enum Found<'a> {
    /// Nothing: the way there ends early, or at a `null`.
    Nothing,
    /// A string.
    Text(Cow<'a, str>),
    /// An integer.
    Integer(Integer),
    /// Another number.
    Number(f64),
    /// A boolean, array or object; or the way there meets something that it cannot go on in.
    Other,
}

/// A number without a point or an exponent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integer {
    /// Not negative.
    Unsigned(u64),
    /// Negative.
    Negative(i64),
}

impl Display for Integer {
    fn fmt(&self, out: &mut Formatter<'_>) -> Written {
        match self {
            Self::Unsigned(number) => number.fmt(out),
            Self::Negative(number) => number.fmt(out),
        }
    }
}

impl<'a> Found<'a> {
    /// As a number of any kind.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "what a number is as an f64")]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Integer(Integer::Unsigned(number)) => Some(*number as f64),
            Self::Integer(Integer::Negative(number)) => Some(*number as f64),
            _ => None,
        }
    }

    /// As a string.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What is here, and nothing from now on.
    pub(crate) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Nothing)
    }
}

/// What stands where a list should.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum List<R> {
    /// Nothing, or no way there.
    Nothing,
    /// Something else than a list.
    Other,
    /// One of more entries than are read.
    TooLong,
    /// One, and what was made of each of its entries.
    Entries(Vec<R>),
}

/// Calls `entry` with what stands at each of `places` in each entry of the list at `list`, which are `most` at most. Of two
/// members of one name the last counts.
///
/// # Errors
/// When `text` is not JSON.
pub(crate) fn pick<'a, R>(
    text: &'a [u8],
    list: &Path<'_>,
    places: &[Path<'_>],
    most: usize,
    entry: impl FnMut(&mut [Found<'a>]) -> R,
) -> Result<List<R>, serde_json::Error> {
    // The parser looks less closely at what it passes over.
    let text = str::from_utf8(text).map_err(serde_json::Error::custom)?;
    let mut json = serde_json::Deserializer::from_str(text);
    let mut pick = Pick { list, most, entry, sought: Sought::new(places), seen: List::Nothing };
    Down { depth: 0, pick: &mut pick }.deserialize(&mut json)?;
    json.end()?;
    Ok(pick.seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::de::IgnoredAny;
    use serde_json::Value;

    fn steps<'p>(path: &'p Path<'_>) -> impl Iterator<Item = &'p str> {
        (0..).map_while(|depth| path.step(depth))
    }

    /// What stands there by a tree of the whole text, of which `pick` makes none.
    fn by_tree<'a>(top: &'a Value, pointer: &str) -> Found<'a> {
        let mut at = top;
        for step in steps(&Path::of(pointer)) {
            let next = match at {
                Value::Object(map) => map.get(step),
                Value::Array(_) => match at.pointer(&format!("/{step}")) {
                    Some(value) => Some(value),
                    None if step.parse::<usize>().is_ok_and(|index| index.to_string() == step) => None,
                    None => return Found::Other,
                },
                Value::Null => None,
                _ => return Found::Other,
            };
            let Some(next) = next else { return Found::Nothing };
            at = next;
        }
        match at {
            Value::Null => Found::Nothing,
            Value::String(text) => Found::Text(Cow::Borrowed(text)),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => Found::Integer(Integer::Unsigned(number)),
                (_, Some(number)) => Found::Integer(Integer::Negative(number)),
                _ => Found::Number(number.as_f64().unwrap()),
            },
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => Found::Other,
        }
    }

    fn list_by_tree(top: &Value, list: &str, places: &[&str], most: usize) -> List<Vec<String>> {
        let mut at = Some(top);
        for step in steps(&Path::of(list)) {
            at = match at {
                Some(Value::Array(_)) => at.and_then(|at| at.pointer(&format!("/{step}"))),
                Some(Value::Object(map)) => map.get(step),
                _ => None,
            };
        }
        match at {
            None | Some(Value::Null) => List::Nothing,
            Some(Value::Array(entries)) if entries.len() > most => List::TooLong,
            Some(Value::Array(entries)) => {
                let all = |entry: &Value| places.iter().map(|place| format!("{:?}", by_tree(entry, place))).collect();
                List::Entries(entries.iter().map(all).collect())
            }
            Some(_) => List::Other,
        }
    }

    fn picked(text: &str, list: &str, places: &[&str], most: usize) -> Result<List<Vec<String>>, serde_json::Error> {
        let paths: Vec<Path<'_>> = places.iter().map(|place| Path::of(place)).collect();
        pick(text.as_bytes(), &Path::of(list), &paths, most, |found| {
            found.iter().map(|found| format!("{found:?}")).collect()
        })
    }

    /// Names and indices that a few pointers often meet.
    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((name(), inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn name() -> impl Strategy<Value = String> {
        prop_oneof![Just("a"), Just("b"), Just("0"), Just("1"), Just("01"), Just("a/b"), Just("~")]
            .prop_map(str::to_owned)
    }

    fn pointer() -> impl Strategy<Value = String> {
        let step = name().prop_map(|name| format!("/{}", name.replace('~', "~0").replace('/', "~1")));
        proptest::collection::vec(step, 0..4).prop_map(|steps| steps.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn what_is_picked_is_what_a_tree_holds(
            top in json(), list in pointer(), places in proptest::collection::vec(pointer(), 0..4), most in 0_usize..4,
        ) {
            let places: Vec<&str> = places.iter().map(String::as_str).collect();
            for text in [top.to_string(), serde_json::to_string_pretty(&top).unwrap()] {
                // Written and read again, since that may move the last place of a number.
                let top: Value = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(picked(&text, &list, &places, most).unwrap(), list_by_tree(&top, &list, &places, most));
            }
        }

        // A text that is cut or changed is refused if and only if it is no JSON.
        #[test]
        fn what_is_no_json_is_refused(top in json(), list in pointer(), place in pointer(), at: prop::sample::Index, byte: char) {
            let text = top.to_string();
            let mut changed: Vec<char> = text.chars().collect();
            let at = at.index(changed.len());
            changed[at] = byte;
            let cut: String = text.chars().take(at).collect();
            for text in [cut, changed.into_iter().collect()] {
                let json = serde_json::from_str::<IgnoredAny>(&text).is_ok();
                let tree = serde_json::from_str::<Value>(&text).is_ok();
                let picked = picked(&text, &list, &[&place], 9).is_ok();
                // Between the two lie numbers too large and half surrogates where nobody looks.
                prop_assert!(picked <= json && tree <= picked, "{text:?}");
            }
        }
    }

    #[test]
    fn the_last_of_two_members_of_one_name_counts() {
        let text = r#"{"a":[{"b":1},{"b":2}],"a":[{"b":3,"b":[],"b":4,"c":{"d":1},"c":null}]}"#;
        let one = vec!["Integer(Unsigned(4))".to_owned(), "Nothing".to_owned()];
        assert_eq!(picked(text, "/a", &["/b", "/c/d"], 9).unwrap(), List::Entries(vec![one]));
        assert_eq!(picked(r#"{"a":[1],"a":2}"#, "/a", &[], 9).unwrap(), List::Other);
        assert_eq!(picked(r#"{"a":{"b":[]},"a":{}}"#, "/a/b", &[], 9).unwrap(), List::Nothing);
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_where_nobody_looks_too() {
        let text = b"{\"x\":\"\xff\",\"a\":[]}";
        assert!(pick(text, &Path::of("/a"), &[], 9, |_| ()).is_err());
    }

    #[test]
    fn a_deep_text_is_passed_over_or_refused_but_ends_nothing() {
        let deep = "[".repeat(1_000_000);
        assert!(picked(&deep, "/a", &[], 9).is_err());
        let closed = format!("{deep}{}", "]".repeat(1_000_000));
        assert_eq!(
            picked(&format!(r#"{{"x":{closed},"a":[7]}}"#), "/a", &[""], 9).unwrap(),
            List::Entries(vec![vec!["Integer(Unsigned(7))".to_owned()]])
        );
    }
}
