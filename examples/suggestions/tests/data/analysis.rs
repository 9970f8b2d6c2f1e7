//! What both sides said, and what people took, aggregated by each kind of store alike.

use contract::analysis::{Pair, PairFeedback, Took};
use contract::evidence::Clusters;
use contract::names::{Arm, Cohort};
use shadow_scorer::feedback::{FeedbackRequest, record};
use shadow_scorer::store::{CountBatch, Dispute, GroupRow, PairRow, Store, SuggestionEvent};
use suggestions::transactions;

use crate::fixture::{day, each, transaction};

fn pair(slot: i64, cohort: Cohort, rule: &str, model: &str, items: i64) -> PairRow {
    PairRow { slot, arm: Arm::Baseline, cohort, rule: rule.into(), model: model.into(), items }
}

fn group(slot: i64, cohort: Cohort, group: i64, judged: i64, agreed: i64) -> GroupRow {
    GroupRow { slot, cohort, group, judged, agreed }
}

/// A suggestion on which the model says `travel` and the rules say `coffee`.
async fn dispute(store: &Store, id: &str, arm: Arm, user: &str, cohort: Cohort) {
    let label = if arm == Arm::Candidate { "travel" } else { "coffee" };
    let event = SuggestionEvent {
        event_id: id.to_owned(),
        txn_id: 1,
        arm: arm.as_str().to_owned(),
        model_version: String::new(),
        label: label.into(),
        confidence: 0.7,
        bucket: user.to_owned(),
        cohort: cohort.as_str().to_owned(),
        created_at: day(2),
    };
    store.add_events(&[event]).await.unwrap();
    let dispute = Dispute {
        event_id: id.to_owned(),
        arm,
        cohort,
        rule: "coffee".into(),
        model: "travel".into(),
        bucket: user.to_owned(),
        created_at: day(2),
    };
    store.add_counts(&CountBatch::new(vec![], vec![], vec![dispute]), day(2)).await.unwrap();
}

async fn say(store: &Store, id: &str, action: &str, label: &str) {
    let body = format!(r#"{{"txn_id":1,"action":"{action}","label":"{label}","event_id":"{id}"}}"#);
    record(store, &FeedbackRequest::parse(body.as_bytes()).unwrap(), day(3)).await.unwrap();
}

#[tokio::test]
async fn counts_of_many_writings_add_up_by_cell_and_start_with_their_slot() {
    for fresh in each().await {
        let store = &fresh.store;
        let (ordinary, beta) = (Cohort::Ordinary, Cohort::Beta);
        let many: Vec<PairRow> =
            (0..1_200).map(|at| pair(600, ordinary, &format!("l{at}"), "x", 1 + i64::from(at == 7))).collect();
        store.add_counts(&CountBatch::new(many, vec![], vec![]), day(2)).await.unwrap();
        for _ in 0..2 {
            let pairs =
                [pair(0, ordinary, "a", "a", 100), pair(600, ordinary, "a", "", 5), pair(600, beta, "a", "", 7)];
            let groups = [group(0, ordinary, 1, 9, 9), group(600, ordinary, 1, 4, 3), group(1_200, beta, 2, 2, 1)];
            store.add_counts(&CountBatch::new(pairs.into(), groups.into(), vec![]), day(2)).await.unwrap();
        }
        let all = store.analysis_counts(600, &[]).await.unwrap();
        assert_eq!(all.pairs.len(), 1_201);
        let largest = Pair { rule: Some("a".into()), model: None, served: Arm::Baseline, items: 24 };
        assert_eq!(all.pairs[0], largest, "the first slot is too old, and an empty label is no opinion");
        assert_eq!((all.pairs[1].rule.as_deref(), all.pairs[1].items), (Some("l7"), 2));
        // One group judged 8 items and agreed on 6, the other 4 and 2.
        let mut groups = Clusters::default();
        groups.add(8, 6);
        groups.add(4, 2);
        assert_eq!(all.agreement, groups);

        let without = store.analysis_counts(600, &[beta]).await.unwrap();
        assert_eq!((without.pairs[0].items, without.agreement.given), (10, 8));
        store.forget_counts(601).await.unwrap();
        assert_eq!(store.analysis_counts(0, &[]).await.unwrap().pairs, []);
    }
}

#[tokio::test]
async fn it_is_told_whose_answer_people_took() {
    for fresh in each().await {
        let store = &fresh.store;
        transactions::add(store, &[transaction(1, "a", day(1), "TARGET")]).await.unwrap();
        for (id, arm, user) in [
            ("r1", Arm::Baseline, "a"),
            ("r2", Arm::Baseline, "a"),
            ("r3", Arm::Baseline, "b"),
            ("m1", Arm::Candidate, "c"),
        ] {
            dispute(store, id, arm, user, Cohort::Ordinary).await;
        }
        dispute(store, "beta", Arm::Candidate, "d", Cohort::Beta).await;
        dispute(store, "silent", Arm::Candidate, "d", Cohort::Ordinary).await;
        say(store, "r1", "accept", "coffee").await;
        say(store, "r2", "reject", "travel").await; // a correction: the model was right
        say(store, "r3", "reject", "coffee").await; // says only what it is not
        say(store, "m1", "reject", "pets").await;
        say(store, "beta", "accept", "travel").await;

        let said = store.analysis_counts(day(1), &[Cohort::Beta]).await.unwrap();
        let taken =
            |served, took| PairFeedback { rule: "coffee".into(), model: "travel".into(), served, took, times: 1 };
        let (rule, model) = (Arm::Baseline, Arm::Candidate);
        let mut expected = [
            taken(rule, Took::Rule),
            taken(rule, Took::Model),
            taken(rule, Took::Nothing),
            taken(model, Took::Another),
        ];
        let mut seen = said.taken.clone();
        expected.sort_by_key(|one| (one.served, one.took));
        seen.sort_by_key(|one| (one.served, one.took));
        assert_eq!(seen, expected);
        // User a said two things, one of them an accept; user b one.
        let mut users = Clusters::default();
        users.add(2, 1);
        users.add(1, 0);
        assert_eq!((said.disputed.rule, said.feedback.rule), (users, users));
        assert_eq!((said.disputed.model.users, said.disputed.model.accepted), (1, 0));
        assert_eq!(
            store.analysis_counts(day(1), &[]).await.unwrap().feedback.model.accepted,
            1,
            "with the beta cohort"
        );
        assert_eq!(store.analysis_counts(day(3), &[]).await.unwrap().taken, [], "answers given earlier do not count");
    }
}
