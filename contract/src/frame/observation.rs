//! One request with its responses.

use super::encoding::Encoding;
use super::layout::RECORD_OVERHEAD;
use crate::bucket::Bucket;
use crate::names::{Arm, Cohort};

/// One request with the responses that the gateway knows. Durations are in µs, 1 to [`u32::MAX`], or [`super::NOT_TIMED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation<'a> {
    /// The user's arm by the shares.
    pub assigned: Arm,
    /// The arm whose response the client was given.
    pub served: Arm,
    /// The client was given the baseline since the candidate failed.
    pub fallback: bool,
    /// The user's pseudonym, if the request had an identity.
    pub bucket: Option<Bucket>,
    /// The user's cohort.
    pub cohort: Cohort,
    /// HTTP status of the application's response, and of the client's.
    pub status: u16,
    /// From the request's first byte at the filter until the client's response was passed on whole.
    pub duration_us: u32,
    /// From the request's first byte at the filter to the last of the application's response.
    pub baseline_us: u32,
    /// From the call to the scorer to its whole response.
    pub candidate_us: u32,
    /// Encoding of `baseline`.
    pub encoding: Encoding,
    /// The body of the application's response.
    pub baseline: &'a [u8],
    /// The body of the candidate's response, not encoded; `None` where the gateway has no checked one.
    pub candidate: Option<&'a [u8]>,
}

impl<'a> Observation<'a> {
    /// Bytes of its record in a batch.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let candidate = self.candidate.map_or(0, <[u8]>::len);
        RECORD_OVERHEAD.saturating_add(self.baseline.len()).saturating_add(candidate)
    }

    /// The body that the client was given, with its encoding.
    #[must_use]
    pub fn given(&self) -> (Encoding, &'a [u8]) {
        match (self.served, self.candidate) {
            (Arm::Candidate, Some(candidate)) => (Encoding::Identity, candidate),
            _ => (self.encoding, self.baseline),
        }
    }

    /// Returns `true` if the client was given a response with a 2xx status: only those have items.
    #[must_use]
    pub const fn success(&self) -> bool {
        matches!(self.status, 200..=299)
    }
}
