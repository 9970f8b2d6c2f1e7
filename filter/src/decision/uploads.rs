//! Copies of incoming requests.
//!
//! Every request passes on at once. Its body is copied as it passes if the filter needs it, to find the user or to call the
//! scorer with. How long an upload takes is up to the client. So that slow clients take nothing from others, all copies of a
//! worker share one limit, and when it is reached the copy is dropped that has not grown for the longest time.

use std::collections::{BTreeMap, HashMap};

/// Identifies a copy.
pub type UploadId = u64;

/// The copies of one worker.
#[derive(Debug)]
pub struct Uploads {
    copies: HashMap<UploadId, Copy>,
    /// Copies in the order in which they last grew; the key is a count of growths.
    order: BTreeMap<u64, UploadId>,
    grown: u64,
    next: UploadId,
    used: usize,
    limit: usize,
}

#[derive(Debug)]
struct Copy {
    body: Vec<u8>,
    grew: u64,
}

/// Why there is no copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoCopy {
    /// It was dropped to make room for others.
    Shed,
    /// The host did not return the bytes.
    Unread,
}

impl Uploads {
    /// No copies yet; `limit` is in bytes, for all copies together.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { copies: HashMap::new(), order: BTreeMap::new(), grown: 0, next: 0, used: 0, limit }
    }

    /// Begins a copy in `buffer`, which must be empty.
    pub fn begin(&mut self, buffer: Vec<u8>) -> UploadId {
        self.next += 1;
        self.grown += 1;
        self.copies.insert(self.next, Copy { body: buffer, grew: self.grown });
        self.order.insert(self.grown, self.next);
        self.next
    }

    /// Appends `length` bytes, which `read` appends to its buffer; it returns `false` if it cannot. Returns the copy's
    /// length.
    ///
    /// # Errors
    /// When there is no copy any more.
    pub fn append(
        &mut self,
        id: UploadId,
        length: usize,
        read: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> Result<usize, NoCopy> {
        let copy = self.copies.get_mut(&id).ok_or(NoCopy::Shed)?;
        let after = copy.body.len().saturating_add(length);
        if length > 0 {
            if !read(&mut copy.body) || copy.body.len() != after {
                // The bytes that are released must be those that were counted.
                copy.body.truncate(after - length);
                self.forget(id);
                return Err(NoCopy::Unread);
            }
            self.used = self.used.saturating_add(length);
            self.order.remove(&copy.grew);
            self.grown += 1;
            copy.grew = self.grown;
            self.order.insert(self.grown, id);
            while self.used > self.limit {
                let Some((_, oldest)) = self.order.first_key_value() else { break };
                self.forget(*oldest);
            }
        }
        if self.copies.contains_key(&id) { Ok(after) } else { Err(NoCopy::Shed) }
    }

    /// Removes the copy and returns it.
    pub fn take(&mut self, id: UploadId) -> Option<Vec<u8>> {
        let copy = self.copies.remove(&id)?;
        self.order.remove(&copy.grew);
        self.used = self.used.saturating_sub(copy.body.len());
        Some(copy.body)
    }

    /// The number of copies.
    #[must_use]
    pub fn count(&self) -> usize {
        self.copies.len()
    }

    fn forget(&mut self, id: UploadId) {
        drop(self.take(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fill(length: usize) -> impl FnOnce(&mut Vec<u8>) -> bool {
        move |out| {
            out.resize(out.len() + length, b'x');
            true
        }
    }

    #[test]
    fn thirty_three_slow_uploads_take_nothing_from_a_quick_one() {
        let mut uploads = Uploads::new(8 * 1024);
        let slow: Vec<_> = (0..33).map(|_| uploads.begin(Vec::new())).collect();
        for id in &slow {
            let _ = uploads.append(*id, 256, fill(256));
        }
        let quick = uploads.begin(Vec::new());
        assert_eq!(uploads.append(quick, 1_000, fill(1_000)), Ok(1_000));
        assert_eq!(uploads.take(quick).map(|body| body.len()), Some(1_000));
        assert_eq!(
            uploads.append(slow[0], 1, fill(1)),
            Err(NoCopy::Shed),
            "the copy that has not grown for the longest time is dropped"
        );
        assert!(uploads.append(slow[32], 1, fill(1)).is_ok());
    }

    #[test]
    fn a_copy_that_is_incomplete_is_dropped() {
        let mut uploads = Uploads::new(100);
        let id = uploads.begin(Vec::new());
        assert_eq!(uploads.append(id, 4, fill(3)), Err(NoCopy::Unread));
        assert_eq!((uploads.append(id, 1, fill(1)), uploads.count()), (Err(NoCopy::Shed), 0));
    }

    #[test]
    fn a_copy_above_the_limit_makes_no_room_for_itself() {
        let mut uploads = Uploads::new(10);
        let id = uploads.begin(Vec::new());
        assert_eq!(uploads.append(id, 11, fill(11)), Err(NoCopy::Shed));
        assert_eq!(uploads.count(), 0);
    }

    proptest! {
        #[test]
        fn copies_stay_within_the_limit(steps in proptest::collection::vec((0_u64..6, 0_usize..30, 0_u8..3), 0..80)) {
            let mut uploads = Uploads::new(50);
            let ids: Vec<_> = (0..6).map(|_| uploads.begin(Vec::new())).collect();
            for (which, length, what) in steps {
                let id = ids[which as usize];
                match what {
                    0 => drop(uploads.take(id)),
                    _ => drop(uploads.append(id, length, fill(length))),
                }
                let held: usize = uploads.copies.values().map(|copy| copy.body.len()).sum();
                prop_assert!(held <= 50 && held == uploads.used);
                prop_assert_eq!(uploads.copies.len(), uploads.order.len());
            }
        }
    }
}
