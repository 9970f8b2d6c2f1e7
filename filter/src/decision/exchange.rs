//! One intercepted request with its response, from its first byte to its last, as an observation.
//!
//! The application's response is copied as it passes, as long as it stays inside the limits, and an exchange that cannot
//! be observed is only counted. Each ends in exactly one [`Outcome`], whichever way its stream ends:
//!
//! - observed, when request and response passed whole;
//! - skipped, when the sample leaves it out: nothing is copied;
//! - dropped, when the response is over its limit or when the worker has no room for another copy;
//! - incomplete, when the stream ends before both have ended (a client that goes away, a reset upstream, a response that
//!   does not wait for its request).
//!
//! The first reason to give up is the one that counts, and frees the copy at once.

use contract::bucket::Bucket;
use contract::frame::{Encoding, NOT_TIMED, Observation};
use contract::names::{Arm, Cohort, Outcome};

use super::budget::Budget;
use super::canary::{Canary, Fate};

/// One exchange. See the module.
#[derive(Debug)]
pub struct Exchange {
    /// When it began, if it is timed.
    started_ns: Option<u64>,
    bucket: Option<Bucket>,
    cohort: Cohort,
    assigned: Arm,
    request_ended: bool,
    /// The copy of the application's response, and what it has taken of the budget.
    copy: Vec<u8>,
    paid: usize,
    limit: usize,
    status: u16,
    encoding: Encoding,
    response_ended: bool,
    baseline_us: u32,
    /// Why it will not be observed, if that is known already.
    lost: Option<Outcome>,
}

/// How an exchange ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended<'a> {
    /// What became of it.
    pub outcome: Outcome,
    /// Whose response it was, when the client was given a whole one with a 2xx status.
    pub served: Option<Arm>,
    /// What to hand to the buffer; there when, and only when, the outcome is [`Outcome::Observed`].
    pub observation: Option<Observation<'a>>,
}

impl Exchange {
    /// Begins with the request's headers, at `now_ns` if it is to be timed. An exchange that is not `sampled` is not
    /// copied. `limit` bounds the response, in bytes.
    #[must_use]
    pub fn begin(now_ns: Option<u64>, sampled: bool, limit: usize) -> Self {
        Self {
            started_ns: now_ns,
            bucket: None,
            cohort: Cohort::Ordinary,
            assigned: Arm::Baseline,
            request_ended: false,
            copy: Vec::new(),
            paid: 0,
            limit,
            status: 0,
            encoding: Encoding::Identity,
            response_ended: false,
            baseline_us: NOT_TIMED,
            lost: (!sampled).then_some(Outcome::SkippedSampling),
        }
    }

    /// The user is known. A canary user's exchange is timed from `now_ns` on, unless it is already.
    pub const fn identify(&mut self, bucket: Bucket, cohort: Cohort, assigned: Arm, now_ns: Option<u64>) {
        self.bucket = Some(bucket);
        self.cohort = cohort;
        self.assigned = assigned;
        if self.started_ns.is_none() {
            self.started_ns = now_ns;
        }
    }

    /// Returns `true` if the time that it takes is measured.
    #[must_use]
    pub const fn timed(&self) -> bool {
        self.started_ns.is_some()
    }

    /// The user, where known.
    #[must_use]
    pub const fn bucket(&self) -> Option<Bucket> {
        self.bucket
    }

    /// The user's cohort, [`Cohort::Ordinary`] where the user is not known.
    #[must_use]
    pub const fn cohort(&self) -> Cohort {
        self.cohort
    }

    /// The request has passed whole.
    pub const fn request_over(&mut self) {
        self.request_ended = true;
    }

    /// The headers of the application's response; `length` is what they announce. Those of a response in place of another
    /// begin anew.
    pub fn response(&mut self, status: u16, encoding: Encoding, length: Option<usize>, budget: &mut Budget) {
        self.status = status;
        self.encoding = encoding;
        self.forget(budget);
        if length.is_some_and(|length| length > self.limit) {
            self.lose(Outcome::DroppedBodyLimit, budget);
        }
    }

    /// The encoding of the application's response.
    #[must_use]
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// `length` more bytes of the application's response pass. Where they are wanted, `read` must append exactly them to
    /// the copy, and returns `false` where it could not; they are paid for from `budget`. A copy that is still empty
    /// `read` may put a buffer in place of.
    pub fn pass(&mut self, length: usize, budget: &mut Budget, read: impl FnOnce(&mut Vec<u8>) -> bool) {
        if self.lost.is_some() || length == 0 {
            return;
        }
        let after = self.copy.len().saturating_add(length);
        if after > self.limit {
            self.lose(Outcome::DroppedBodyLimit, budget);
        } else if !budget.take(length) {
            self.lose(Outcome::DroppedBufferFull, budget);
        } else {
            let whole = read(&mut self.copy) && self.copy.len() == after;
            self.paid = self.paid.saturating_add(length);
            if !whole {
                // The copy is not what passed.
                self.lose(Outcome::Incomplete, budget);
            }
        }
    }

    /// The application's response is whole, at `now_ns` if the exchange is timed.
    pub fn response_over(&mut self, now_ns: Option<u64>) {
        self.response_ended = true;
        self.baseline_us = self.since_start(now_ns);
    }

    /// The application's response waited until the stream was over: the client was never given it.
    pub const fn withheld(&mut self) {
        self.response_ended = false;
    }

    /// Returns `true` if the application's response is whole.
    #[must_use]
    pub const fn response_ended(&self) -> bool {
        self.response_ended
    }

    /// Returns `true` if both bodies are whole.
    #[must_use]
    pub const fn complete(&self) -> bool {
        self.request_ended && self.response_ended
    }

    /// Gives back what the copy took of the budget while it is still there, so that it does not stand in the way of the
    /// record that is made of it.
    pub const fn settle(&mut self, budget: &mut Budget) {
        budget.give(self.paid);
        self.paid = 0;
    }

    /// The end, at `now_ns` if it is timed: the outcome, and what to hand on. `canary` is what is known of a canary
    /// user's, which has a fate. To be asked once; [`Exchange::release`] follows.
    #[must_use]
    pub fn end<'a>(&'a self, canary: Option<&'a Canary>, now_ns: Option<u64>) -> Ended<'a> {
        let fate = canary.and_then(Canary::fate);
        let served = if fate == Some(Fate::Candidate) { Arm::Candidate } else { Arm::Baseline };
        let success = matches!(self.status, 200..=299);
        let outcome = match self.lost {
            Some(lost) => lost,
            None if self.complete() => Outcome::Observed,
            None => Outcome::Incomplete,
        };
        let candidate = canary.and_then(Canary::candidate);
        let observation = (outcome == Outcome::Observed).then(|| Observation {
            assigned: self.assigned,
            served,
            fallback: matches!(fate, Some(Fate::Fallback(_))),
            bucket: self.bucket,
            cohort: self.cohort,
            status: self.status,
            duration_us: self.since_start(now_ns),
            baseline_us: self.baseline_us,
            candidate_us: candidate.map_or(NOT_TIMED, |(_, us)| us),
            encoding: self.encoding,
            baseline: &self.copy,
            candidate: candidate.filter(|_| success).map(|(candidate, _)| candidate.body.as_slice()),
        });
        Ended { outcome, served: (self.response_ended && success).then_some(served), observation }
    }

    /// Gives back what the copy took of the budget, and the buffer itself, emptied.
    #[must_use]
    pub fn release(&mut self, budget: &mut Budget) -> Vec<u8> {
        self.forget(budget);
        std::mem::take(&mut self.copy)
    }

    fn since_start(&self, now_ns: Option<u64>) -> u32 {
        let took = |(from, to): (u64, u64)| u32::try_from(to.saturating_sub(from) / 1_000).unwrap_or(u32::MAX).max(1);
        self.started_ns.zip(now_ns).map_or(NOT_TIMED, took)
    }

    fn lose(&mut self, why: Outcome, budget: &mut Budget) {
        if self.lost.is_none() {
            self.lost = Some(why);
            self.forget(budget);
        }
    }

    fn forget(&mut self, budget: &mut Budget) {
        self.settle(budget);
        self.copy.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn begin(sampled: bool) -> Exchange {
        Exchange::begin(Some(1_000), sampled, 20)
    }

    fn pass(exchange: &mut Exchange, bytes: &[u8], budget: &mut Budget) {
        exchange.pass(bytes.len(), budget, |out| {
            out.extend_from_slice(bytes);
            true
        });
    }

    #[test]
    fn a_whole_exchange_is_observed_as_it_passed() {
        let mut budget = Budget::new(100);
        let mut exchange = begin(true);
        exchange.request_over();
        exchange.response(201, Encoding::Gzip, Some(3), &mut budget);
        pass(&mut exchange, b"x", &mut budget);
        pass(&mut exchange, b"yz", &mut budget);
        exchange.response_over(Some(2_001_000));
        assert_eq!(budget.used(), 3);
        let ended = exchange.end(None, Some(3_500_999));
        assert_eq!((ended.outcome, ended.served), (Outcome::Observed, Some(Arm::Baseline)));
        let observation = ended.observation.unwrap();
        assert_eq!((observation.baseline, observation.candidate), (b"xyz".as_slice(), None));
        assert_eq!((observation.status, observation.encoding), (201, Encoding::Gzip));
        assert_eq!((observation.duration_us, observation.baseline_us), (3_499, 2_000));
        assert!(exchange.release(&mut budget).is_empty());
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn both_responses_of_a_canary_are_observed() {
        let mut budget = Budget::new(100);
        let mut canary = Canary::default();
        canary.called(Ok(1), 0);
        let good = super::super::candidate::Candidate {
            body: b"theirs".to_vec(),
            items: vec!["1".into()],
            model_version: None,
        };
        canary.call_over(Ok(good), 7_000);
        canary.response_begins(Ok(()));
        canary.response_whole();
        canary.choose(Ok(&["1".to_owned()]), false);
        let mut exchange = begin(true);
        exchange.identify(Bucket(7), Cohort::Beta, Arm::Candidate, Some(5));
        exchange.request_over();
        exchange.response(200, Encoding::Identity, None, &mut budget);
        pass(&mut exchange, b"ours", &mut budget);
        exchange.response_over(Some(2_000));
        let ended = exchange.end(Some(&canary), Some(9_000));
        assert_eq!(ended.served, Some(Arm::Candidate));
        let observation = ended.observation.unwrap();
        assert_eq!((observation.assigned, observation.served), (Arm::Candidate, Arm::Candidate));
        assert_eq!((observation.baseline, observation.candidate), (&b"ours"[..], Some(&b"theirs"[..])));
        assert_eq!((observation.baseline_us, observation.candidate_us, observation.duration_us), (1, 7, 8));
        assert_eq!(observation.given().1, b"theirs");
    }

    #[test]
    fn a_response_of_exactly_the_limit_is_observed_and_one_byte_more_is_not() {
        let mut budget = Budget::new(100);
        for (length, outcome) in [(20, Outcome::Observed), (21, Outcome::DroppedBodyLimit)] {
            let mut exchange = begin(true);
            exchange.request_over();
            exchange.response(200, Encoding::Identity, None, &mut budget);
            pass(&mut exchange, &vec![b'x'; length], &mut budget);
            exchange.response_over(None);
            assert_eq!(exchange.end(None, Some(1_000)).outcome, outcome);
            assert_eq!(exchange.end(None, Some(1_000)).served, Some(Arm::Baseline));
            let _ = exchange.release(&mut budget);
        }
        let mut exchange = begin(true);
        exchange.response(200, Encoding::Identity, Some(21), &mut budget);
        exchange.pass(1, &mut budget, |_| panic!("nothing more is wanted"));
        assert_eq!(exchange.end(None, Some(1_000)).outcome, Outcome::DroppedBodyLimit);
    }

    #[test]
    fn a_stream_that_ends_early_is_incomplete_and_gave_no_response() {
        let mut exchange = begin(true);
        exchange.request_over();
        exchange.response(200, Encoding::Identity, None, &mut Budget::new(0));
        let ended = exchange.end(None, Some(1_000));
        assert_eq!((ended.outcome, ended.served, ended.observation), (Outcome::Incomplete, None, None));
    }

    #[test]
    fn an_exchange_that_is_not_sampled_copies_nothing_and_still_counts() {
        let mut budget = Budget::new(0);
        let mut exchange = begin(false);
        exchange.request_over();
        exchange.response(204, Encoding::Identity, None, &mut budget);
        pass(&mut exchange, b"abc", &mut budget);
        exchange.response_over(None);
        let ended = exchange.end(None, Some(1_000));
        let expected = (Outcome::SkippedSampling, Some(Arm::Baseline), None);
        assert_eq!((ended.outcome, ended.served, ended.observation), expected);
    }

    #[test]
    fn a_response_in_place_of_another_is_the_one_that_is_observed() {
        let mut budget = Budget::new(100);
        let mut exchange = begin(true);
        exchange.request_over();
        exchange.response(200, Encoding::Gzip, None, &mut budget);
        pass(&mut exchange, b"half", &mut budget);
        exchange.response(502, Encoding::Identity, None, &mut budget);
        pass(&mut exchange, b"reset", &mut budget);
        exchange.response_over(None);
        let observation = exchange.end(None, None).observation.unwrap();
        assert_eq!(
            (observation.status, observation.baseline, observation.encoding),
            (502, &b"reset"[..], Encoding::Identity)
        );
        assert_eq!(budget.used(), 5);
    }

    #[test]
    fn an_exchange_that_is_not_timed_says_so() {
        for (from, to, took) in [(None, None, NOT_TIMED), (Some(5), Some(6), 1), (Some(0), Some(9_000), 9)] {
            let mut exchange = Exchange::begin(from, true, 20);
            exchange.request_over();
            exchange.response_over(to);
            assert_eq!(exchange.end(None, to).observation.map(|seen| seen.duration_us), Some(took));
        }
    }

    #[derive(Debug, Clone)]
    enum Event {
        Identify,
        Response(u16, Option<usize>),
        Pass(usize),
        Unreadable(usize, usize),
        RequestOver,
        ResponseOver,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (any::<u16>(), proptest::option::of(0_usize..40))
                .prop_map(|(status, length)| Event::Response(status, length)),
            (0_usize..15).prop_map(Event::Pass),
            (0_usize..15, 0_usize..15).prop_map(|(length, got)| Event::Unreadable(length, got)),
            Just(Event::RequestOver),
            Just(Event::ResponseOver),
            Just(Event::Identify),
        ]
    }

    proptest! {
        // Whatever happens, in any order: one outcome, an observation exactly when observed, no byte over a limit, and
        // the budget is what the copy holds and nothing once it is released.
        #[test]
        fn every_exchange_ends_once_inside_its_bounds(
            sampled: bool, room in 0_usize..60, events in proptest::collection::vec(event(), 0..20), now: u64,
        ) {
            let mut budget = Budget::new(room);
            let mut exchange = begin(sampled);
            for event in events {
                match event {
                    Event::Identify => exchange.identify(Bucket(1), Cohort::Ordinary, Arm::Baseline, None),
                    Event::Response(status, length) => exchange.response(status, Encoding::Identity, length, &mut budget),
                    Event::Pass(length) => pass(&mut exchange, &vec![0; length], &mut budget),
                    Event::Unreadable(length, got) => exchange.pass(length, &mut budget, |out| {
                        out.resize(out.len() + got, 0);
                        got % 2 == 0
                    }),
                    Event::RequestOver => exchange.request_over(),
                    Event::ResponseOver => exchange.response_over(Some(now)),
                }
                prop_assert!(exchange.copy.len() <= 20 && budget.used() == exchange.copy.len());
                prop_assert!(budget.used() <= room);
            }
            let ended = exchange.end(None, Some(now));
            prop_assert_eq!(ended.observation.is_some(), ended.outcome == Outcome::Observed);
            prop_assert_eq!(!sampled, ended.outcome == Outcome::SkippedSampling);
            let _ = exchange.release(&mut budget);
            prop_assert_eq!(budget.used(), 0);
        }
    }
}
