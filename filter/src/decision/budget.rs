//! A limit on bytes that several holders share.

/// Bytes that a worker may use for one purpose, e.g. for copies of responses and records that wait to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    used: usize,
    limit: usize,
}

impl Budget {
    /// A budget of `limit` bytes, none of them used.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { used: 0, limit }
    }

    /// Takes `bytes`. Returns `false`, and takes nothing, if that is more than is left.
    #[must_use]
    pub const fn take(&mut self, bytes: usize) -> bool {
        let used = self.used.saturating_add(bytes);
        if used > self.limit {
            return false;
        }
        self.used = used;
        true
    }

    /// Returns `bytes` to the budget.
    pub const fn give(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
    }

    /// Bytes in use.
    #[must_use]
    pub const fn used(&self) -> usize {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_all_or_nothing_and_gets_it_back() {
        let mut budget = Budget::new(10);
        assert!(budget.take(7) && !budget.take(4) && budget.take(3));
        assert_eq!(budget.used(), 10);
        assert!(budget.take(0) && !budget.take(usize::MAX));
        budget.give(7);
        assert_eq!(budget.used(), 3);
        budget.give(usize::MAX);
        assert_eq!(budget.used(), 0);
    }
}
