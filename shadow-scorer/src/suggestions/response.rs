//! The body of a response with suggestions: `{"items": [{"txn_id", "event_id", "candidates": [{"label", "confidence", …}]}]}`.

use contract::names::Source;
use serde::Serialize;

/// A response; unknown ids are left out of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Suggestions {
    /// One item a transaction, in the client's order.
    pub items: Vec<Item>,
}

/// What is suggested for one transaction.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Item {
    /// Its id, in decimal.
    pub txn_id: String,
    /// A UUID that names this suggestion; feedback refers to it.
    pub event_id: String,
    /// Candidates in falling order of confidence; those below the minimum are left out.
    pub candidates: Vec<Candidate>,
}

/// One label with its confidence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// The label.
    pub label: String,
    /// 0.0..=1.0.
    pub confidence: f64,
    /// Why, e.g. `merchant_prior:costco`.
    pub reasons: Vec<String>,
    /// The arm that the suggestion is from.
    pub source: Source,
    /// The model's version; absent for a rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_version: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_is_the_contracts_and_its_reader_reads_it() {
        let candidate = Candidate {
            label: "groceries".into(),
            confidence: 0.79,
            reasons: vec!["merchant_prior:costco".into()],
            source: Source::Rule,
            model_version: None,
        };
        let answer = Suggestions {
            items: vec![Item {
                txn_id: "88".into(),
                event_id: "00000000-0000-0000-0000-000000000000".into(),
                candidates: vec![candidate],
            }],
        };
        let text = serde_json::to_string(&answer).unwrap();
        assert_eq!(
            text,
            r#"{"items":[{"txn_id":"88","event_id":"00000000-0000-0000-0000-000000000000","candidates":[{"label":"groceries","confidence":0.79,"reasons":["merchant_prior:costco"],"source":"rule"}]}]}"#
        );
        let read = contract::response::read(text.as_bytes(), &contract::response::ResponseSchema::default()).unwrap();
        assert_eq!((read[0].id.as_str(), read[0].label.as_deref()), ("88", Some("groceries")));
    }
}
