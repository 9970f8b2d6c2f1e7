//! Observation batches in, verdicts out.
