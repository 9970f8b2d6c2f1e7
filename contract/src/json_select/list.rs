//! The way to the list, and the list itself.

use std::fmt::{Formatter, Result as Written};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::path::Path;
use super::within::{Name, Sought, Within};
use super::{Found, List};

/// What is looked for, and what was found.
pub(super) struct Pick<'p, 'a, R, E> {
    pub(super) list: &'p Path<'p>,
    pub(super) most: usize,
    pub(super) entry: E,
    pub(super) sought: Sought<'p, 'a>,
    pub(super) seen: List<R>,
}

/// A value on the way to the list, `depth` steps from the top.
pub(super) struct Down<'m, 'p, 'a, R, E> {
    pub(super) depth: usize,
    pub(super) pick: &'m mut Pick<'p, 'a, R, E>,
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
            made.push(entry(sought.found()));
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

/// Passes over what is left.
fn over_members<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}
