//! Which of the two responses a canary user is given.
//!
//! ```text
//! call to the scorer    not made ──► under way ──► good | failed
//! application's         not begun ──► held ──► whole
//! fate                  candidate | fallback (how the candidate failed) | passed through (why)
//! ```
//! The application's response waits for the scorer's only where it is one that can be replaced, and goes on as soon as it
//! is known that it will not be. The first fate is the one that counts, and each canary request has exactly one.

use contract::names::{FallbackReason, PassedThrough};

use super::candidate::{self, Candidate};

/// What a canary user was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The candidate's body in the application's response.
    Candidate,
    /// The application's response, since the candidate failed.
    Fallback(FallbackReason),
    /// The application's response, for a reason that is not the candidate's.
    PassedThrough(PassedThrough),
}

/// The call to the scorer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Call {
    NotMade,
    UnderWay { token: u32, at_ns: u64 },
    Good(Candidate),
    Failed(FallbackReason),
}

/// The application's response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Response {
    NotBegun,
    Held,
    Whole,
    /// It is on its way to the client.
    Passed,
}

/// One canary request. See the module.
#[derive(Debug)]
pub struct Canary {
    call: Call,
    response: Response,
    fate: Option<Fate>,
    /// Bytes of the application's response that wait.
    held: usize,
    candidate_us: u32,
}

impl Default for Canary {
    fn default() -> Self {
        Self { call: Call::NotMade, response: Response::NotBegun, fate: None, held: 0, candidate_us: 0 }
    }
}

impl Canary {
    /// What the client is given, once it is known.
    #[must_use]
    pub const fn fate(&self) -> Option<Fate> {
        self.fate
    }

    /// The call under way: its token, and when it was made.
    #[must_use]
    pub const fn under_way(&self) -> Option<(u32, u64)> {
        match self.call {
            Call::UnderWay { token, at_ns } => Some((token, at_ns)),
            _ => None,
        }
    }

    /// Returns `true` if the candidate is still to be asked.
    #[must_use]
    pub const fn to_be_asked(&self) -> bool {
        matches!(self.call, Call::NotMade) && self.fate.is_none()
    }

    /// The candidate's response, and how long it took in µs, where it is good.
    #[must_use]
    pub const fn candidate(&self) -> Option<(&Candidate, u32)> {
        match &self.call {
            Call::Good(candidate) => Some((candidate, self.candidate_us)),
            _ => None,
        }
    }

    /// Returns `true` if the application's response waits.
    #[must_use]
    pub const fn holds(&self) -> bool {
        matches!(self.response, Response::Held | Response::Whole) && self.fate.is_none()
    }

    /// Bytes of the application's response that wait.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held
    }

    /// The candidate will not be asked, since of the client's request.
    pub const fn leave(&mut self, reason: PassedThrough) {
        self.decide(Fate::PassedThrough(reason));
    }

    /// The call was made at `at_ns`, or the host did not take it.
    pub fn called(&mut self, made: Result<u32, FallbackReason>, at_ns: u64) {
        self.call = match made {
            Ok(token) => Call::UnderWay { token, at_ns },
            Err(reason) => Call::Failed(reason),
        };
    }

    /// The call is over, at `now_ns`. Returns `true` if the application's response has to go on now: as it is where it
    /// has a fate by now, else by [`Canary::choose`].
    pub fn call_over(&mut self, judged: Result<Candidate, FallbackReason>, now_ns: u64) -> bool {
        let Call::UnderWay { at_ns, .. } = self.call else { return false };
        self.candidate_us = u32::try_from(now_ns.saturating_sub(at_ns) / 1_000).unwrap_or(u32::MAX).max(1);
        self.call = judged.map_or_else(Call::Failed, Call::Good);
        match self.response {
            Response::Whole => self.fate.is_none(),
            Response::Held => self.fail_early(),
            Response::NotBegun | Response::Passed => false,
        }
    }

    /// The application's response begins; `replaceable` is what its headers say. Returns `true` if it has to wait.
    pub fn response_begins(&mut self, replaceable: Result<(), PassedThrough>) -> bool {
        if matches!(self.response, Response::Held | Response::Whole) {
            // Another one in place of the one that waited, which will not be whole any more.
            self.decide(Fate::PassedThrough(PassedThrough::Gone));
            return false;
        }
        if let Err(reason) = replaceable {
            self.decide(Fate::PassedThrough(reason));
        } else if matches!(self.call, Call::NotMade) {
            self.decide(Fate::PassedThrough(PassedThrough::RequestIncomplete));
        }
        self.response = Response::Held;
        self.fail_early();
        if self.fate.is_some() {
            self.response = Response::Passed;
            return false;
        }
        true
    }

    /// `length` more bytes of the application's response wait.
    pub const fn hold(&mut self, length: usize) {
        self.held = self.held.saturating_add(length);
    }

    /// The application's response is whole. Returns `true` if it has to go on now, by [`Canary::choose`].
    pub fn response_whole(&mut self) -> bool {
        if self.response == Response::Held {
            self.response = Response::Whole;
        }
        matches!(self.call, Call::Good(_) | Call::Failed(_))
    }

    /// The application's response, which waits, goes on as it is.
    pub const fn release(&mut self, reason: PassedThrough) {
        self.decide(Fate::PassedThrough(reason));
    }

    /// Chooses, where both responses are known; `baseline` are the ids of the application's items, or why its response is
    /// passed through. With `any_items` the candidate's may be others.
    pub fn choose(&mut self, baseline: Result<&[String], PassedThrough>, any_items: bool) -> Fate {
        let fate = match (baseline, &self.call) {
            // An application whose items nobody compares need not have any.
            (Err(reason), _) if !any_items => Fate::PassedThrough(reason),
            (_, Call::Failed(reason)) => Fate::Fallback(*reason),
            (_, Call::Good(_)) if any_items => Fate::Candidate,
            (Ok(baseline), Call::Good(candidate)) => among(&candidate.items, baseline),
            (_, Call::NotMade | Call::UnderWay { .. } | Call::Good(_)) => Fate::PassedThrough(PassedThrough::Gone),
        };
        self.decide(fate);
        self.response = Response::Passed;
        self.fate.unwrap_or(fate)
    }

    /// The stream is over: a request without a fate never had a whole response.
    pub fn over(&mut self) -> Fate {
        self.decide(Fate::PassedThrough(PassedThrough::Gone));
        self.fate.unwrap_or(Fate::PassedThrough(PassedThrough::Gone))
    }

    /// A failure that cannot be the client's doing is known without the application's response.
    fn fail_early(&mut self) -> bool {
        if let Call::Failed(reason) = self.call
            && !candidate::may_be_the_clients(reason)
            && self.fate.is_none()
        {
            self.decide(Fate::Fallback(reason));
            self.response = Response::Passed;
            return true;
        }
        false
    }

    const fn decide(&mut self, fate: Fate) {
        if self.fate.is_none() {
            self.fate = Some(fate);
        }
    }
}

/// What the candidate's items are worth beside the application's.
fn among(candidate: &[String], baseline: &[String]) -> Fate {
    let theirs: std::collections::HashSet<&str> = baseline.iter().map(String::as_str).collect();
    let known = candidate.iter().filter(|id| theirs.contains(id.as_str())).count();
    if known == candidate.len() {
        Fate::Candidate
    } else if known == 0 {
        Fate::Fallback(FallbackReason::OtherItems)
    } else {
        Fate::PassedThrough(PassedThrough::LeftOut)
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

    /// A canary whose call is under way since 0.
    fn asked() -> Canary {
        let mut canary = Canary::default();
        assert!(canary.to_be_asked());
        canary.called(Ok(1), 0);
        canary
    }

    #[test]
    fn whichever_response_is_later_the_candidate_is_given() {
        let mut canary = asked();
        assert!(!canary.call_over(Ok(good(&["1"])), 5_000));
        assert!(canary.response_begins(Ok(())) && canary.holds());
        assert!(canary.response_whole());
        assert_eq!(canary.choose(Ok(&ids(&["1", "2"])), false), Fate::Candidate);
        assert_eq!(canary.candidate().map(|(_, us)| us), Some(5));

        let mut canary = asked();
        assert!(canary.response_begins(Ok(())));
        assert!(!canary.response_whole() && canary.holds());
        assert!(canary.call_over(Ok(good(&["1"])), 1));
        assert_eq!(canary.choose(Ok(&ids(&["1"])), false), Fate::Candidate);
        assert!(!canary.holds());
    }

    #[test]
    fn a_scorer_that_is_gone_holds_nothing() {
        for reason in [FallbackReason::Refused, FallbackReason::Reset, FallbackReason::Deadline] {
            let mut canary = asked();
            canary.call_over(Err(reason), 1);
            assert!(!canary.response_begins(Ok(())));
            assert_eq!(canary.fate(), Some(Fate::Fallback(reason)));

            let mut canary = asked();
            assert!(canary.response_begins(Ok(())));
            assert!(canary.call_over(Err(reason), 1), "what waits goes on at once");
            assert_eq!(canary.fate(), Some(Fate::Fallback(reason)));
        }
    }

    #[test]
    fn what_may_be_the_clients_doing_is_told_by_the_applications_response() {
        for reason in [FallbackReason::Status, FallbackReason::NoItems, FallbackReason::TooLarge] {
            let mut canary = asked();
            canary.call_over(Err(reason), 1);
            assert!(canary.response_begins(Ok(())), "{reason:?}");
            assert!(canary.response_whole());
            let empty = Err(PassedThrough::NoItems);
            assert_eq!(canary.choose(empty, false), Fate::PassedThrough(PassedThrough::NoItems));

            let mut canary = asked();
            canary.call_over(Err(reason), 1);
            assert!(canary.response_begins(Ok(())) && canary.response_whole());
            assert_eq!(canary.choose(Ok(&ids(&["1"])), false), Fate::Fallback(reason));
        }
    }

    #[test]
    fn a_response_that_cannot_be_replaced_passes_whatever_the_scorer_does() {
        for judged in [Ok(good(&["1"])), Err(FallbackReason::Refused)] {
            let mut canary = asked();
            canary.call_over(judged, 1);
            assert!(!canary.response_begins(Err(PassedThrough::Error)));
            assert_eq!(canary.fate(), Some(Fate::PassedThrough(PassedThrough::Error)));
        }
    }

    #[test]
    fn the_candidate_may_not_add_what_the_application_left_out() {
        let choose = |candidate: &[&str], baseline: &[&str], any| {
            let mut canary = asked();
            canary.call_over(Ok(good(candidate)), 1);
            canary.response_begins(Ok(()));
            canary.response_whole();
            canary.choose(Ok(&ids(baseline)), any)
        };
        assert_eq!(choose(&["1", "2"], &["1"], false), Fate::PassedThrough(PassedThrough::LeftOut));
        assert_eq!(choose(&["3"], &["1", "2"], false), Fate::Fallback(FallbackReason::OtherItems));
        assert_eq!(choose(&["2"], &["1", "2"], false), Fate::Candidate, "it may know less");
        assert_eq!(choose(&["3"], &["1", "2"], true), Fate::Candidate, "a search may find others");
    }

    #[test]
    fn a_response_in_place_of_the_one_that_waited_passes() {
        let mut canary = asked();
        assert!(canary.response_begins(Ok(())));
        assert!(!canary.response_begins(Ok(())));
        assert_eq!(canary.fate(), Some(Fate::PassedThrough(PassedThrough::Gone)));
    }

    #[test]
    fn an_application_that_does_not_wait_for_the_request_is_obeyed() {
        let mut canary = Canary::default();
        assert!(!canary.response_begins(Ok(())));
        assert_eq!(canary.fate(), Some(Fate::PassedThrough(PassedThrough::RequestIncomplete)));
        assert!(!canary.to_be_asked());
    }

    proptest! {
        // In any order of events: at most one fate, the candidate only with both responses whole, and what waits has no
        // fate yet.
        #[test]
        fn there_is_one_fate(steps in proptest::collection::vec((0_u8..9, any::<bool>()), 0..30)) {
            let mut canary = Canary::default();
            let mut fate = None;
            let (mut whole, mut good_call) = (false, false);
            for (step, flag) in steps {
                match step {
                    0 if canary.to_be_asked() => {
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
                    5 if canary.holds() => canary.release(PassedThrough::TooLarge),
                    6 if canary.to_be_asked() => canary.leave(PassedThrough::RequestTooLarge),
                    7 if flag => drop(canary.over()),
                    _ => {}
                }
                if let (Some(before), Some(now)) = (fate, canary.fate()) {
                    prop_assert_eq!(before, now);
                }
                fate = canary.fate();
                if fate == Some(Fate::Candidate) {
                    prop_assert!(whole && good_call);
                }
                prop_assert!(!(canary.holds() && fate.is_some()));
            }
            canary.over();
            prop_assert!(canary.fate().is_some());
        }
    }
}
