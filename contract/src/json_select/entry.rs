//! The walk through one value, for all wanted places in it at once.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::pointer::Pointer;
use super::value::{Integer, JsonValue};

/// The wanted places, and the values that the walk has met there.
pub(super) struct Places<'p, 'a> {
    pointers: &'p [Pointer<'p>],
    /// How many steps of each pointer the walk has followed. A value at depth d is at or on the way to those places whose
    /// number is d.
    matched: Vec<usize>,
    values: Vec<JsonValue<'a>>,
}

impl<'p, 'a> Places<'p, 'a> {
    pub(super) fn new(pointers: &'p [Pointer<'p>]) -> Self {
        Self { pointers, matched: vec![0; pointers.len()], values: vec![JsonValue::Absent; pointers.len()] }
    }

    /// The values of the entry that was walked last, in the order of the pointers.
    pub(super) fn values(&mut self) -> &mut [JsonValue<'a>] {
        &mut self.values
    }

    /// Records the value at `depth`: `here` for places that it is at, `onward` for places that lie deeper in it.
    fn record(&mut self, depth: usize, here: &JsonValue<'a>, onward: &JsonValue<'a>) {
        for ((pointer, matched), value) in self.pointers.iter().zip(&self.matched).zip(&mut self.values) {
            if *matched == depth {
                *value = if pointer.len() == depth { here.clone() } else { onward.clone() };
            }
        }
    }

    /// Follows the step for which `takes` returns `true`. Returns `true` if any place lies that way.
    fn follow(&mut self, depth: usize, takes: impl Fn(&Pointer<'_>) -> bool) -> bool {
        let mut any = false;
        for (pointer, matched) in self.pointers.iter().zip(&mut self.matched) {
            if *matched == depth && takes(pointer) {
                *matched = depth + 1;
                any = true;
            }
        }
        any
    }

    /// Records that the array at `depth` cannot lead to places whose next step is not an index.
    fn record_names_in_array(&mut self, depth: usize) {
        for ((pointer, matched), value) in self.pointers.iter().zip(&self.matched).zip(&mut self.values) {
            if *matched == depth && pointer.len() > depth && pointer.index(depth).is_none() {
                *value = JsonValue::Other;
            }
        }
    }

    /// Returns to `depth`.
    pub(super) fn return_to(&mut self, depth: usize) {
        for matched in &mut self.matched {
            *matched = depth.min(*matched);
        }
    }
}

/// Walks a value that is `depth` steps deep in its entry.
pub(super) struct EntryWalker<'m, 'p, 'a> {
    pub(super) depth: usize,
    pub(super) places: &'m mut Places<'p, 'a>,
}

/// Reads a member's name only to compare it.
pub(super) struct MemberName<F>(pub(super) F);

impl<'a> DeserializeSeed<'a> for EntryWalker<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'p, 'a> EntryWalker<'_, 'p, 'a> {
    /// Records a value that has no members or elements.
    fn scalar<X>(self, value: &JsonValue<'a>) -> Result<(), X> {
        self.places.record(self.depth, value, &JsonValue::Other);
        Ok(())
    }

    fn deeper(&mut self) -> EntryWalker<'_, 'p, 'a> {
        EntryWalker { depth: self.depth + 1, places: self.places }
    }
}

impl<'a> Visitor<'a> for EntryWalker<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<X: Error>(self) -> Result<(), X> {
        self.places.record(self.depth, &JsonValue::Absent, &JsonValue::Absent);
        Ok(())
    }

    fn visit_bool<X: Error>(self, _: bool) -> Result<(), X> {
        self.scalar(&JsonValue::Other)
    }

    fn visit_i64<X: Error>(self, number: i64) -> Result<(), X> {
        self.scalar(&JsonValue::Integer(Integer::Negative(number)))
    }

    fn visit_u64<X: Error>(self, number: u64) -> Result<(), X> {
        self.scalar(&JsonValue::Integer(Integer::Unsigned(number)))
    }

    fn visit_f64<X: Error>(self, number: f64) -> Result<(), X> {
        self.scalar(&JsonValue::Number(number))
    }

    fn visit_borrowed_str<X: Error>(self, text: &'a str) -> Result<(), X> {
        self.scalar(&JsonValue::Text(Cow::Borrowed(text)))
    }

    fn visit_str<X: Error>(self, text: &str) -> Result<(), X> {
        self.scalar(&JsonValue::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut list: A) -> Result<(), A::Error> {
        let depth = self.depth;
        self.places.record(depth, &JsonValue::Other, &JsonValue::Absent);
        self.places.record_names_in_array(depth);
        for index in 0_usize.. {
            let more = match self.places.follow(depth, |pointer| pointer.index(depth) == Some(index)) {
                true => list.next_element_seed(self.deeper())?.is_some(),
                false => list.next_element::<IgnoredAny>()?.is_some(),
            };
            self.places.return_to(depth);
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        let depth = self.depth;
        self.places.record(depth, &JsonValue::Other, &JsonValue::Absent);
        loop {
            let places = &mut *self.places;
            let wanted = MemberName(|name: &str| places.follow(depth, |pointer| pointer.name(depth) == Some(name)));
            match map.next_key_seed(wanted)? {
                Some(true) => map.next_value_seed(self.deeper())?,
                Some(false) => drop(map.next_value::<IgnoredAny>()?),
                None => return Ok(()),
            }
            self.places.return_to(depth);
        }
    }
}

impl<'a, T, F: FnMut(&str) -> T> DeserializeSeed<'a> for MemberName<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<T, D::Error> {
        json.deserialize_str(self)
    }
}

impl<T, F: FnMut(&str) -> T> Visitor<'_> for MemberName<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<X: Error>(mut self, name: &str) -> Result<T, X> {
        Ok((self.0)(name))
    }
}
