//! Reads the responses in an observation: the one that was served, and the other one if the gateway has both.

use std::borrow::Cow;
use std::collections::HashMap;

use contract::frame::{Encoding, Observation};
use contract::names::Arm;
use contract::response::{self, Item, ResponseSchema};

use crate::decode::{self, decode};
use crate::metrics::Metrics;

/// A response's labels by item; an item without a label is `None`.
pub(super) type Labels = HashMap<String, Option<String>>;

/// The responses in an observation: the one that was served, with the other.
#[derive(Debug)]
pub(super) enum ObservedResponses {
    /// Its items, in their order, and the other response's labels.
    Items(Vec<ServedItem>, OtherResponse),
    /// It cannot be decompressed or read, so it counts as one item that is not compared.
    Unreadable,
    /// An error of the application: no items.
    Error,
}

/// The response that was not served.
#[derive(Debug)]
pub(super) enum OtherResponse {
    /// The gateway has none, so the candidate must be called.
    NotObserved,
    /// It cannot be decompressed or read.
    Unreadable,
    /// Its labels.
    Labels(Labels),
}

/// One item of an observed response.
#[derive(Debug)]
pub(super) struct ServedItem {
    /// Id and label, as the schema selects them.
    pub item: Item,
    /// The suggestion's event id, which a client's feedback refers to.
    pub event_id: Option<String>,
    /// What else the response says about the item.
    pub details: ItemDetails,
}

/// Fields per item of a response in the shape of `/ml/suggestions`. An application with another shape has no events, and so no
/// feedback that can be attributed to an arm.
#[derive(Debug, Default)]
pub(super) struct ItemDetails {
    /// Confidence of the top label.
    pub confidence: Option<f64>,
    /// Version of the model that made it; `None` for the baseline's.
    pub model_version: Option<String>,
}

impl ObservedResponses {
    /// Reads the responses of `observation`, decompressed to at most `limit` bytes.
    pub(super) async fn read(
        observation: &Observation<'_>,
        schema: &ResponseSchema,
        limit: usize,
        metrics: &Metrics,
    ) -> Self {
        if !observation.success() {
            return Self::Error;
        }
        let (encoding, given) = observation.given();
        let Some(body) = decoded(encoding, given, limit, metrics).await else { return Self::Unreadable };
        let besides = ["/event_id", "/candidates/0/confidence", "/candidates/0/model_version"];
        let candidate = observation.served == Arm::Candidate;
        let read = response::read_with(&body, schema, besides, |item, [event, confidence, version]| ServedItem {
            item,
            event_id: event.text().map(str::to_owned),
            details: ItemDetails {
                confidence: confidence.number(),
                // The candidate's responses are this program's own; the baseline's may have the same shape.
                model_version: version.text().filter(|_| candidate).map(str::to_owned),
            },
        });
        let Ok(items) = read else { return Self::Unreadable };
        let other = match (observation.served, observation.candidate) {
            (Arm::Candidate, _) => decoded(observation.encoding, observation.baseline, limit, metrics).await,
            (Arm::Baseline, Some(candidate)) => Some(Cow::Borrowed(candidate)),
            (Arm::Baseline, None) => return Self::Items(items, OtherResponse::NotObserved),
        };
        let labels = other.and_then(|body| response::read(&body, schema).ok());
        let labels = labels.map(|items| items.into_iter().map(|item| (item.id, item.label)).collect());
        Self::Items(items, labels.map_or(OtherResponse::Unreadable, OtherResponse::Labels))
    }

    /// The number of items that it counts as.
    #[must_use]
    pub(super) fn count(&self) -> u32 {
        match self {
            Self::Items(items, _) => u32::try_from(items.len()).unwrap_or(u32::MAX),
            Self::Unreadable => 1,
            Self::Error => 0,
        }
    }
}

async fn decoded<'a>(encoding: Encoding, body: &'a [u8], limit: usize, metrics: &Metrics) -> Option<Cow<'a, [u8]>> {
    decode(encoding, body, limit)
        .await
        .inspect_err(|fault| {
            metrics.decode_failures.with_label_values(&[decode::name(encoding), fault.as_str()]).inc();
        })
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::frame::Encoding;

    fn observation(arm: Arm, status: u16, answer: &[u8]) -> Observation<'_> {
        Observation {
            assigned: arm,
            served: arm,
            fallback: false,
            bucket: None,
            cohort: contract::names::Cohort::Ordinary,
            status,
            duration_us: 1,
            baseline_us: 1,
            candidate_us: 1,
            encoding: Encoding::Identity,
            baseline: answer,
            candidate: (arm == Arm::Candidate).then_some(answer),
        }
    }

    async fn read(observation: Observation<'_>) -> (ObservedResponses, Metrics) {
        let metrics = Metrics::new().unwrap();
        (ObservedResponses::read(&observation, &ResponseSchema::default(), 1_000, &metrics).await, metrics)
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
        assert!(matches!(served, ObservedResponses::Unreadable));
        assert_eq!(metrics.decode_failures.with_label_values(&["identity", "too_large"]).get(), 1);
    }

    #[tokio::test]
    async fn responses_name_their_event_and_only_the_candidates_a_version() {
        let body = br#"{"items":[{"txn_id":"1","event_id":"e","candidates":[
            {"label":"coffee","confidence":0.5,"model_version":"v1"}]},{"txn_id":"2","candidates":[]}]}"#;
        let (ObservedResponses::Items(items, _), _) = read(observation(Arm::Candidate, 200, body)).await else {
            panic!("no items")
        };
        let first = &items[0];
        assert_eq!((first.event_id.as_deref(), first.details.model_version.as_deref()), (Some("e"), Some("v1")));
        assert!(items[1].event_id.is_none());

        let (ObservedResponses::Items(items, _), _) = read(observation(Arm::Baseline, 200, body)).await else {
            panic!("no items")
        };
        let first = &items[0];
        assert_eq!((first.event_id.as_deref(), first.details.model_version.as_deref()), (Some("e"), None));
    }

    #[tokio::test]
    async fn where_the_gateway_knows_both_responses_nobody_is_asked() {
        let ours = br#"{"items":[{"txn_id":1,"candidates":[{"label":"coffee"}]},{"txn_id":2}]}"#;
        let theirs = br#"{"items":[{"txn_id":"1","candidates":[{"label":"travel"}]}]}"#;
        let both = Observation { baseline: ours, candidate: Some(theirs), ..observation(Arm::Candidate, 200, b"") };
        let known = |served: ObservedResponses| match served {
            ObservedResponses::Items(items, OtherResponse::Labels(labels)) => (items.len(), labels),
            other => panic!("{other:?}"),
        };
        let (items, labels) = known(read(both).await.0);
        assert_eq!((items, labels.len(), labels["1"].as_deref(), labels["2"].as_deref()), (1, 2, Some("coffee"), None));
        let (items, labels) = known(read(Observation { served: Arm::Baseline, ..both }).await.0);
        assert_eq!((items, labels["1"].as_deref()), (2, Some("travel")));
        let (served, _) = read(Observation { baseline: b"<html>", ..both }).await;
        assert!(matches!(served, ObservedResponses::Items(_, OtherResponse::Unreadable)));
        let (served, _) = read(observation(Arm::Baseline, 200, ours)).await;
        assert!(matches!(served, ObservedResponses::Items(_, OtherResponse::NotObserved)));
    }
}
