//! What `perch analyse` reads: both sides' words, counted as they pass.

use std::time::{Duration, Instant};

use contract::analysis::{self, Analysis, Pair};
use contract::frame;
use contract::names::{Arm, Cohort};
use http::StatusCode;

use crate::batch::{Batch, ObservationSpec};
use crate::scorer::Scorer;

/// Asks until the counts of `items` items are stored.
async fn analysis(scorer: &Scorer, items: u64) -> Analysis {
    let begun = Instant::now();
    loop {
        let answer = scorer.get(analysis::PATH).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let analysis: Analysis = serde_json::from_slice(&answer.body).unwrap();
        let seen: u64 = analysis.pairs.iter().map(|pair| pair.items).sum();
        if seen == items {
            return analysis;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{seen} items, wanted {items}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn both_sides_words_are_counted_and_disagreements_are_shown() {
    let scorer = Scorer::start(&[]).await;
    // The model says: 3 coffee, 4 groceries, 5 transfers, and does not know 999.
    let batch = Batch::new()
        .with(&ObservationSpec::baseline(&[
            (3, Some("coffee")),
            (4, Some("travel")),
            (5, Some("unknown")),
            (999, Some("coffee")),
        ]))
        .with(&ObservationSpec::candidate_beside(
            &[(3, Some("coffee")), (4, Some("groceries"))],
            &[(3, Some("travel")), (4, Some("unknown"))],
        ));
    assert_eq!(scorer.post(frame::PATH, batch.bytes()).await.status, StatusCode::OK);

    let seen = analysis(&scorer, 5).await;
    assert_eq!(seen.version, analysis::VERSION);
    let pair = |rule: Option<&str>, model: Option<&str>, served| Pair {
        rule: rule.map(str::to_owned),
        model: model.map(str::to_owned),
        served,
        items: 1,
    };
    for expected in [
        pair(Some("coffee"), Some("coffee"), Arm::Baseline),
        pair(Some("travel"), Some("groceries"), Arm::Baseline),
        pair(None, Some("transfers"), Arm::Baseline),
        pair(Some("travel"), Some("coffee"), Arm::Candidate),
        pair(None, Some("groceries"), Arm::Candidate),
    ] {
        assert!(seen.pairs.contains(&expected), "{expected:?}\n{:?}", seen.pairs);
    }
    assert_eq!((seen.agreement.given, seen.agreement.accepted), (3, 1), "an abstention is no opinion");
    let mut shown: Vec<_> =
        seen.samples.iter().map(|one| (one.rule_label.as_str(), one.model_label.as_str())).collect();
    shown.sort_unstable();
    assert_eq!(shown, [("travel", "coffee"), ("travel", "groceries")]);

    // Feedback finds the disagreement by the answer's event, whoever gave it.
    for (id, label) in [("event-4", "groceries"), ("event-3", "travel")] {
        let request = format!(r#"{{"txn_id":{},"action":"reject","label":"{label}","event_id":"{id}"}}"#, &id[6..]);
        let request = shadow_scorer::feedback::FeedbackRequest::parse(request.as_bytes()).unwrap();
        shadow_scorer::feedback::record(&scorer.app.store, &request, i64::MAX / 4).await.unwrap();
    }
    let seen = analysis(&scorer, 5).await;
    assert_eq!(seen.taken.iter().map(|taken| taken.times).sum::<u64>(), 2, "{:?}", seen.taken);
}

#[tokio::test]
async fn a_cohort_is_kept_with_its_items_and_can_be_left_out() {
    let scorer = Scorer::start(&[]).await;
    let beta = ObservationSpec { cohort: Cohort::Beta, ..ObservationSpec::baseline(&[(3, Some("travel"))]) };
    let batch = Batch::new().with(&beta).with(&ObservationSpec::baseline(&[(4, Some("groceries"))]));
    assert_eq!(scorer.post(frame::PATH, batch.bytes()).await.status, StatusCode::OK);
    assert_eq!(analysis(&scorer, 2).await.agreement.given, 2);
    let without = scorer.get(&format!("{}?leave_out=beta", analysis::PATH)).await;
    let without: Analysis = serde_json::from_slice(&without.body).unwrap();
    assert_eq!((without.pairs.len(), without.agreement.given, without.agreement.accepted), (1, 1, 1));
    // Both observations are of one user, who counts once, and not as one of the cohort.
    assert_eq!(without.users.map(|users| (users.rule, users.model)), Some((1, 0)));
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_named() {
    let scorer = Scorer::start(&[]).await;
    for (query, named) in [("since_ms=yesterday", "yesterday"), ("leave_out=alpha", "alpha")] {
        let answer = scorer.get(&format!("{}?{query}", analysis::PATH)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(answer.text().contains(named), "{}", answer.text());
    }
    let later = scorer.get(&format!("{}?since_ms=9999999999999&leave_out=beta,opt_out", analysis::PATH)).await;
    let later: Analysis = serde_json::from_slice(&later.body).unwrap();
    assert_eq!((later.pairs.len(), later.left_out.len()), (0, 2));
}
