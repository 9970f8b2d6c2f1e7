//! One intercepted request with its response, from its first byte to its last, as an observation.
//!
//! The application's response is copied as it passes, within the limits; an exchange that cannot be observed is only
//! counted. Each ends in exactly one [`Outcome`], whichever way its stream ends:
//!
//! - observed, if request and response are complete;
//! - skipped, if the sample does not contain it: nothing is copied;
//! - dropped, if the response is above its limit or the worker has no room for another copy;
//! - incomplete, if the stream ends before both are complete (the client leaves, the upstream resets, the application
//!   responds before the request has ended).
//!
//! The first reason not to observe it counts, and the copy is dropped at once.

use contract::bucket::Bucket;
use contract::frame::{Encoding, NOT_TIMED, Observation};
use contract::names::{Arm, Cohort, Outcome};

use super::budget::Budget;
use super::canary::{Canary, CanaryOutcome};
use super::copy::ResponseCopy;

/// One request with its response.
#[derive(Debug)]
pub struct Exchange {
    /// Start of the exchange, if it is timed.
    started_ns: Option<u64>,
    bucket: Option<Bucket>,
    cohort: Cohort,
    assigned: Arm,
    request_ended: bool,
    /// The copy of the application's response.
    copy: ResponseCopy,
    status: u16,
    encoding: Encoding,
    response_ended: bool,
    baseline_us: u32,
    /// The outcome, if it is known already that the exchange will not be observed.
    unobserved: Option<Outcome>,
}

/// The result of an exchange.
#[derive(Debug, PartialEq, Eq)]
pub struct ExchangeResult<'a> {
    /// How it ended as an observation.
    pub outcome: Outcome,
    /// The arm whose response the client was given, if that is complete and has a 2xx status.
    pub served: Option<Arm>,
    /// The observation; `Some` if, and only if, the outcome is [`Outcome::Observed`].
    pub observation: Option<Observation<'a>>,
}

impl Exchange {
    /// Begins with the request's headers, at `now_ns` if it is to be timed. The response of an exchange that is not
    /// `sampled` is not copied, and others only up to `limit` bytes.
    #[must_use]
    pub fn begin(now_ns: Option<u64>, sampled: bool, limit: usize) -> Self {
        Self {
            started_ns: now_ns,
            bucket: None,
            cohort: Cohort::Ordinary,
            assigned: Arm::Baseline,
            request_ended: false,
            copy: ResponseCopy::new(limit),
            status: 0,
            encoding: Encoding::Identity,
            response_ended: false,
            baseline_us: NOT_TIMED,
            unobserved: (!sampled).then_some(Outcome::SkippedSampling),
        }
    }

    /// Records the user. The exchange is timed from `now_ns` on, if that is given and it is not timed yet.
    pub const fn identify(&mut self, bucket: Bucket, cohort: Cohort, assigned: Arm, now_ns: Option<u64>) {
        self.bucket = Some(bucket);
        self.cohort = cohort;
        self.assigned = assigned;
        if self.started_ns.is_none() {
            self.started_ns = now_ns;
        }
    }

    /// Returns `true` if the exchange is timed.
    #[must_use]
    pub const fn timed(&self) -> bool {
        self.started_ns.is_some()
    }

    /// The user's pseudonym, if it is known.
    #[must_use]
    pub const fn bucket(&self) -> Option<Bucket> {
        self.bucket
    }

    /// The user's cohort; [`Cohort::Ordinary`] if the user is not known.
    #[must_use]
    pub const fn cohort(&self) -> Cohort {
        self.cohort
    }

    /// Records that the request is complete.
    pub const fn request_over(&mut self) {
        self.request_ended = true;
    }

    /// Records the headers of the application's response, with the length that they announce. A response in place of another
    /// replaces it.
    pub fn response(&mut self, status: u16, encoding: Encoding, length: Option<usize>, budget: &mut Budget) {
        self.status = status;
        self.encoding = encoding;
        self.copy.clear(budget);
        if length.is_some_and(|length| !self.copy.fits(length)) {
            self.give_up(Outcome::DroppedBodyLimit, budget);
        }
    }

    /// The encoding of the application's response.
    #[must_use]
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Copies `length` more bytes of the application's response with `read`, as [`ResponseCopy::append`] does, unless it is
    /// known that the exchange will not be observed.
    pub fn pass(&mut self, length: usize, budget: &mut Budget, read: impl FnOnce(&mut Vec<u8>) -> bool) {
        if self.unobserved.is_none()
            && length > 0
            && let Err(outcome) = self.copy.append(length, budget, read)
        {
            self.give_up(outcome, budget);
        }
    }

    /// Records that the application's response is complete, at `now_ns` if the exchange is timed.
    pub fn response_over(&mut self, now_ns: Option<u64>) {
        self.response_ended = true;
        self.baseline_us = self.since_start(now_ns);
    }

    /// Records that the application's response was held until the stream ended, so that the client never received it.
    pub const fn withheld(&mut self) {
        self.response_ended = false;
    }

    /// Returns `true` if the application's response is complete.
    #[must_use]
    pub const fn response_ended(&self) -> bool {
        self.response_ended
    }

    /// Returns `true` if both request and response are complete.
    #[must_use]
    pub const fn complete(&self) -> bool {
        self.request_ended && self.response_ended
    }

    /// Returns the copy's bytes to the budget before the record is made of it.
    pub const fn settle(&mut self, budget: &mut Budget) {
        self.copy.settle(budget);
    }

    /// Ends the exchange, at `now_ns` if it is timed. `canary` is the state of a canary user's request, which has an outcome
    /// by now. To be called once; [`Exchange::release`] follows.
    #[must_use]
    pub fn end<'a>(&'a self, canary: Option<&'a Canary>, now_ns: Option<u64>) -> ExchangeResult<'a> {
        let given = canary.and_then(Canary::outcome);
        let served = if given == Some(CanaryOutcome::Candidate) { Arm::Candidate } else { Arm::Baseline };
        let success = matches!(self.status, 200..=299);
        let outcome = match self.unobserved {
            Some(outcome) => outcome,
            None if self.complete() => Outcome::Observed,
            None => Outcome::Incomplete,
        };
        let candidate = canary.and_then(Canary::candidate);
        let observation = (outcome == Outcome::Observed).then(|| Observation {
            assigned: self.assigned,
            served,
            fallback: matches!(given, Some(CanaryOutcome::Fallback(_))),
            bucket: self.bucket,
            cohort: self.cohort,
            status: self.status,
            duration_us: self.since_start(now_ns),
            baseline_us: self.baseline_us,
            candidate_us: candidate.map_or(NOT_TIMED, |(_, us)| us),
            encoding: self.encoding,
            baseline: self.copy.bytes(),
            candidate: candidate.filter(|_| success).map(|(candidate, _)| candidate.body.as_slice()),
        });
        ExchangeResult { outcome, served: (self.response_ended && success).then_some(served), observation }
    }

    /// Returns the copy's bytes to the budget, and its emptied buffer.
    #[must_use]
    pub fn release(&mut self, budget: &mut Budget) -> Vec<u8> {
        self.copy.release(budget)
    }

    fn since_start(&self, now_ns: Option<u64>) -> u32 {
        let took = |(from, to): (u64, u64)| u32::try_from(to.saturating_sub(from) / 1_000).unwrap_or(u32::MAX).max(1);
        self.started_ns.zip(now_ns).map_or(NOT_TIMED, took)
    }

    fn give_up(&mut self, outcome: Outcome, budget: &mut Budget) {
        if self.unobserved.is_none() {
            self.unobserved = Some(outcome);
            self.copy.clear(budget);
        }
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
    fn a_complete_exchange_is_observed_as_it_passed() {
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
    fn both_responses_to_a_canary_request_are_observed() {
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
        exchange.pass(1, &mut budget, |_| panic!("nothing more is read"));
        assert_eq!(exchange.end(None, Some(1_000)).outcome, Outcome::DroppedBodyLimit);
    }

    #[test]
    fn a_stream_that_ends_early_is_incomplete_and_has_no_response() {
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
    fn an_exchange_that_is_not_timed_has_no_duration() {
        for (from, to, took) in [(None, None, NOT_TIMED), (Some(5), Some(6), 1), (Some(0), Some(9_000), 9)] {
            let mut exchange = Exchange::begin(from, true, 20);
            exchange.request_over();
            exchange.response_over(to);
            assert_eq!(exchange.end(None, to).observation.map(|observation| observation.duration_us), Some(took));
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
        // In any order of events: one outcome, an observation exactly when observed, no byte above a limit, and the budget
        // counts the bytes of the copy, and none once it is released.
        #[test]
        fn every_exchange_ends_once_within_its_limits(
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
