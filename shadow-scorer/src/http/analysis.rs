//! Counts over a span of time for `perch analyse`, aggregated by the store.

use std::time::{SystemTime, UNIX_EPOCH};

use contract::analysis::{self, Analysis, MOST_SAMPLES, SLOT_SECONDS};
use contract::names::Cohort;
use http::StatusCode;

use super::call::{Call, Route};
use super::error::HttpError;
use super::response::{Response, json_response};
use crate::observer::{Observer, Sample};

pub(super) fn routes() -> [Route; 1] {
    [Route::get(analysis::PATH, "analysis", |call| Box::pin(analyse(call)))]
}

async fn analyse(call: Call) -> Result<Response, HttpError> {
    let query = AnalysisQuery::parse(call.head.uri.query().unwrap_or_default())?;
    let said = call.app.store.analysis_counts(query.since, &query.left_out).await?;
    let observer = call.app.observer.as_ref();
    let mut samples: Vec<analysis::Sample> =
        observer.map(Observer::samples).unwrap_or_default().samples.into_iter().map(sample).collect();
    samples.truncate(MOST_SAMPLES);
    let since_ms = u64::try_from(query.since).unwrap_or(0).saturating_mul(1000);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let document = Analysis {
        version: analysis::VERSION,
        since_ms,
        until_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        left_out: query.left_out,
        pairs: said.pairs,
        agreement: said.agreement,
        users: observer.map(|observer| observer.users(since_ms).1),
        feedback: said.feedback,
        disputed: said.disputed,
        taken: said.taken,
        samples,
        disputes_dropped: observer.map_or(0, Observer::disputes_dropped),
    };
    Ok(json_response(StatusCode::OK, &document))
}

fn sample(kept: Sample) -> analysis::Sample {
    analysis::Sample {
        at_ms: kept.at_ms,
        user: kept.user.map(|user| user.to_string()),
        item: kept.item,
        served: kept.served,
        rule_label: kept.rule_label,
        model_label: kept.model_label,
        model_confidence: kept.model_confidence,
        model_version: kept.model_version,
    }
}

/// The query parameters, checked.
#[derive(Debug, PartialEq, Eq)]
struct AnalysisQuery {
    /// Beginning of a slot, in seconds since 1970.
    since: i64,
    left_out: Vec<Cohort>,
}

impl AnalysisQuery {
    fn parse(text: &str) -> Result<Self, HttpError> {
        let mut query = Self { since: 0, left_out: Vec::new() };
        for (name, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                analysis::SINCE => {
                    let ms: u64 = value.parse().map_err(|_| {
                        HttpError::bad_request(format!("{name} is {value:?}: give milliseconds since 1970"))
                    })?;
                    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
                    query.since = seconds - seconds.rem_euclid(SLOT_SECONDS);
                }
                analysis::LEAVE_OUT => {
                    query.left_out = analysis::left_out(&value.replace("%2C", ","))
                        .map_err(|error| HttpError::bad_request(error.to_string()))?;
                    query.left_out.sort_unstable();
                    query.left_out.dedup();
                }
                _ => {}
            }
        }
        Ok(query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_counts_from_the_beginning_of_its_slot() {
        let query = AnalysisQuery::parse("since_ms=1700000123456&leave_out=beta%2Copt_out,beta").unwrap();
        assert_eq!(query, AnalysisQuery { since: 1_699_999_800, left_out: vec![Cohort::Beta, Cohort::OptOut] });
        assert_eq!(AnalysisQuery::parse("").unwrap(), AnalysisQuery { since: 0, left_out: vec![] });
        assert!(AnalysisQuery::parse("since_ms=now").unwrap_err().message.contains("now"));
        assert!(AnalysisQuery::parse("leave_out=alpha").unwrap_err().message.contains("alpha"));
    }
}
