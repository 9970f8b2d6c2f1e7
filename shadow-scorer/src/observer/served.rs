//! What the client was given: an observed answer, unpacked and read.

use contract::answer::{self, AnswerSchema, Item};
use contract::frame::Observation;
use contract::names::Arm;

use crate::http::decode::{self, decode};
use crate::metrics::Metrics;

/// An observed answer.
#[derive(Debug)]
pub(super) enum Served {
    /// Its items, in the answer's order.
    Items(Vec<ServedItem>),
    /// It cannot be unpacked or read, so it counts as one item without a verdict.
    Unreadable,
    /// It is an error of the application, which suggests nothing: no items.
    Error,
}

/// One item of an observed answer.
#[derive(Debug)]
pub(super) struct ServedItem {
    /// Id and label, as the answer's schema says.
    pub item: Item,
    /// The suggestion's event, by which a client's feedback names it.
    pub event_id: Option<String>,
    /// What the answer says besides.
    pub suggestion: Suggestion,
}

/// What an answer of the reference shape carries per item. An application whose answers have another one has no events,
/// and so no feedback that could be told apart by arm.
#[derive(Debug, Default)]
pub(super) struct Suggestion {
    /// Confidence of the top label.
    pub confidence: Option<f64>,
    /// Version of the model that gave it; `None` for the rules' answers.
    pub model_version: Option<String>,
}

impl Served {
    /// Reads the answer of `observation`, unpacked to at most `limit` bytes.
    pub(super) async fn read(
        observation: &Observation<'_>,
        schema: &AnswerSchema,
        limit: usize,
        metrics: &Metrics,
    ) -> Self {
        if !(200..300).contains(&observation.status) {
            return Self::Error;
        }
        let encoding = observation.answer_encoding;
        let body = match decode(encoding, observation.answer, limit).await {
            Ok(body) => body,
            Err(fault) => {
                metrics.decode_failures.with_label_values(&[decode::name(encoding), fault.as_str()]).inc();
                return Self::Unreadable;
            }
        };
        let besides = ["/event_id", "/candidates/0/confidence", "/candidates/0/model_version"];
        let models = observation.arm == Arm::Candidate;
        let read = answer::read_with(&body, schema, besides, |item, [event, confidence, version]| ServedItem {
            item,
            event_id: event.text().map(str::to_owned),
            suggestion: Suggestion {
                confidence: confidence.number(),
                // The model's answers are this program's own; the rules' may have the same shape.
                model_version: version.text().filter(|_| models).map(str::to_owned),
            },
        });
        read.map_or(Self::Unreadable, Self::Items)
    }

    /// Items that it counts as.
    #[must_use]
    pub(super) fn count(&self) -> u32 {
        match self {
            Self::Items(items) => u32::try_from(items.len()).unwrap_or(u32::MAX),
            Self::Unreadable => 1,
            Self::Error => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::frame::Encoding;

    fn observation(arm: Arm, status: u16, answer: &[u8]) -> Observation<'_> {
        Observation {
            arm,
            fallback: false,
            bucket: None,
            cohort: contract::names::Cohort::Ordinary,
            status,
            duration_us: 1,
            request_encoding: Encoding::Identity,
            answer_encoding: Encoding::Identity,
            request: b"{}",
            answer,
        }
    }

    async fn read(observation: Observation<'_>) -> (Served, Metrics) {
        let metrics = Metrics::new().unwrap();
        (Served::read(&observation, &AnswerSchema::default(), 1_000, &metrics).await, metrics)
    }

    #[tokio::test]
    async fn an_error_of_the_application_has_no_items_and_garbage_has_one() {
        assert_eq!(read(observation(Arm::Baseline, 500, b"{}")).await.0.count(), 0);
        assert_eq!(read(observation(Arm::Baseline, 200, b"<html>")).await.0.count(), 1);
        assert_eq!(read(observation(Arm::Baseline, 200, b"{}")).await.0.count(), 1);
        assert_eq!(read(observation(Arm::Baseline, 204, br#"{"items":[]}"#)).await.0.count(), 0);
    }

    #[tokio::test]
    async fn a_bomb_is_unreadable_and_counted() {
        let body = vec![b' '; 2_000];
        let (served, metrics) = read(observation(Arm::Baseline, 200, &body)).await;
        assert!(matches!(served, Served::Unreadable));
        assert_eq!(metrics.decode_failures.with_label_values(&["identity", "too_large"]).get(), 1);
    }

    #[tokio::test]
    async fn answers_name_their_event_and_only_the_models_a_version() {
        let body = br#"{"items":[{"txn_id":"1","event_id":"e","candidates":[
            {"label":"coffee","confidence":0.5,"model_version":"v1"}]},{"txn_id":"2","candidates":[]}]}"#;
        let (Served::Items(items), _) = read(observation(Arm::Candidate, 200, body)).await else { panic!("no items") };
        let first = &items[0];
        assert_eq!((first.event_id.as_deref(), first.suggestion.model_version.as_deref()), (Some("e"), Some("v1")));
        assert!(items[1].event_id.is_none());

        let (Served::Items(items), _) = read(observation(Arm::Baseline, 200, body)).await else { panic!("no items") };
        let first = &items[0];
        assert_eq!((first.event_id.as_deref(), first.suggestion.model_version.as_deref()), (Some("e"), None));
    }
}
