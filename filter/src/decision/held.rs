//! A canary user's request, from its headers to who answers it.
//!
//! ```text
//! begin ──► gathering ──whole──► asking ──good──► answered
//!               │                   │
//!               └──── too large, no room, late, not sent, anything but a good answer ────► let go (reason)
//! ```
//! Each request leaves this machine once. Whatever happens, the client's request either was answered by the model,
//! checked whole, or goes on as if Perch were not there; nothing is held longer than `hold_ms` plus the deadline.

use contract::names::FallbackReason;

use super::budget::Budget;

/// Where a held request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its body is being gathered.
    Gathering,
    /// The scorer is being asked.
    Asking,
    /// The model answers.
    Answered,
    /// The rules answer.
    LetGo(FallbackReason),
    /// Somebody else answered while it was held, e.g. Envoy since the client was too slow.
    Overtaken,
}

/// See the module.
#[derive(Debug)]
pub struct Held {
    stage: Stage,
    since_ns: u64,
    body: Vec<u8>,
    limit: usize,
}

impl Held {
    /// Begins with the request's headers, at `now_ns`. `limit` bounds the body, in bytes; `buffer` is reused for it.
    #[must_use]
    pub const fn begin(now_ns: u64, limit: usize, buffer: Vec<u8>) -> Self {
        Self { stage: Stage::Gathering, since_ns: now_ns, body: buffer, limit }
    }

    /// Where it stands.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// The body so far.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// `length` more bytes of the body are there: `read` must append exactly them and say whether it could. The reason,
    /// if that let the request go.
    pub fn gather(
        &mut self,
        length: usize,
        budget: &mut Budget,
        read: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> Option<FallbackReason> {
        if self.stage != Stage::Gathering || length == 0 {
            return None;
        }
        let after = self.body.len().saturating_add(length);
        let reason = if after > self.limit {
            FallbackReason::RequestTooLarge
        } else if !budget.take(length) {
            FallbackReason::Overloaded
        } else {
            let whole = read(&mut self.body) && self.body.len() == after;
            // What is given back is what the body's length says.
            self.body.resize(after, 0);
            if whole {
                return None;
            }
            FallbackReason::Reset
        };
        self.let_go(reason, budget);
        Some(reason)
    }

    /// The scorer is being asked: `true` for the one caller who may do it.
    #[must_use]
    pub fn ask(&mut self) -> bool {
        let first = self.stage == Stage::Gathering;
        if first {
            self.stage = Stage::Asking;
        }
        first
    }

    /// The model answers: the request's body for the one caller who may answer, and who may want to hand it on.
    #[must_use]
    pub fn answer(&mut self, budget: &mut Budget) -> Option<Vec<u8>> {
        if !self.open() {
            return None;
        }
        self.stage = Stage::Answered;
        budget.give(self.body.len());
        Some(std::mem::take(&mut self.body))
    }

    /// The rules answer: `true` for the one caller who may let the request go on.
    pub fn let_go(&mut self, reason: FallbackReason, budget: &mut Budget) -> bool {
        let open = self.open();
        if open {
            self.stage = Stage::LetGo(reason);
            self.forget(budget);
        }
        open
    }

    /// An answer passes. While the request is held it can only be somebody else's, and nothing is left to decide.
    pub fn overtaken(&mut self, budget: &mut Budget) {
        if self.open() {
            self.stage = Stage::Overtaken;
            self.forget(budget);
        }
    }

    /// Has its body been coming for too long, at `now_ns`?
    #[must_use]
    pub const fn late(&self, now_ns: u64, hold_ms: u32) -> bool {
        matches!(self.stage, Stage::Gathering) && now_ns.saturating_sub(self.since_ns) >= hold_ms as u64 * 1_000_000
    }

    /// Gives back what the copy took of the budget, and the buffer itself, emptied.
    #[must_use]
    pub fn release(mut self, budget: &mut Budget) -> Vec<u8> {
        self.forget(budget);
        self.body
    }

    const fn open(&self) -> bool {
        matches!(self.stage, Stage::Gathering | Stage::Asking)
    }

    fn forget(&mut self, budget: &mut Budget) {
        budget.give(self.body.len());
        self.body.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fill(out: &mut Vec<u8>, length: usize) -> bool {
        out.resize(out.len() + length, 0);
        true
    }

    #[test]
    fn a_body_over_the_limit_lets_the_request_go() {
        let mut budget = Budget::new(100);
        let mut held = Held::begin(0, 4, Vec::new());
        assert_eq!(held.gather(4, &mut budget, |out| fill(out, 4)), None);
        assert_eq!((held.body().len(), budget.used()), (4, 4));
        assert_eq!(held.gather(1, &mut budget, |out| fill(out, 1)), Some(FallbackReason::RequestTooLarge));
        assert_eq!(held.stage(), Stage::LetGo(FallbackReason::RequestTooLarge));
        assert_eq!(held.gather(1, &mut budget, |out| fill(out, 1)), None);
        assert!(!held.ask());
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_worker_without_room_lets_the_request_go() {
        let mut held = Held::begin(0, 4, Vec::new());
        assert_eq!(held.gather(1, &mut Budget::new(0), |out| fill(out, 1)), Some(FallbackReason::Overloaded));
    }

    #[test]
    fn only_a_body_that_does_not_come_is_late() {
        let mut held = Held::begin(1_000_000, 4, Vec::new());
        assert!(!held.late(5_999_999, 5));
        assert!(held.late(6_000_000, 5));
        assert!(held.ask());
        assert!(!held.late(u64::MAX, 5), "from here on the call's own deadline counts");
    }

    proptest! {
        // In any order of events the request is answered or let go at most once, and asked at most once.
        #[test]
        fn it_leaves_once(steps in proptest::collection::vec((0_u8..6, 0_usize..6), 0..30)) {
            let mut budget = Budget::new(20);
            let mut held = Held::begin(0, 10, Vec::new());
            let (mut left, mut asked) = (0, 0);
            for (step, size) in steps {
                match step {
                    0 => left += u32::from(held.gather(size, &mut budget, |out| fill(out, size)).is_some()),
                    1 => left += u32::from(held.gather(size, &mut budget, |out| fill(out, 1)).is_some()),
                    2 => asked += u32::from(held.ask()),
                    3 => left += u32::from(held.answer(&mut budget).is_some()),
                    4 if size == 0 => held.overtaken(&mut budget),
                    _ => left += u32::from(held.let_go(FallbackReason::Reset, &mut budget)),
                }
                prop_assert!(budget.used() == held.body().len() && held.body().len() <= 10);
            }
            prop_assert!(left <= 1 && asked <= 1);
            prop_assert_eq!(left == 1, matches!(held.stage(), Stage::Answered | Stage::LetGo(_)));
        }
    }
}
