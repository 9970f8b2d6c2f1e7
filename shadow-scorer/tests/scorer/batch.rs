use bytes::Bytes;
use contract::answer::AnswerSchema;
use contract::bucket::Bucket;
use contract::frame::{self, Encoding, Observation};
use contract::names::{Arm, Cohort};
use serde_json::{Value, json};

/// A batch being written.
pub(crate) struct Batch {
    bytes: Vec<u8>,
}

/// What one observation says, with what most of them have in common.
pub(crate) struct Seen {
    pub(crate) arm: Arm,
    pub(crate) fallback: bool,
    pub(crate) user: u64,
    pub(crate) cohort: Cohort,
    pub(crate) status: u16,
    pub(crate) encoding: Encoding,
    pub(crate) request: Vec<u8>,
    pub(crate) answer: Vec<u8>,
}

impl Seen {
    /// The rules answered with these labels; `None` is an item without candidates.
    pub(crate) fn rules(items: &[(i64, Option<&str>)]) -> Self {
        Self::of(Arm::Baseline, items)
    }

    pub(crate) fn model(items: &[(i64, Option<&str>)]) -> Self {
        Self::of(Arm::Candidate, items)
    }

    fn of(arm: Arm, items: &[(i64, Option<&str>)]) -> Self {
        let answer = answer(items).to_string().into_bytes();
        Self {
            arm,
            fallback: false,
            user: 0xfeed,
            cohort: Cohort::Ordinary,
            status: 200,
            encoding: Encoding::Identity,
            request: br#"{"txn_ids":[1]}"#.to_vec(),
            answer,
        }
    }
}

/// An answer in the contract's shape.
pub(crate) fn answer(items: &[(i64, Option<&str>)]) -> Value {
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
        frame::start(&mut bytes, &serde_json::to_string(&AnswerSchema::default()).unwrap());
        Self { bytes }
    }

    pub(crate) fn with(mut self, seen: &Seen) -> Self {
        let appended = frame::append(
            &mut self.bytes,
            &Observation {
                arm: seen.arm,
                fallback: seen.fallback,
                bucket: Some(Bucket(seen.user)),
                cohort: seen.cohort,
                status: seen.status,
                duration_us: 12_000,
                request_encoding: Encoding::Identity,
                answer_encoding: seen.encoding,
                request: &seen.request,
                answer: &seen.answer,
            },
        );
        assert!(appended);
        self
    }

    pub(crate) fn bytes(self) -> Bytes {
        self.bytes.into()
    }
}
