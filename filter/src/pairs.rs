//! Header maps in the format of the proxy-wasm ABI: a count, then a pair of lengths for each header, then the names and
//! values, each followed by a zero byte; integers are little-endian `u32`. All headers come in one host call and are
//! read in place. A host without a VM gives a list of headers instead.

/// A header map that is read in place: the ABI's bytes, or a list of headers. Reading always
/// ends and never leaves the bytes, even if they are malformed.
#[derive(Debug, Clone, Copy)]
pub struct Pairs<'a>(Map<'a>);

#[derive(Debug, Clone, Copy)]
enum Map<'a> {
    Bytes(&'a [u8]),
    List(&'a [(&'a [u8], &'a [u8])]),
}

/// The iterator of [`Pairs::iter`].
#[derive(Debug, Clone)]
pub struct Iter<'a>(Walk<'a>);

#[derive(Debug, Clone)]
enum Walk<'a> {
    Bytes {
        bytes: &'a [u8],
        /// Position of the next header's lengths, and end of all lengths.
        entry: usize,
        entries_end: usize,
        /// Position of the next header's name.
        at: usize,
    },
    List(std::slice::Iter<'a, (&'a [u8], &'a [u8])>),
}

impl<'a> Pairs<'a> {
    /// A header map in the host's bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(Map::Bytes(bytes))
    }

    /// A header map in a list of names and values.
    #[must_use]
    pub const fn listed(headers: &'a [(&'a [u8], &'a [u8])]) -> Self {
        Self(Map::List(headers))
    }

    /// Name and value of each header, in order; Envoy's names are lower case. Ends early if the bytes are not a header
    /// map.
    #[must_use]
    pub fn iter(self) -> Iter<'a> {
        Iter(match self.0 {
            Map::List(headers) => Walk::List(headers.iter()),
            Map::Bytes(bytes) => {
                // Reads beyond the end return nothing, so a wrong count ends the iteration early.
                let count = u32_at(bytes, 0).unwrap_or(0);
                let end = count.checked_mul(8).and_then(|table| table.checked_add(4)).unwrap_or(0);
                Walk::Bytes { bytes, entry: 4, entries_end: end, at: end }
            }
        })
    }

    /// The value of the first header with that (lower case) name.
    #[must_use]
    pub fn get(self, name: &[u8]) -> Option<&'a [u8]> {
        self.iter().find(|(found, _)| *found == name).map(|(_, value)| value)
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Walk::List(headers) => headers.next().copied(),
            Walk::Bytes { bytes, entry, entries_end, at } => {
                if *entry >= *entries_end {
                    return None;
                }
                let name_length = u32_at(bytes, *entry)?;
                let value_length = u32_at(bytes, entry.checked_add(4)?)?;
                let name_end = at.checked_add(name_length)?;
                let value_start = name_end.checked_add(1)?;
                let value_end = value_start.checked_add(value_length)?;
                let header = (bytes.get(*at..name_end)?, bytes.get(value_start..value_end)?);
                *entry = entry.checked_add(8)?;
                *at = value_end.checked_add(1)?;
                Some(header)
            }
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
}

/// Writes a header map into `out`, which is cleared. Headers whose length does not fit a `u32` are left out.
pub fn write(out: &mut Vec<u8>, headers: &[(&[u8], &[u8])]) {
    write_each(out, headers.iter().copied());
}

/// Like [`write()`], from an iterator.
pub fn write_each<'a>(out: &mut Vec<u8>, headers: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) {
    out.clear();
    let fits = |(name, value): &(&[u8], &[u8])| u32::try_from(name.len().saturating_add(value.len())).is_ok();
    let headers = headers.filter(fits);
    put_u32(out, headers.clone().count());
    for (name, value) in headers.clone() {
        put_u32(out, name.len());
        put_u32(out, value.len());
    }
    for (name, value) in headers {
        out.extend_from_slice(name);
        out.push(0);
        out.extend_from_slice(value);
        out.push(0);
    }
}

/// Adds a header to a map that [`write()`] wrote.
pub fn append(map: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let before = std::mem::take(map);
    let last = std::iter::once((name, value));
    write_each(map, Pairs::new(&before).iter().chain(last));
}

fn put_u32(out: &mut Vec<u8>, value: usize) {
    out.extend_from_slice(&u32::try_from(value).unwrap_or(0).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_written_map_is_read_back(headers in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..20), proptest::collection::vec(any::<u8>(), 0..40)), 0..12,
        )) {
            let borrowed: Vec<(&[u8], &[u8])> = headers.iter().map(|(n, v)| (n.as_slice(), v.as_slice())).collect();
            let mut bytes = Vec::new();
            write(&mut bytes, &borrowed);
            prop_assert_eq!(Pairs::new(&bytes).iter().collect::<Vec<_>>(), borrowed.clone());
            prop_assert_eq!(Pairs::listed(&borrowed).iter().collect::<Vec<_>>(), borrowed.clone());
        }

        #[test]
        fn garbage_ends_and_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Pairs::new(&bytes).iter().count() <= bytes.len());
        }

        #[test]
        fn a_wrong_count_ends_with_the_bytes(count: u32, rest in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut bytes = count.to_le_bytes().to_vec();
            bytes.extend_from_slice(&rest);
            prop_assert!(Pairs::new(&bytes).iter().count() <= bytes.len());
        }
    }

    #[test]
    fn the_first_header_of_a_name_is_returned() {
        let mut bytes = Vec::new();
        write(&mut bytes, &[(b"a", b"1"), (b"b", b"2"), (b"b", b"3")]);
        assert_eq!(Pairs::new(&bytes).get(b"b"), Some(b"2".as_slice()));
        assert_eq!(Pairs::new(&bytes).get(b"c"), None);
    }
}
