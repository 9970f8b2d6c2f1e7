//! The copy of the application's response, within its limit and the worker's budget.

use contract::names::Outcome;

use super::budget::Budget;

/// A copy that grows as the response passes.
#[derive(Debug)]
pub struct ResponseCopy {
    bytes: Vec<u8>,
    /// Bytes that the copy has taken from the budget.
    paid: usize,
    limit: usize,
}

impl ResponseCopy {
    /// An empty copy that may grow to `limit` bytes.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), paid: 0, limit }
    }

    /// Returns `true` if the copy may grow to `length` bytes.
    #[must_use]
    pub const fn fits(&self, length: usize) -> bool {
        length <= self.limit
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns `true` if nothing was copied.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The copied bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends `length` bytes and takes them from `budget`. `read` must append exactly them, and returns `false` if it
    /// cannot; while the copy is empty, `read` may replace the buffer.
    ///
    /// # Errors
    /// The outcome of an exchange whose response could not be copied. The copy must be dropped then.
    pub fn append(
        &mut self,
        length: usize,
        budget: &mut Budget,
        read: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> Result<(), Outcome> {
        let after = self.bytes.len().saturating_add(length);
        if !self.fits(after) {
            return Err(Outcome::DroppedBodyLimit);
        }
        if !budget.take(length) {
            return Err(Outcome::DroppedBufferFull);
        }
        let complete = read(&mut self.bytes) && self.bytes.len() == after;
        self.paid = self.paid.saturating_add(length);
        // Otherwise the copy differs from the response.
        if complete { Ok(()) } else { Err(Outcome::Incomplete) }
    }

    /// Returns the copy's bytes to the budget while it still exists, so that they do not prevent the record that is made
    /// of it.
    pub const fn settle(&mut self, budget: &mut Budget) {
        budget.give(self.paid);
        self.paid = 0;
    }

    /// Drops the copied bytes and returns them to the budget.
    pub fn clear(&mut self, budget: &mut Budget) {
        self.settle(budget);
        self.bytes.clear();
    }

    /// Clears the copy and returns its buffer.
    #[must_use]
    pub fn release(&mut self, budget: &mut Budget) -> Vec<u8> {
        self.clear(budget);
        std::mem::take(&mut self.bytes)
    }
}
