//! One intercepted request with its answer, from its first byte to its last, as an observation.
//!
//! Nothing here holds a request back: bytes are copied as they pass, as long as they stay inside the limits, and an
//! exchange that cannot be observed is only counted. Each ends in exactly one [`Outcome`], whichever way its stream
//! ends:
//!
//! - observed, when request and answer passed whole;
//! - skipped, when the sample leaves it out: nothing is copied;
//! - dropped, when a body that is copied is over its limit, when the worker has no room for another copy, or when the stream ends
//!   before both have ended (a client that goes away, a reset upstream, an answer that does not wait for its request).
//!
//! The first reason to drop is the one that counts, and frees the copy at once.
//!
//! Of a user who is known, only the answer is copied: the model is asked about the answer's items. The request is needed
//! where the model answered, since the rules are asked with it; the plugin that held it hands it over then.

use contract::bucket::Bucket;
use contract::frame::{self, Encoding, Observation};
use contract::names::{Arm, Cohort, Outcome};

use super::budget::Budget;

/// A body that passes.
#[derive(Debug)]
struct Passing {
    copy: Vec<u8>,
    encoding: Encoding,
    limit: usize,
    wanted: bool,
    ended: bool,
}

impl Passing {
    const fn new(encoding: Encoding, limit: usize) -> Self {
        Self { copy: Vec::new(), encoding, limit, wanted: true, ended: false }
    }
}

/// Which of the two bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client's request.
    Request,
    /// The answer to it.
    Answer,
}

/// One exchange. See the module.
#[derive(Debug)]
pub struct Exchange {
    /// When it began, if it is timed.
    started_ns: Option<u64>,
    bucket: Option<Bucket>,
    cohort: Cohort,
    request: Passing,
    answer: Passing,
    /// Why it will not be observed, if that is known already.
    lost: Option<Outcome>,
    /// What the copies have taken of the budget.
    paid: usize,
    status: u16,
    arm: Arm,
    fallback: bool,
}

/// How an exchange ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended<'a> {
    /// What became of it.
    pub outcome: Outcome,
    /// Who answered, when the client was given a whole answer with a 2xx status.
    pub source: Option<Arm>,
    /// What to hand to the buffer; there when, and only when, the outcome is [`Outcome::Observed`].
    pub observation: Option<Observation<'a>>,
}

impl Exchange {
    /// Begins with the request's headers, at `now_ns` if it shall be timed. `unsampled`: copy nothing. Limits are in
    /// bytes, the request's first.
    #[must_use]
    pub fn begin(now_ns: Option<u64>, unsampled: bool, request_encoding: Encoding, limits: (usize, usize)) -> Self {
        Self {
            started_ns: now_ns,
            bucket: None,
            cohort: Cohort::Ordinary,
            request: Passing::new(request_encoding, limits.0),
            answer: Passing::new(Encoding::Identity, limits.1),
            lost: unsampled.then_some(Outcome::SkippedSampling),
            paid: 0,
            status: 0,
            arm: Arm::Baseline,
            fallback: false,
        }
    }

    /// The sample leaves the exchange out after all: nothing of it is kept.
    pub fn leave_out(&mut self, budget: &mut Budget) {
        self.forget(budget);
        self.lost = Some(Outcome::SkippedSampling);
    }

    /// The user is known: the request's body is not copied any further.
    pub const fn identify(&mut self, bucket: Bucket, cohort: Cohort) {
        self.bucket = Some(bucket);
        self.cohort = cohort;
        self.request.wanted = false;
    }

    /// Is the time that it takes of interest?
    #[must_use]
    pub const fn timed(&self) -> bool {
        self.started_ns.is_some()
    }

    /// The request's whole body, from whoever held it, for an answer of the model's; `None` where there is none to be had,
    /// and nothing can be compared.
    pub fn handed(&mut self, body: Option<Vec<u8>>, budget: &mut Budget) {
        if self.request.wanted || self.lost.is_some() {
            return;
        }
        budget.give(self.request.copy.len());
        self.paid = self.paid.saturating_sub(self.request.copy.len());
        self.request.copy.clear();
        match body {
            Some(body) if body.len() > self.request.limit => self.lose(Outcome::DroppedBodyLimit, budget),
            Some(body) if !budget.take(body.len()) => self.lose(Outcome::DroppedBufferFull, budget),
            Some(body) => {
                self.paid = self.paid.saturating_add(body.len());
                self.request.copy = body;
            }
            None => self.lose(Outcome::DroppedIncomplete, budget),
        }
    }

    /// The user, if known.
    #[must_use]
    pub const fn bucket(&self) -> Option<Bucket> {
        self.bucket
    }

    /// The user's cohort; [`Cohort::Ordinary`] where the user is not known.
    #[must_use]
    pub const fn cohort(&self) -> Cohort {
        self.cohort
    }

    /// A body announces its length: one over its limit is not even begun.
    pub fn announce(&mut self, side: Side, length: Option<usize>, budget: &mut Budget) {
        let body = self.side_mut(side);
        if body.wanted && length.is_some_and(|length| length > body.limit) {
            self.lose(Outcome::DroppedBodyLimit, budget);
        }
    }

    /// `length` more bytes of a body pass. Where they are wanted, `read` must append exactly them to the copy and say
    /// whether it could; they are paid for from `budget`. A copy that is still empty `read` may put a buffer in place of.
    pub fn pass(&mut self, side: Side, length: usize, budget: &mut Budget, read: impl FnOnce(&mut Vec<u8>) -> bool) {
        if self.lost.is_some() || length == 0 {
            return;
        }
        let body = self.side_mut(side);
        if !body.wanted {
            return;
        }
        let before = body.copy.len();
        let after = before.saturating_add(length);
        if after > body.limit {
            self.lose(Outcome::DroppedBodyLimit, budget);
        } else if !budget.take(length) {
            self.lose(Outcome::DroppedBufferFull, budget);
        } else {
            let whole = read(&mut body.copy) && body.copy.len() == after;
            self.paid = self.paid.saturating_add(length);
            if !whole {
                // The copy is not what passed.
                self.lose(Outcome::DroppedIncomplete, budget);
            }
        }
    }

    /// A request's body passes of which nothing is wanted, the last of it where `end` says so. `false`, and nothing done,
    /// where it is wanted, or where its end is that of the exchange.
    pub const fn passes_unseen(&mut self, end: bool) -> bool {
        let unseen = !self.request.wanted && !self.answer.ended;
        if unseen && end {
            self.request.ended = true;
        }
        unseen
    }

    /// The answer's headers.
    pub const fn answered(&mut self, status: u16, encoding: Encoding, arm: Arm, fallback: bool) {
        self.status = status;
        self.answer.encoding = encoding;
        self.arm = arm;
        self.fallback = fallback;
    }

    /// A body has passed whole.
    pub const fn ended(&mut self, side: Side) {
        self.side_mut(side).ended = true;
    }

    /// Both bodies have passed whole.
    #[must_use]
    pub const fn complete(&self) -> bool {
        self.request.ended && self.answer.ended
    }

    /// Gives back what the copies took of the budget while they are still there, so that they do not stand in the way
    /// of the record that is made of them.
    pub const fn settle(&mut self, budget: &mut Budget) {
        budget.give(self.paid);
        self.paid = 0;
    }

    /// The end, at `now_ns` if it is timed: the outcome, and what to hand on. To be asked once; [`Exchange::release`]
    /// follows.
    #[must_use]
    pub fn end(&self, now_ns: Option<u64>) -> Ended<'_> {
        let took = |(from, to): (u64, u64)| u32::try_from(to.saturating_sub(from) / 1_000).unwrap_or(u32::MAX).max(1);
        let source = (self.answer.ended && matches!(self.status, 200..=299)).then_some(self.arm);
        let outcome = match self.lost {
            Some(lost) => lost,
            None if self.complete() => Outcome::Observed,
            None => Outcome::DroppedIncomplete,
        };
        let observation = (outcome == Outcome::Observed).then(|| Observation {
            arm: self.arm,
            fallback: self.fallback,
            bucket: self.bucket,
            cohort: self.cohort,
            status: self.status,
            duration_us: self.started_ns.zip(now_ns).map_or(frame::NOT_TIMED, took),
            request_encoding: self.request.encoding,
            answer_encoding: self.answer.encoding,
            request: &self.request.copy,
            answer: &self.answer.copy,
        });
        Ended { outcome, source, observation }
    }

    /// Gives back what the copies took of the budget, and the buffers themselves, emptied.
    #[must_use]
    pub fn release(&mut self, budget: &mut Budget) -> (Vec<u8>, Vec<u8>) {
        self.forget(budget);
        (std::mem::take(&mut self.request.copy), std::mem::take(&mut self.answer.copy))
    }

    fn lose(&mut self, why: Outcome, budget: &mut Budget) {
        if self.lost.is_none() {
            self.lost = Some(why);
            self.forget(budget);
        }
    }

    fn forget(&mut self, budget: &mut Budget) {
        self.settle(budget);
        self.request.copy.clear();
        self.answer.copy.clear();
    }

    const fn side_mut(&mut self, side: Side) -> &mut Passing {
        match side {
            Side::Request => &mut self.request,
            Side::Answer => &mut self.answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn begin(unsampled: bool) -> Exchange {
        Exchange::begin(Some(1_000), unsampled, Encoding::Identity, (10, 20))
    }

    fn pass(exchange: &mut Exchange, side: Side, bytes: &[u8], budget: &mut Budget) {
        exchange.pass(side, bytes.len(), budget, |out| {
            out.extend_from_slice(bytes);
            true
        });
    }

    #[test]
    fn a_whole_exchange_is_observed_as_it_passed() {
        let mut budget = Budget::new(100);
        let mut exchange = begin(false);
        pass(&mut exchange, Side::Request, b"ab", &mut budget);
        pass(&mut exchange, Side::Request, b"cd", &mut budget);
        exchange.ended(Side::Request);
        exchange.answered(200, Encoding::Gzip, Arm::Candidate, false);
        pass(&mut exchange, Side::Answer, b"xyz", &mut budget);
        exchange.ended(Side::Answer);
        assert_eq!(budget.used(), 7);
        let ended = exchange.end(Some(3_500_999));
        assert_eq!((ended.outcome, ended.source), (Outcome::Observed, Some(Arm::Candidate)));
        let seen = ended.observation.unwrap();
        assert_eq!((seen.request, seen.answer), (b"abcd".as_slice(), b"xyz".as_slice()));
        assert_eq!((seen.status, seen.duration_us, seen.answer_encoding), (200, 3_499, Encoding::Gzip));
        let (request, answer) = exchange.release(&mut budget);
        assert!(request.is_empty() && answer.is_empty());
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_known_users_request_passes_unseen_unless_it_is_the_last_to_end() {
        for (answered_first, unseen) in [(false, true), (true, false)] {
            let mut exchange = begin(false);
            assert!(!exchange.passes_unseen(true), "it may say who the user is");
            exchange.identify(Bucket(7), Cohort::Ordinary);
            if answered_first {
                exchange.ended(Side::Answer);
            }
            assert_eq!(exchange.passes_unseen(false), unseen);
            assert!(!exchange.complete());
            assert_eq!(exchange.passes_unseen(true), unseen);
            exchange.ended(Side::Answer);
            assert_eq!(exchange.complete(), unseen);
        }
    }

    #[test]
    fn what_is_left_out_late_keeps_nothing_and_says_why() {
        let mut budget = Budget::new(100);
        let mut exchange = begin(false);
        pass(&mut exchange, Side::Request, b"abcd", &mut budget);
        exchange.ended(Side::Request);
        exchange.leave_out(&mut budget);
        assert_eq!(budget.used(), 0);
        exchange.answered(200, Encoding::Identity, Arm::Baseline, false);
        pass(&mut exchange, Side::Answer, b"xyz", &mut budget);
        exchange.ended(Side::Answer);
        let ended = exchange.end(None);
        assert_eq!((ended.outcome, ended.source), (Outcome::SkippedSampling, Some(Arm::Baseline)));
        assert!(ended.observation.is_none());
    }

    #[test]
    fn a_body_of_exactly_the_limit_is_observed_and_one_byte_more_is_not() {
        let mut budget = Budget::new(100);
        for (length, outcome) in [(10, Outcome::Observed), (11, Outcome::DroppedBodyLimit)] {
            let mut exchange = begin(false);
            pass(&mut exchange, Side::Request, &vec![b'x'; length], &mut budget);
            exchange.ended(Side::Request);
            exchange.answered(200, Encoding::Identity, Arm::Baseline, false);
            exchange.ended(Side::Answer);
            assert_eq!(exchange.end(Some(1_000)).outcome, outcome);
            assert_eq!(exchange.end(Some(1_000)).source, Some(Arm::Baseline));
            let _ = exchange.release(&mut budget);
        }
        let mut exchange = begin(false);
        exchange.announce(Side::Request, Some(11), &mut budget);
        exchange.pass(Side::Request, 1, &mut budget, |_| panic!("nothing more is wanted"));
        assert_eq!(exchange.end(Some(1_000)).outcome, Outcome::DroppedBodyLimit);
    }

    #[test]
    fn a_stream_that_ends_early_is_incomplete_and_gave_nobody_an_answer() {
        let mut exchange = begin(false);
        exchange.ended(Side::Request);
        exchange.answered(200, Encoding::Identity, Arm::Baseline, false);
        let ended = exchange.end(Some(1_000));
        assert_eq!((ended.outcome, ended.source, ended.observation), (Outcome::DroppedIncomplete, None, None));
    }

    #[test]
    fn an_unsampled_exchange_copies_nothing_and_still_says_who_answered() {
        let mut budget = Budget::new(0);
        let mut exchange = begin(true);
        pass(&mut exchange, Side::Request, b"abc", &mut budget);
        exchange.ended(Side::Request);
        exchange.answered(204, Encoding::Identity, Arm::Baseline, false);
        exchange.ended(Side::Answer);
        let ended = exchange.end(Some(1_000));
        assert_eq!(
            (ended.outcome, ended.source, ended.observation),
            (Outcome::SkippedSampling, Some(Arm::Baseline), None)
        );
    }

    #[test]
    fn of_a_known_user_only_the_model_needs_the_request() {
        let begin = |budget: &mut Budget| {
            let mut exchange = begin(false);
            exchange.identify(Bucket(7), Cohort::Ordinary);
            exchange.announce(Side::Request, Some(11), budget);
            pass(&mut exchange, Side::Request, &[b'x'; 11], budget);
            exchange.ended(Side::Request);
            exchange
        };
        let mut budget = Budget::new(9);
        let mut rules = begin(&mut budget);
        rules.answered(200, Encoding::Identity, Arm::Baseline, false);
        pass(&mut rules, Side::Answer, b"xyz", &mut budget);
        rules.ended(Side::Answer);
        assert_eq!(
            rules.end(Some(1_000)).observation.map(|seen| (seen.request, seen.answer)),
            Some((&b""[..], &b"xyz"[..]))
        );
        let _ = rules.release(&mut budget);
        let cases = [
            (Some(vec![b'r'; 9]), Outcome::Observed),
            (Some(vec![b'r'; 10]), Outcome::DroppedBufferFull),
            (Some(vec![b'r'; 11]), Outcome::DroppedBodyLimit),
            (None, Outcome::DroppedIncomplete),
        ];
        for (handed, outcome) in cases {
            let mut model = begin(&mut budget);
            model.handed(handed.clone(), &mut budget);
            model.answered(200, Encoding::Identity, Arm::Candidate, false);
            model.ended(Side::Answer);
            let ended = model.end(Some(2_000));
            assert_eq!(ended.outcome, outcome);
            assert_eq!(
                ended.observation.map(|seen| seen.request.to_vec()),
                handed.filter(|_| outcome == Outcome::Observed)
            );
            let _ = model.release(&mut budget);
        }
    }

    #[test]
    fn an_exchange_that_nobody_timed_says_so() {
        let exchange = |from| Exchange::begin(from, false, Encoding::Identity, (10, 20));
        for (from, to, took) in [(None, None, frame::NOT_TIMED), (Some(5), Some(6), 1), (Some(0), Some(9_000), 9)] {
            let mut exchange = exchange(from);
            exchange.ended(Side::Request);
            exchange.ended(Side::Answer);
            assert_eq!(exchange.end(to).observation.map(|seen| seen.duration_us), Some(took));
        }
    }

    #[derive(Debug, Clone)]
    enum Event {
        Identify,
        Handed(Option<usize>),
        Announce(Side, Option<usize>),
        Pass(Side, usize),
        Unreadable(Side, usize, usize),
        Answered(u16),
        Ended(Side),
    }

    fn event() -> impl Strategy<Value = Event> {
        let side = prop_oneof![Just(Side::Request), Just(Side::Answer)];
        prop_oneof![
            (side.clone(), proptest::option::of(0_usize..40)).prop_map(|(side, length)| Event::Announce(side, length)),
            (side.clone(), 0_usize..15).prop_map(|(side, length)| Event::Pass(side, length)),
            (side.clone(), 0_usize..15, 0_usize..15)
                .prop_map(|(side, length, got)| Event::Unreadable(side, length, got)),
            any::<u16>().prop_map(Event::Answered),
            side.prop_map(Event::Ended),
            Just(Event::Identify),
            proptest::option::of(0_usize..15).prop_map(Event::Handed),
        ]
    }

    proptest! {
        // Whatever happens, in any order: one outcome, an observation exactly when observed, no byte over a limit, and
        // the budget is what the copies hold and nothing once they are released.
        #[test]
        fn every_exchange_ends_once_inside_its_bounds(
            unsampled: bool, room in 0_usize..60, events in proptest::collection::vec(event(), 0..20), now: u64,
        ) {
            let mut budget = Budget::new(room);
            let mut exchange = begin(unsampled);
            for event in events {
                match event {
                    Event::Identify => exchange.identify(Bucket(1), Cohort::Ordinary),
                    Event::Handed(length) => exchange.handed(length.map(|length| vec![0; length]), &mut budget),
                    Event::Announce(side, length) => exchange.announce(side, length, &mut budget),
                    Event::Pass(side, length) => pass(&mut exchange, side, &vec![0; length], &mut budget),
                    Event::Unreadable(side, length, got) => exchange.pass(side, length, &mut budget, |out| {
                        out.resize(out.len() + got, 0);
                        got % 2 == 0
                    }),
                    Event::Answered(status) => exchange.answered(status, Encoding::Identity, Arm::Baseline, false),
                    Event::Ended(side) => exchange.ended(side),
                }
                prop_assert!(exchange.request.copy.len() <= 10 && exchange.answer.copy.len() <= 20);
                prop_assert_eq!(budget.used(), exchange.request.copy.len() + exchange.answer.copy.len());
                prop_assert!(budget.used() <= room);
            }
            let ended = exchange.end(Some(now));
            prop_assert_eq!(ended.observation.is_some(), ended.outcome == Outcome::Observed);
            prop_assert_eq!(unsampled, ended.outcome == Outcome::SkippedSampling);
            let _ = exchange.release(&mut budget);
            prop_assert_eq!(budget.used(), 0);
        }
    }
}
