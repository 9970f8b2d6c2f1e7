//! The places in an entry of the list.

use std::borrow::Cow;
use std::fmt::{Formatter, Result as Written};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::path::Path;
use super::{Found, Integer};

/// The places in an entry.
pub(super) struct Sought<'p, 'a> {
    places: &'p [Path<'p>],
    /// Steps that each has come: those of the places on whose way a value lies are the value's depth.
    come: Vec<usize>,
    found: Vec<Found<'a>>,
}

impl<'p, 'a> Sought<'p, 'a> {
    pub(super) fn new(places: &'p [Path<'p>]) -> Self {
        Self { places, come: vec![0; places.len()], found: vec![Found::Nothing; places.len()] }
    }

    /// What stands there, in the places' order, of the entry that was read last.
    pub(super) fn found(&mut self) -> &mut [Found<'a>] {
        &mut self.found
    }

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
    pub(super) fn back(&mut self, depth: usize) {
        for come in &mut self.come {
            *come = depth.min(*come);
        }
    }
}

/// A value in an entry, `depth` steps from it.
pub(super) struct Within<'m, 'p, 'a> {
    pub(super) depth: usize,
    pub(super) sought: &'m mut Sought<'p, 'a>,
}

/// A member's name, which is only compared.
pub(super) struct Name<F>(pub(super) F);

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
