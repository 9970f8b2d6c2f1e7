//! What a JSON text holds at some places of each entry of a list; the rest of it is checked to be JSON and passed over.
//!
//! An answer comes from outside, and a tree of all its values takes many times its length in memory (an empty array is
//! two bytes of text and dozens in a tree), where Perch wants an id and a label of each item.

use std::borrow::Cow;
use std::fmt::{Formatter, Result as Written};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A JSON pointer (RFC 6901), step by step. A text that does not start with `/` leads nowhere but to where it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path<'p>(Vec<Cow<'p, str>>);

impl<'p> Path<'p> {
    /// Of `pointer`, e.g. `/candidates/0/label`.
    #[must_use]
    pub(crate) fn of(pointer: &'p str) -> Self {
        let plain = |step: &'p str| match step.contains('~') {
            true => Cow::Owned(step.replace("~1", "/").replace("~0", "~")),
            false => Cow::Borrowed(step),
        };
        Self(pointer.split('/').skip(1).map(plain).collect())
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn step(&self, depth: usize) -> Option<&str> {
        self.0.get(depth).map(AsRef::as_ref)
    }

    /// The array's element that the step is.
    fn index(&self, depth: usize) -> Option<usize> {
        let step = self.step(depth)?;
        let written_so = step == "0" || !step.starts_with(['0', '+']);
        step.parse().ok().filter(|_| written_so)
    }
}

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

impl std::fmt::Display for Integer {
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
    let sought = Sought { places, come: vec![0; places.len()], found: vec![Found::Nothing; places.len()] };
    let mut pick = Pick { list, most, entry, sought, seen: List::Nothing };
    Down { depth: 0, pick: &mut pick }.deserialize(&mut json)?;
    json.end()?;
    Ok(pick.seen)
}

struct Pick<'p, 'a, R, E> {
    list: &'p Path<'p>,
    most: usize,
    entry: E,
    sought: Sought<'p, 'a>,
    seen: List<R>,
}

/// The places in an entry.
struct Sought<'p, 'a> {
    places: &'p [Path<'p>],
    /// Steps that each has come: those of the places on whose way a value lies are the value's depth.
    come: Vec<usize>,
    found: Vec<Found<'a>>,
}

impl<'a> Sought<'_, 'a> {
    /// The value at `depth` is `here` for the places that it is at, and `onward` for those that go on.
    fn is(&mut self, depth: usize, here: &Found<'a>, onward: &Found<'a>) {
        for ((place, come), found) in self.places.iter().zip(&self.come).zip(&mut self.found) {
            if *come == depth {
                *found = if place.len() == depth { here.clone() } else { onward.clone() };
            }
        }
    }

    /// Takes the step which `takes` says that a place's next one is. Whether any does.
    fn step(&mut self, depth: usize, takes: impl Fn(&Path<'_>) -> bool) -> bool {
        let mut any = false;
        for (place, come) in self.places.iter().zip(&mut self.come) {
            if *come == depth && takes(place) {
                *come = depth + 1;
                any = true;
            }
        }
        any
    }

    /// The array at `depth` has nowhere to go on for places whose next step is no index.
    fn no_way(&mut self, depth: usize) {
        for ((place, come), found) in self.places.iter().zip(&self.come).zip(&mut self.found) {
            if *come == depth && place.len() > depth && place.index(depth).is_none() {
                *found = Found::Other;
            }
        }
    }

    /// Goes back to `depth`.
    fn back(&mut self, depth: usize) {
        for come in &mut self.come {
            *come = depth.min(*come);
        }
    }
}

/// A value on the way to the list, `depth` steps from the top.
struct Down<'m, 'p, 'a, R, E> {
    depth: usize,
    pick: &'m mut Pick<'p, 'a, R, E>,
}

/// A value in an entry, `depth` steps from it.
struct Within<'m, 'p, 'a> {
    depth: usize,
    sought: &'m mut Sought<'p, 'a>,
}

/// A member's name, which is only compared.
struct Name<F>(F);

/// Passes over what is left.
fn over_members<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

impl<'p, 'a, R, E> Down<'_, 'p, 'a, R, E> {
    fn arrived(&self) -> bool {
        self.depth == self.pick.list.len()
    }

    /// A value that is neither a list nor has anything in it.
    fn end<X>(self) -> Result<(), X> {
        self.pick.seen = if self.arrived() { List::Other } else { List::Nothing };
        Ok(())
    }

    fn deeper(&mut self) -> Down<'_, 'p, 'a, R, E> {
        Down { depth: self.depth + 1, pick: self.pick }
    }
}

impl<'a, R, E: FnMut(&mut [Found<'a>]) -> R> DeserializeSeed<'a> for Down<'_, '_, 'a, R, E> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'a, R, E: FnMut(&mut [Found<'a>]) -> R> Visitor<'a> for Down<'_, '_, 'a, R, E> {
    type Value = ();

    fn expecting(&self, out: &mut Formatter<'_>) -> Written {
        out.write_str("JSON")
    }

    fn visit_unit<X: Error>(self) -> Result<(), X> {
        self.pick.seen = List::Nothing;
        Ok(())
    }

    fn visit_bool<X: Error>(self, _: bool) -> Result<(), X> {
        self.end()
    }

    fn visit_i64<X: Error>(self, _: i64) -> Result<(), X> {
        self.end()
    }

    fn visit_u64<X: Error>(self, _: u64) -> Result<(), X> {
        self.end()
    }

    fn visit_f64<X: Error>(self, _: f64) -> Result<(), X> {
        self.end()
    }

    fn visit_str<X: Error>(self, _: &str) -> Result<(), X> {
        self.end()
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut list: A) -> Result<(), A::Error> {
        if !self.arrived() {
            self.pick.seen = List::Nothing;
            let wanted = self.pick.list.index(self.depth);
            for index in 0_usize.. {
                let more = match Some(index) == wanted {
                    true => list.next_element_seed(self.deeper())?.is_some(),
                    false => list.next_element::<IgnoredAny>()?.is_some(),
                };
                if !more {
                    break;
                }
            }
            return Ok(());
        }
        let Pick { most, entry, sought, seen, .. } = self.pick;
        let mut made = Vec::new();
        while made.len() < *most {
            sought.back(0);
            if list.next_element_seed(Within { depth: 0, sought })?.is_none() {
                break;
            }
            made.push(entry(&mut sought.found));
        }
        let mut count = made.len();
        while list.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        *seen = if count > made.len() { List::TooLong } else { List::Entries(made) };
        Ok(())
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        if self.arrived() {
            self.pick.seen = List::Other;
            return over_members(map);
        }
        self.pick.seen = List::Nothing;
        let (list, depth) = (self.pick.list, self.depth);
        while let Some(wanted) = map.next_key_seed(Name(|name: &str| list.step(depth) == Some(name)))? {
            match wanted {
                true => map.next_value_seed(self.deeper())?,
                false => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

impl<'a> DeserializeSeed<'a> for Within<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'p, 'a> Within<'_, 'p, 'a> {
    /// A value that has nothing in it.
    fn end<X>(self, here: &Found<'a>) -> Result<(), X> {
        self.sought.is(self.depth, here, &Found::Other);
        Ok(())
    }

    fn deeper(&mut self) -> Within<'_, 'p, 'a> {
        Within { depth: self.depth + 1, sought: self.sought }
    }
}

impl<'a> Visitor<'a> for Within<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, out: &mut Formatter<'_>) -> Written {
        out.write_str("JSON")
    }

    fn visit_unit<X: Error>(self) -> Result<(), X> {
        self.sought.is(self.depth, &Found::Nothing, &Found::Nothing);
        Ok(())
    }

    fn visit_bool<X: Error>(self, _: bool) -> Result<(), X> {
        self.end(&Found::Other)
    }

    fn visit_i64<X: Error>(self, number: i64) -> Result<(), X> {
        self.end(&Found::Integer(Integer::Negative(number)))
    }

    fn visit_u64<X: Error>(self, number: u64) -> Result<(), X> {
        self.end(&Found::Integer(Integer::Unsigned(number)))
    }

    fn visit_f64<X: Error>(self, number: f64) -> Result<(), X> {
        self.end(&Found::Number(number))
    }

    fn visit_borrowed_str<X: Error>(self, text: &'a str) -> Result<(), X> {
        self.end(&Found::Text(Cow::Borrowed(text)))
    }

    fn visit_str<X: Error>(self, text: &str) -> Result<(), X> {
        self.end(&Found::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut list: A) -> Result<(), A::Error> {
        let depth = self.depth;
        self.sought.is(depth, &Found::Other, &Found::Nothing);
        self.sought.no_way(depth);
        for index in 0_usize.. {
            let more = match self.sought.step(depth, |place| place.index(depth) == Some(index)) {
                true => list.next_element_seed(self.deeper())?.is_some(),
                false => list.next_element::<IgnoredAny>()?.is_some(),
            };
            self.sought.back(depth);
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        let depth = self.depth;
        self.sought.is(depth, &Found::Other, &Found::Nothing);
        loop {
            let sought = &mut *self.sought;
            let step = Name(|name: &str| sought.step(depth, |place| place.step(depth) == Some(name)));
            match map.next_key_seed(step)? {
                Some(true) => map.next_value_seed(self.deeper())?,
                Some(false) => drop(map.next_value::<IgnoredAny>()?),
                None => return Ok(()),
            }
            self.sought.back(depth);
        }
    }
}

impl<'a, T, F: FnMut(&str) -> T> DeserializeSeed<'a> for Name<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<T, D::Error> {
        json.deserialize_str(self)
    }
}

impl<T, F: FnMut(&str) -> T> Visitor<'_> for Name<F> {
    type Value = T;

    fn expecting(&self, out: &mut Formatter<'_>) -> Written {
        out.write_str("a name")
    }

    fn visit_str<X: Error>(mut self, name: &str) -> Result<T, X> {
        Ok((self.0)(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    /// What stands there by a tree of the whole text, of which `pick` makes none.
    fn by_tree<'a>(top: &'a Value, pointer: &str) -> Found<'a> {
        let mut at = top;
        for step in &Path::of(pointer).0 {
            let next = match at {
                Value::Object(map) => map.get(step.as_ref()),
                Value::Array(list) => match at.pointer(&format!("/{step}")) {
                    Some(value) => Some(value),
                    None if step.parse::<usize>().is_ok_and(|index| index.to_string() == *step) => list.get(list.len()),
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
        for step in &Path::of(list).0 {
            at = match at {
                Some(Value::Array(_)) => at.and_then(|at| at.pointer(&format!("/{step}"))),
                Some(Value::Object(map)) => map.get(step.as_ref()),
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
