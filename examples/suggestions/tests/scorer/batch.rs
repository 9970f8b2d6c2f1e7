use bytes::Bytes;
use contract::bucket::Bucket;
use contract::frame::{self, Encoding, NOT_TIMED, Observation};
use contract::names::{Arm, Cohort};
use contract::response::ResponseSchema;
use serde_json::{Value, json};

/// A batch being written.
pub(crate) struct Batch {
    bytes: Vec<u8>,
}

/// What one observation says, with what most of them have in common.
pub(crate) struct ObservationSpec {
    pub(crate) assigned: Arm,
    pub(crate) fallback: bool,
    pub(crate) user: u64,
    pub(crate) cohort: Cohort,
    pub(crate) status: u16,
    pub(crate) encoding: Encoding,
    pub(crate) baseline: Vec<u8>,
    /// Given to the client where it is there.
    pub(crate) candidate: Option<Vec<u8>>,
}

impl ObservationSpec {
    /// The client was given the application's response with these labels; `None` is an item without candidates.
    pub(crate) fn baseline(items: &[(i64, Option<&str>)]) -> Self {
        Self {
            assigned: Arm::Baseline,
            fallback: false,
            user: 0xfeed,
            cohort: Cohort::Ordinary,
            status: 200,
            encoding: Encoding::Identity,
            baseline: response(items).to_string().into_bytes(),
            candidate: None,
        }
    }

    /// The client was given the candidate's response with these labels, where the application had the same.
    pub(crate) fn candidate(items: &[(i64, Option<&str>)]) -> Self {
        Self::candidate_beside(items, items)
    }

    /// The client was given the candidate's response with these labels, and the application had others.
    pub(crate) fn candidate_beside(items: &[(i64, Option<&str>)], baseline: &[(i64, Option<&str>)]) -> Self {
        let candidate = Some(response(items).to_string().into_bytes());
        Self { assigned: Arm::Candidate, candidate, ..Self::baseline(baseline) }
    }

    /// The candidate failed, and the client was given the application's response with these labels.
    pub(crate) fn fallback(items: &[(i64, Option<&str>)]) -> Self {
        Self { assigned: Arm::Candidate, fallback: true, ..Self::baseline(items) }
    }
}

/// A response in the contract's shape.
pub(crate) fn response(items: &[(i64, Option<&str>)]) -> Value {
    let items: Vec<Value> = items
        .iter()
        .map(|(id, label)| {
            let candidates: Vec<Value> = label
                .iter()
                .map(|label| json!({ "label": label, "confidence": 0.75, "model_version": "v1" }))
                .collect();
            json!({ "txn_id": id.to_string(), "event_id": format!("event-{id}"), "candidates": candidates })
        })
        .collect();
    json!({ "items": items })
}

impl Batch {
    pub(crate) fn new() -> Self {
        let mut bytes = Vec::new();
        frame::start(&mut bytes, &serde_json::to_string(&ResponseSchema::default()).unwrap());
        Self { bytes }
    }

    pub(crate) fn with(mut self, seen: &ObservationSpec) -> Self {
        let candidate = seen.candidate.as_deref();
        let appended = frame::append(
            &mut self.bytes,
            &Observation {
                assigned: seen.assigned,
                served: if candidate.is_some() { Arm::Candidate } else { Arm::Baseline },
                fallback: seen.fallback,
                bucket: Some(Bucket(seen.user)),
                cohort: seen.cohort,
                status: seen.status,
                duration_us: 12_000,
                baseline_us: 11_000,
                candidate_us: if candidate.is_some() { 9_000 } else { NOT_TIMED },
                encoding: seen.encoding,
                baseline: &seen.baseline,
                candidate,
            },
        );
        assert!(appended);
        self
    }

    pub(crate) fn bytes(self) -> Bytes {
        self.bytes.into()
    }
}
