//! Writes a batch.

use super::layout::{
    FLAG_ASSIGNED, FLAG_BETA, FLAG_BUCKET, FLAG_CANDIDATE, FLAG_FALLBACK, FLAG_OPT_OUT, FLAG_SERVED, MAGIC, VERSION,
};
use super::observation::Observation;
use crate::names::{Arm, Cohort};

/// Starts a batch in `out`, which is cleared.
pub fn start(out: &mut Vec<u8>, schema_json: &str) {
    out.clear();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[VERSION, 0]);
    let length = u16::try_from(schema_json.len()).unwrap_or(0);
    out.extend_from_slice(&length.to_le_bytes());
    if length > 0 {
        out.extend_from_slice(schema_json.as_bytes());
    }
}

/// Appends one observation to a started batch. Returns `false`, and appends nothing, when a length does not fit a `u32`.
pub fn append(out: &mut Vec<u8>, observation: &Observation<'_>) -> bool {
    let candidate = observation.candidate.unwrap_or_default();
    let (Ok(length), Ok(baseline_length), Ok(candidate_length)) = (
        u32::try_from(observation.encoded_len() - 4),
        u32::try_from(observation.baseline.len()),
        u32::try_from(candidate.len()),
    ) else {
        return false;
    };
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let flags = flag(observation.assigned == Arm::Candidate, FLAG_ASSIGNED)
        | flag(observation.served == Arm::Candidate, FLAG_SERVED)
        | flag(observation.fallback, FLAG_FALLBACK)
        | flag(observation.bucket.is_some(), FLAG_BUCKET)
        | flag(observation.candidate.is_some(), FLAG_CANDIDATE)
        | match observation.cohort {
            Cohort::Ordinary => 0,
            Cohort::Beta => FLAG_BETA,
            Cohort::OptOut => FLAG_OPT_OUT,
        };
    let [low, high] = halves(observation.bucket.map_or(0, |bucket| bucket.0));
    let [status_low, status_high] = observation.status.to_le_bytes();
    let head = [
        length.to_le_bytes(),
        [flags, observation.encoding.code(), status_low, status_high],
        observation.duration_us.to_le_bytes(),
        observation.baseline_us.to_le_bytes(),
        observation.candidate_us.to_le_bytes(),
        low,
        high,
        baseline_length.to_le_bytes(),
        candidate_length.to_le_bytes(),
    ];
    out.reserve(observation.encoded_len());
    out.extend_from_slice(head.as_flattened());
    out.extend_from_slice(observation.baseline);
    out.extend_from_slice(candidate);
    true
}

/// The value as two little-endian words.
const fn halves(value: u64) -> [[u8; 4]; 2] {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    [[a, b, c, d], [e, f, g, h]]
}
