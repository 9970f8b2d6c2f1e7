//! Selects values out of a JSON text by JSON pointers (RFC 6901): the only reader of such pointers in Perch.
//!
//! A response comes from outside, and a tree of all its values takes many times its length in memory (an empty array is
//! two bytes of text and dozens in a tree), where Perch needs an id and a label of each item. So the text is walked once,
//! the wanted values are kept, and the rest is only checked to be JSON.
//!
//! | module | what it holds |
//! |---|---|
//! | `pointer` | the pointer: escapes, and which array index a step is |
//! | `value` | what a selection returns |
//! | `entry` | the walk through one value, for all wanted places in it |
//! | `list` | the walk to a list, and over its entries |

mod entry;
mod list;
mod pointer;
mod value;

use serde::de::{DeserializeSeed, Error};

use self::entry::{EntryWalker, Places};
use self::list::{ListSearch, ListWalker};
pub use self::pointer::Pointer;
pub(crate) use self::value::List;
pub use self::value::{Integer, JsonValue};

/// The value at `pointer`. Of several members with one name the last counts.
///
/// ```
/// use contract::json_select::{Integer, JsonValue, Pointer, select};
///
/// let ids = Pointer::parse("/ids/1").unwrap();
/// let found = select(br#"{"ids": ["a", 7], "name": "x"}"#, &ids).unwrap();
/// assert_eq!(found, JsonValue::Integer(Integer::Unsigned(7)));
/// // An index has no leading zero and no sign.
/// let found = select(br#"{"ids": ["a", 7]}"#, &Pointer::parse("/ids/01").unwrap()).unwrap();
/// assert_eq!(found, JsonValue::Other);
/// ```
///
/// # Errors
/// When `text` is not JSON.
pub fn select<'a>(text: &'a [u8], pointer: &Pointer<'_>) -> Result<JsonValue<'a>, serde_json::Error> {
    let mut places = Places::new(std::slice::from_ref(pointer));
    walk(text, EntryWalker { depth: 0, places: &mut places })?;
    Ok(places.values().first_mut().map_or(JsonValue::Absent, JsonValue::take))
}

/// Calls `entry` with the values at `places` in each entry of the list at `list`, which may have up to `limit` entries. Of
/// several members with one name the last counts.
///
/// # Errors
/// When `text` is not JSON.
pub(crate) fn select_entries<'a, R>(
    text: &'a [u8],
    list: &Pointer<'_>,
    places: &[Pointer<'_>],
    limit: usize,
    entry: impl FnMut(&mut [JsonValue<'a>]) -> R,
) -> Result<List<R>, serde_json::Error> {
    let mut search = ListSearch { list, limit, entry, places: Places::new(places), result: List::Absent };
    walk(text, ListWalker { depth: 0, search: &mut search })?;
    Ok(search.result)
}

fn walk<'a>(text: &'a [u8], walker: impl DeserializeSeed<'a, Value = ()>) -> Result<(), serde_json::Error> {
    // The parser does not check the encoding of strings that it skips.
    let text = str::from_utf8(text).map_err(serde_json::Error::custom)?;
    let mut json = serde_json::Deserializer::from_str(text);
    walker.deserialize(&mut json)?;
    json.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::de::IgnoredAny;
    use serde_json::Value;
    use std::borrow::Cow;

    fn parse(pointer: &str) -> Pointer<'_> {
        Pointer::parse(pointer).unwrap()
    }

    fn steps<'p>(pointer: &'p Pointer<'_>) -> impl Iterator<Item = &'p str> {
        (0..).map_while(|depth| pointer.name(depth))
    }

    /// The value by a tree of the whole text, which the walk does not build.
    fn by_tree<'a>(top: &'a Value, pointer: &str) -> JsonValue<'a> {
        let mut at = top;
        for step in steps(&parse(pointer)) {
            let next = match at {
                Value::Object(map) => map.get(step),
                Value::Array(_) => match at.pointer(&format!("/{step}")) {
                    Some(value) => Some(value),
                    None if step.parse::<usize>().is_ok_and(|index| index.to_string() == step) => None,
                    None => return JsonValue::Other,
                },
                Value::Null => None,
                _ => return JsonValue::Other,
            };
            let Some(next) = next else { return JsonValue::Absent };
            at = next;
        }
        match at {
            Value::Null => JsonValue::Absent,
            Value::String(text) => JsonValue::Text(Cow::Borrowed(text)),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => JsonValue::Integer(Integer::Unsigned(number)),
                (_, Some(number)) => JsonValue::Integer(Integer::Negative(number)),
                _ => JsonValue::Number(number.as_f64().unwrap()),
            },
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => JsonValue::Other,
        }
    }

    fn list_by_tree(top: &Value, list: &str, places: &[&str], limit: usize) -> List<Vec<String>> {
        let mut at = Some(top);
        for step in steps(&parse(list)) {
            at = match at {
                Some(Value::Array(_)) => at.and_then(|at| at.pointer(&format!("/{step}"))),
                Some(Value::Object(map)) => map.get(step),
                _ => None,
            };
        }
        match at {
            None | Some(Value::Null) => List::Absent,
            Some(Value::Array(entries)) if entries.len() > limit => List::TooLong,
            Some(Value::Array(entries)) => {
                let all = |entry: &Value| places.iter().map(|place| format!("{:?}", by_tree(entry, place))).collect();
                List::Entries(entries.iter().map(all).collect())
            }
            Some(_) => List::Other,
        }
    }

    fn selected(text: &str, list: &str, places: &[&str], limit: usize) -> Result<List<Vec<String>>, serde_json::Error> {
        let pointers: Vec<Pointer<'_>> = places.iter().map(|place| parse(place)).collect();
        select_entries(text.as_bytes(), &parse(list), &pointers, limit, |found| {
            found.iter().map(|found| format!("{found:?}")).collect()
        })
    }

    /// Documents with few names and indices, so that pointers often lead somewhere.
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
        fn the_walk_returns_the_values_of_a_tree(
            top in json(), list in pointer(), places in proptest::collection::vec(pointer(), 0..4), limit in 0_usize..4,
        ) {
            let places: Vec<&str> = places.iter().map(String::as_str).collect();
            for text in [top.to_string(), serde_json::to_string_pretty(&top).unwrap()] {
                // Written and read again, since that may move the last place of a number.
                let top: Value = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(selected(&text, &list, &places, limit).unwrap(), list_by_tree(&top, &list, &places, limit));
                prop_assert_eq!(select(text.as_bytes(), &parse(&list)).unwrap(), by_tree(&top, &list));
            }
        }

        // A text that is cut or changed is refused if and only if it is not JSON.
        #[test]
        fn a_text_that_is_not_json_is_refused(top in json(), list in pointer(), place in pointer(), at: prop::sample::Index, byte: char) {
            let text = top.to_string();
            let mut changed: Vec<char> = text.chars().collect();
            let at = at.index(changed.len());
            changed[at] = byte;
            let cut: String = text.chars().take(at).collect();
            for text in [cut, changed.into_iter().collect()] {
                let json = serde_json::from_str::<IgnoredAny>(&text).is_ok();
                let tree = serde_json::from_str::<Value>(&text).is_ok();
                let selected = selected(&text, &list, &[&place], 9).is_ok();
                // In between are numbers out of range and lone surrogates in skipped values.
                prop_assert!(selected <= json && tree <= selected, "{text:?}");
            }
        }
    }

    #[test]
    fn the_last_of_two_members_of_one_name_counts() {
        let text = r#"{"a":[{"b":1},{"b":2}],"a":[{"b":3,"b":[],"b":4,"c":{"d":1},"c":null}]}"#;
        let one = vec!["Integer(Unsigned(4))".to_owned(), "Absent".to_owned()];
        assert_eq!(selected(text, "/a", &["/b", "/c/d"], 9).unwrap(), List::Entries(vec![one]));
        assert_eq!(selected(r#"{"a":[1],"a":2}"#, "/a", &[], 9).unwrap(), List::Other);
        assert_eq!(selected(r#"{"a":{"b":[]},"a":{}}"#, "/a/b", &[], 9).unwrap(), List::Absent);
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_refused_in_skipped_values_too() {
        let text = b"{\"x\":\"\xff\",\"a\":[]}";
        assert!(select_entries(text, &parse("/a"), &[], 9, |_| ()).is_err());
    }

    #[test]
    fn a_deep_text_is_skipped_or_refused_and_does_not_overflow_the_stack() {
        let deep = "[".repeat(1_000_000);
        assert!(selected(&deep, "/a", &[], 9).is_err());
        let closed = format!("{deep}{}", "]".repeat(1_000_000));
        assert_eq!(
            selected(&format!(r#"{{"x":{closed},"a":[7]}}"#), "/a", &[""], 9).unwrap(),
            List::Entries(vec![vec!["Integer(Unsigned(7))".to_owned()]])
        );
    }

    #[test]
    fn an_index_with_a_leading_zero_or_a_sign_selects_no_element() {
        let text = br#"{"ids":["a","b"],"names":{"01":"c","+1":"d"}}"#;
        let at = |pointer| select(text, &parse(pointer)).unwrap();
        assert_eq!(at("/ids/1"), JsonValue::Text("b".into()));
        for pointer in ["/ids/01", "/ids/+1", "/ids/-1", "/ids/-", "/ids/", "/ids/1.0"] {
            assert_eq!(at(pointer), JsonValue::Other, "{pointer}");
        }
        assert_eq!(at("/ids/2"), JsonValue::Absent);
        assert_eq!(at("/names/01"), JsonValue::Text("c".into()), "a member's name may look like an index");
        assert_eq!(at("/names/+1"), JsonValue::Text("d".into()));
        let entries = |list| selected(r#"{"a":[[1],[2]]}"#, list, &["/0"], 9).unwrap();
        assert_eq!(entries("/a/01"), List::Absent);
        assert_eq!(entries("/a/+1"), List::Absent);
    }
}
