//! Copies of requests while they come.
//!
//! A request passes on at once, whoever its client is, and its body is copied as it passes where somebody needs it: to
//! find the user, or to call the scorer with. How long that takes is up to the client. So that slow clients take nothing
//! from others, the copies of a worker have one bound, and where it is reached the copy goes that has not grown for the
//! longest time.

use std::collections::{BTreeMap, HashMap};

/// A copy's number.
pub type UploadId = u64;

/// The copies of a worker.
#[derive(Debug)]
pub struct Uploads {
    copies: HashMap<UploadId, Copy>,
    /// By when they last grew, counted in growths.
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

/// Why a copy is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoCopy {
    /// It went to make room for others.
    Shed,
    /// The host did not give the bytes.
    Unread,
}

impl Uploads {
    /// None yet; `limit` bounds the bytes of all together.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { copies: HashMap::new(), order: BTreeMap::new(), grown: 0, next: 0, used: 0, limit }
    }

    /// Begins a copy in `buffer`, which is empty.
    pub fn begin(&mut self, buffer: Vec<u8>) -> UploadId {
        self.next += 1;
        self.grown += 1;
        self.copies.insert(self.next, Copy { body: buffer, grew: self.grown });
        self.order.insert(self.grown, self.next);
        self.next
    }

    /// Appends `length` bytes, which `read` writes to the end of its buffer; it returns `false` where it could not. The
    /// copy's length.
    ///
    /// # Errors
    /// The copy is gone.
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
                // So that what is given back is what was taken.
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

    /// Takes the copy out.
    pub fn take(&mut self, id: UploadId) -> Option<Vec<u8>> {
        let copy = self.copies.remove(&id)?;
        self.order.remove(&copy.grew);
        self.used = self.used.saturating_sub(copy.body.len());
        Some(copy.body)
    }

    /// How many there are.
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
        assert_eq!(uploads.append(slow[0], 1, fill(1)), Err(NoCopy::Shed), "the one that waited longest went");
        assert!(uploads.append(slow[32], 1, fill(1)).is_ok());
    }

    #[test]
    fn a_copy_that_is_not_what_passed_goes() {
        let mut uploads = Uploads::new(100);
        let id = uploads.begin(Vec::new());
        assert_eq!(uploads.append(id, 4, fill(3)), Err(NoCopy::Unread));
        assert_eq!((uploads.append(id, 1, fill(1)), uploads.count()), (Err(NoCopy::Shed), 0));
    }

    #[test]
    fn one_larger_than_the_bound_makes_no_room_for_itself() {
        let mut uploads = Uploads::new(10);
        let id = uploads.begin(Vec::new());
        assert_eq!(uploads.append(id, 11, fill(11)), Err(NoCopy::Shed));
        assert_eq!(uploads.count(), 0);
    }

    proptest! {
        #[test]
        fn they_stay_within_the_bound(steps in proptest::collection::vec((0_u64..6, 0_usize..30, 0_u8..3), 0..80)) {
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
