//! The walk to a list, and over its entries.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::entry::{EntryWalker, MemberName, Places};
use super::pointer::Pointer;
use super::value::{JsonValue, List};

/// The wanted list, and the result so far.
pub(super) struct ListSearch<'p, 'a, R, E> {
    pub(super) list: &'p Pointer<'p>,
    /// Most entries that are read.
    pub(super) limit: usize,
    /// Called with the values of each entry.
    pub(super) entry: E,
    pub(super) places: Places<'p, 'a>,
    pub(super) result: List<R>,
}

/// Walks a value that is `depth` steps deep in the text.
pub(super) struct ListWalker<'m, 'p, 'a, R, E> {
    pub(super) depth: usize,
    pub(super) search: &'m mut ListSearch<'p, 'a, R, E>,
}

impl<'p, 'a, R, E> ListWalker<'_, 'p, 'a, R, E> {
    fn arrived(&self) -> bool {
        self.depth == self.search.list.len()
    }

    /// Records a value that has no members or elements.
    fn scalar<X>(self) -> Result<(), X> {
        self.search.result = if self.arrived() { List::Other } else { List::Absent };
        Ok(())
    }

    fn deeper(&mut self) -> ListWalker<'_, 'p, 'a, R, E> {
        ListWalker { depth: self.depth + 1, search: self.search }
    }
}

impl<'a, R, E: FnMut(&mut [JsonValue<'a>]) -> R> DeserializeSeed<'a> for ListWalker<'_, '_, 'a, R, E> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'a, R, E: FnMut(&mut [JsonValue<'a>]) -> R> Visitor<'a> for ListWalker<'_, '_, 'a, R, E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<X: Error>(self) -> Result<(), X> {
        self.search.result = List::Absent;
        Ok(())
    }

    fn visit_bool<X: Error>(self, _: bool) -> Result<(), X> {
        self.scalar()
    }

    fn visit_i64<X: Error>(self, _: i64) -> Result<(), X> {
        self.scalar()
    }

    fn visit_u64<X: Error>(self, _: u64) -> Result<(), X> {
        self.scalar()
    }

    fn visit_f64<X: Error>(self, _: f64) -> Result<(), X> {
        self.scalar()
    }

    fn visit_str<X: Error>(self, _: &str) -> Result<(), X> {
        self.scalar()
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut list: A) -> Result<(), A::Error> {
        if !self.arrived() {
            self.search.result = List::Absent;
            let wanted = self.search.list.index(self.depth);
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
        let ListSearch { limit, entry, places, result, .. } = self.search;
        let mut results = Vec::new();
        while results.len() < *limit {
            places.return_to(0);
            if list.next_element_seed(EntryWalker { depth: 0, places })?.is_none() {
                break;
            }
            results.push(entry(places.values()));
        }
        let mut count = results.len();
        while list.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        *result = if count > results.len() { List::TooLong } else { List::Entries(results) };
        Ok(())
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        if self.arrived() {
            self.search.result = List::Other;
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        self.search.result = List::Absent;
        let (list, depth) = (self.search.list, self.depth);
        while let Some(wanted) = map.next_key_seed(MemberName(|name: &str| list.name(depth) == Some(name)))? {
            match wanted {
                true => map.next_value_seed(self.deeper())?,
                false => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}
