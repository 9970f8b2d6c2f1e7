//! Decides which of the two responses a canary user is given.
//!
//! ```text
//! call to the scorer      not made ──► in flight ──► good | failed
//! application's response  not begun ──► held ──► complete
//! outcome                 candidate | fallback (how the candidate failed) | passed through (why)
//! ```
//! The application's response is held for the scorer's only if it may be replaced, and is passed on as soon as it is
//! known that it will not be. The first outcome counts, and each canary request has exactly one.

use contract::names::{FallbackReason, PassedThrough};

use super::candidate::{self, Candidate};

/// The response that a canary user was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CanaryOutcome {
    /// The application's response with the candidate's body.
    Candidate,
    /// The application's response, since the candidate failed.
    Fallback(FallbackReason),
    /// The application's response, though the candidate did not fail.
    PassedThrough(PassedThrough),
}

/// The call to the scorer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Call {
    NotMade,
    InFlight { token: u32, at_ns: u64 },
    Good(Candidate),
    Failed(FallbackReason),
}

/// The application's response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Response {
    NotBegun,
    Held,
    Complete,
    /// The response is on its way to the client.
    Passed,
}

/// One canary request.
#[derive(Debug)]
pub struct Canary {
    call: Call,
    response: Response,
    outcome: Option<CanaryOutcome>,
    /// Bytes of the application's response that are held.
    held: usize,
    candidate_us: u32,
}

impl Default for Canary {
    fn default() -> Self {
        Self { call: Call::NotMade, response: Response::NotBegun, outcome: None, held: 0, candidate_us: 0 }
    }
}

impl Canary {
    /// The response that the client is given, once it is known.
    #[must_use]
    pub const fn outcome(&self) -> Option<CanaryOutcome> {
        self.outcome
    }

    /// The call in flight: its token, and the time at which it was made.
    #[must_use]
    pub const fn under_way(&self) -> Option<(u32, u64)> {
        match self.call {
            Call::InFlight { token, at_ns } => Some((token, at_ns)),
            _ => None,
        }
    }

    /// Returns `true` if the scorer is still to be called.
    #[must_use]
    pub const fn needs_call(&self) -> bool {
        matches!(self.call, Call::NotMade) && self.outcome.is_none()
    }

    /// The candidate response and its duration in µs, if it passed the checks.
    #[must_use]
    pub const fn candidate(&self) -> Option<(&Candidate, u32)> {
        match &self.call {
            Call::Good(candidate) => Some((candidate, self.candidate_us)),
            _ => None,
        }
    }

    /// Returns `true` if the application's response is held.
    #[must_use]
    pub const fn holds(&self) -> bool {
        matches!(self.response, Response::Held | Response::Complete) && self.outcome.is_none()
    }

    /// Bytes of the application's response that are held.
    #[must_use]
    pub const fn waiting_bytes(&self) -> usize {
        self.held
    }

    /// Passes the application's response through, whether it has begun or not, unless there is an outcome already.
    pub const fn pass_through(&mut self, reason: PassedThrough) {
        self.decide(CanaryOutcome::PassedThrough(reason));
    }

    /// Records that the call was made at `at_ns`, or that the host refused it.
    pub fn called(&mut self, made: Result<u32, FallbackReason>, at_ns: u64) {
        self.call = match made {
            Ok(token) => Call::InFlight { token, at_ns },
            Err(reason) => Call::Failed(reason),
        };
    }

    /// Records the end of the call, at `now_ns`. Returns `true` if the application's response must be passed on now:
    /// unchanged if there is an outcome by now, else by [`Canary::choose`].
    pub fn call_over(&mut self, checked: Result<Candidate, FallbackReason>, now_ns: u64) -> bool {
        let Call::InFlight { at_ns, .. } = self.call else { return false };
        self.candidate_us = u32::try_from(now_ns.saturating_sub(at_ns) / 1_000).unwrap_or(u32::MAX).max(1);
        self.call = checked.map_or_else(Call::Failed, Call::Good);
        match self.response {
            Response::Complete => self.outcome.is_none(),
            Response::Held => self.fail_early(),
            Response::NotBegun | Response::Passed => false,
        }
    }

    /// Records the headers of the application's response; `replaceable` is the result of their check. Returns `true` if
    /// the response must be held.
    pub fn response_begins(&mut self, replaceable: Result<(), PassedThrough>) -> bool {
        if matches!(self.response, Response::Held | Response::Complete) {
            // Envoy replaced the response that was held, which will never be complete.
            self.decide(CanaryOutcome::PassedThrough(PassedThrough::Gone));
            return false;
        }
        if let Err(reason) = replaceable {
            self.decide(CanaryOutcome::PassedThrough(reason));
        } else if matches!(self.call, Call::NotMade) {
            self.decide(CanaryOutcome::PassedThrough(PassedThrough::RequestIncomplete));
        }
        self.response = Response::Held;
        self.fail_early();
        if self.outcome.is_some() {
            self.response = Response::Passed;
            return false;
        }
        true
    }

    /// Records that `length` more bytes of the application's response are held.
    pub const fn hold(&mut self, length: usize) {
        self.held = self.held.saturating_add(length);
    }

    /// Records that the application's response is complete. Returns `true` if it must be passed on now, by
    /// [`Canary::choose`].
    pub fn response_whole(&mut self) -> bool {
        if self.response == Response::Held {
            self.response = Response::Complete;
        }
        matches!(self.call, Call::Good(_) | Call::Failed(_))
    }

    /// Chooses between the two responses; `baseline` are the ids of the application's items, or the reason to pass its
    /// response through. With `any_items` the candidate may have other items.
    pub fn choose(&mut self, baseline: Result<&[String], PassedThrough>, any_items: bool) -> CanaryOutcome {
        let outcome = match (baseline, &self.call) {
            // Without a comparison of items the application need not have any.
            (Err(reason), _) if !any_items => CanaryOutcome::PassedThrough(reason),
            (_, Call::Failed(reason)) => CanaryOutcome::Fallback(*reason),
            (_, Call::Good(_)) if any_items => CanaryOutcome::Candidate,
            (Ok(baseline), Call::Good(candidate)) => compare_items(&candidate.items, baseline),
            (_, Call::NotMade | Call::InFlight { .. } | Call::Good(_)) => {
                CanaryOutcome::PassedThrough(PassedThrough::Gone)
            }
        };
        self.decide(outcome);
        self.response = Response::Passed;
        self.outcome.unwrap_or(outcome)
    }

    /// Records the end of the stream: a request without an outcome never had a complete response.
    pub fn finish(&mut self) -> CanaryOutcome {
        self.decide(CanaryOutcome::PassedThrough(PassedThrough::Gone));
        self.outcome.unwrap_or(CanaryOutcome::PassedThrough(PassedThrough::Gone))
    }

    /// Decides for the fallback if the client's request cannot have caused the failure: that needs no response of the
    /// application.
    fn fail_early(&mut self) -> bool {
        if let Call::Failed(reason) = self.call
            && !candidate::may_be_caused_by_request(reason)
            && self.outcome.is_none()
        {
            self.decide(CanaryOutcome::Fallback(reason));
            self.response = Response::Passed;
            return true;
        }
        false
    }

    const fn decide(&mut self, outcome: CanaryOutcome) {
        if self.outcome.is_none() {
            self.outcome = Some(outcome);
        }
    }
}

/// The outcome that follows from a comparison of the items' ids.
fn compare_items(candidate: &[String], baseline: &[String]) -> CanaryOutcome {
    let known: std::collections::HashSet<&str> = baseline.iter().map(String::as_str).collect();
    let shared = candidate.iter().filter(|id| known.contains(id.as_str())).count();
    if shared == candidate.len() {
        CanaryOutcome::Candidate
    } else if shared == 0 {
        CanaryOutcome::Fallback(FallbackReason::OtherItems)
    } else {
        CanaryOutcome::PassedThrough(PassedThrough::LeftOut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn good(items: &[&str]) -> Candidate {
        Candidate { items: items.iter().map(|id| (*id).to_owned()).collect(), ..Candidate::default() }
    }

    fn ids(items: &[&str]) -> Vec<String> {
        items.iter().map(|id| (*id).to_owned()).collect()
    }

    /// A canary whose call was made at 0.
    fn called() -> Canary {
        let mut canary = Canary::default();
        assert!(canary.needs_call());
        canary.called(Ok(1), 0);
        canary
    }

    #[test]
    fn the_candidate_is_given_whichever_response_is_later() {
        let mut canary = called();
        assert!(!canary.call_over(Ok(good(&["1"])), 5_000));
        assert!(canary.response_begins(Ok(())) && canary.holds());
        assert!(canary.response_whole());
        assert_eq!(canary.choose(Ok(&ids(&["1", "2"])), false), CanaryOutcome::Candidate);
        assert_eq!(canary.candidate().map(|(_, us)| us), Some(5));

        let mut canary = called();
        assert!(canary.response_begins(Ok(())));
        assert!(!canary.response_whole() && canary.holds());
        assert!(canary.call_over(Ok(good(&["1"])), 1));
        assert_eq!(canary.choose(Ok(&ids(&["1"])), false), CanaryOutcome::Candidate);
        assert!(!canary.holds());
    }

    #[test]
    fn no_response_is_held_for_a_scorer_that_is_gone() {
        for reason in [FallbackReason::Refused, FallbackReason::Reset, FallbackReason::Deadline] {
            let mut canary = called();
            canary.call_over(Err(reason), 1);
            assert!(!canary.response_begins(Ok(())));
            assert_eq!(canary.outcome(), Some(CanaryOutcome::Fallback(reason)));

            let mut canary = called();
            assert!(canary.response_begins(Ok(())));
            assert!(canary.call_over(Err(reason), 1), "a held response is passed on at once");
            assert_eq!(canary.outcome(), Some(CanaryOutcome::Fallback(reason)));
        }
    }

    #[test]
    fn the_applications_response_decides_about_failures_that_a_request_may_cause() {
        for reason in [FallbackReason::Status, FallbackReason::NoItems, FallbackReason::TooLarge] {
            let mut canary = called();
            canary.call_over(Err(reason), 1);
            assert!(canary.response_begins(Ok(())), "{reason:?}");
            assert!(canary.response_whole());
            let empty = Err(PassedThrough::NoItems);
            assert_eq!(canary.choose(empty, false), CanaryOutcome::PassedThrough(PassedThrough::NoItems));

            let mut canary = called();
            canary.call_over(Err(reason), 1);
            assert!(canary.response_begins(Ok(())) && canary.response_whole());
            assert_eq!(canary.choose(Ok(&ids(&["1"])), false), CanaryOutcome::Fallback(reason));
        }
    }

    #[test]
    fn a_response_that_may_not_be_replaced_passes_whatever_the_scorer_does() {
        for checked in [Ok(good(&["1"])), Err(FallbackReason::Refused)] {
            let mut canary = called();
            canary.call_over(checked, 1);
            assert!(!canary.response_begins(Err(PassedThrough::Error)));
            assert_eq!(canary.outcome(), Some(CanaryOutcome::PassedThrough(PassedThrough::Error)));
        }
    }

    #[test]
    fn the_candidate_may_not_add_items_that_the_application_leaves_out() {
        let choose = |candidate: &[&str], baseline: &[&str], any| {
            let mut canary = called();
            canary.call_over(Ok(good(candidate)), 1);
            canary.response_begins(Ok(()));
            canary.response_whole();
            canary.choose(Ok(&ids(baseline)), any)
        };
        assert_eq!(choose(&["1", "2"], &["1"], false), CanaryOutcome::PassedThrough(PassedThrough::LeftOut));
        assert_eq!(choose(&["3"], &["1", "2"], false), CanaryOutcome::Fallback(FallbackReason::OtherItems));
        assert_eq!(choose(&["2"], &["1", "2"], false), CanaryOutcome::Candidate, "it may have fewer items");
        assert_eq!(choose(&["3"], &["1", "2"], true), CanaryOutcome::Candidate, "a search may find other items");
    }

    #[test]
    fn a_response_in_place_of_the_held_one_passes() {
        let mut canary = called();
        assert!(canary.response_begins(Ok(())));
        assert!(!canary.response_begins(Ok(())));
        assert_eq!(canary.outcome(), Some(CanaryOutcome::PassedThrough(PassedThrough::Gone)));
    }

    #[test]
    fn an_application_may_respond_before_the_request_is_complete() {
        let mut canary = Canary::default();
        assert!(!canary.response_begins(Ok(())));
        assert_eq!(canary.outcome(), Some(CanaryOutcome::PassedThrough(PassedThrough::RequestIncomplete)));
        assert!(!canary.needs_call());
    }

    proptest! {
        // In any order of events: at most one outcome, the candidate only with both responses complete, and no outcome
        // while a response is held.
        #[test]
        fn there_is_one_outcome(steps in proptest::collection::vec((0_u8..9, any::<bool>()), 0..30)) {
            let mut canary = Canary::default();
            let mut outcome = None;
            let (mut whole, mut good_call) = (false, false);
            for (step, flag) in steps {
                match step {
                    0 if canary.needs_call() => {
                        canary.called(if flag { Ok(1) } else { Err(FallbackReason::Refused) }, 0);
                    }
                    1 if canary.under_way().is_some() => {
                        good_call = flag;
                        canary.call_over(if flag { Ok(good(&["1"])) } else { Err(FallbackReason::NoItems) }, 1);
                    }
                    2 => drop(canary.response_begins(if flag { Ok(()) } else { Err(PassedThrough::Error) })),
                    3 if canary.holds() => canary.hold(3),
                    4 if canary.holds() => {
                        whole = true;
                        if canary.response_whole() { canary.choose(Ok(&ids(&["1"])), flag); }
                    }
                    5 if canary.holds() => canary.pass_through(PassedThrough::TooLarge),
                    6 if canary.needs_call() => canary.pass_through(PassedThrough::RequestTooLarge),
                    7 if flag => drop(canary.finish()),
                    _ => {}
                }
                if let (Some(before), Some(now)) = (outcome, canary.outcome()) {
                    prop_assert_eq!(before, now);
                }
                outcome = canary.outcome();
                if outcome == Some(CanaryOutcome::Candidate) {
                    prop_assert!(whole && good_call);
                }
                prop_assert!(!(canary.holds() && outcome.is_some()));
            }
            canary.finish();
            prop_assert!(canary.outcome().is_some());
        }
    }
}
