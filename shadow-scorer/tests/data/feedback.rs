//! Feedback counts once, takes its arm from what was served, and becomes labels by the stated policy.

use contract::evidence::Feedback;
use shadow_scorer::feedback::{EventLog, FeedbackError, FeedbackRequest, Outcome, record};
use shadow_scorer::store::{LabelSource, NewLabel, Recorded, Store, SuggestionEvent};

use crate::fixture::{day, each, transaction};

fn event(id: &str, txn_id: i64, arm: &str) -> SuggestionEvent {
    SuggestionEvent {
        event_id: id.to_owned(),
        txn_id,
        arm: arm.to_owned(),
        model_version: if arm == "candidate" { "v7".into() } else { String::new() },
        label: "shopping".into(),
        confidence: 0.7,
        bucket: String::new(),
        cohort: "none".into(),
        created_at: day(2),
    }
}

async fn say(store: &Store, body: &str) -> Result<Outcome, FeedbackError> {
    record(store, &FeedbackRequest::parse(body.as_bytes()).unwrap(), day(3)).await
}

async fn label(store: &Store) -> Option<String> {
    let mut users = store.users().await.unwrap();
    users.next_user().await.unwrap().unwrap().first().map(|row| row.label.clone())
}

async fn with_one_transaction(store: &Store) {
    store.add_transactions(&[transaction(1, "a", day(1), "TARGET"), transaction(2, "b", day(1), "X")]).await.unwrap();
}

#[tokio::test]
async fn an_accept_counts_once_and_becomes_a_label() {
    for fresh in each().await {
        let store = &fresh.store;
        with_one_transaction(store).await;
        store.add_events(&[event("e1", 1, "candidate")]).await.unwrap();
        let body = r#"{"txn_id":"1","action":"accept","label":"shopping","event_id":"e1","user_id":"x"}"#;
        let first = say(store, body).await.unwrap();
        let served = (first.arm.as_deref(), first.model_version.as_deref());
        assert_eq!((first.recorded, served, first.labelled), (Recorded::New, (Some("candidate"), Some("v7")), true));
        let again = say(store, body).await.unwrap();
        assert_eq!((again.recorded, again.labelled), (Recorded::Again, false));
        assert_eq!(label(store).await.as_deref(), Some("shopping"));
    }
}

#[tokio::test]
async fn a_reject_takes_back_what_was_wrong_and_a_correction_becomes_a_label() {
    for fresh in each().await {
        let store = &fresh.store;
        with_one_transaction(store).await;
        store
            .add_events(&[event("e1", 1, "baseline"), event("e2", 1, "baseline"), event("e3", 1, "baseline")])
            .await
            .unwrap();
        say(store, r#"{"txn_id":1,"action":"accept","label":"shopping","event_id":"e1"}"#).await.unwrap();
        let rejected =
            say(store, r#"{"txn_id":1,"action":"reject","label":"shopping","event_id":"e2"}"#).await.unwrap();
        assert_eq!((rejected.arm.as_deref(), rejected.labelled), (Some("baseline"), false));
        assert_eq!(label(store).await, None);
        let corrected =
            say(store, r#"{"txn_id":1,"action":"reject","label":"groceries","event_id":"e3"}"#).await.unwrap();
        assert!(corrected.labelled);
        assert_eq!(label(store).await.as_deref(), Some("groceries"));
    }
}

#[tokio::test]
async fn a_reject_leaves_the_users_own_label() {
    for fresh in each().await {
        let store = &fresh.store;
        with_one_transaction(store).await;
        let own = NewLabel { txn_id: 1, source: LabelSource::User, label: "shopping".into(), labelled_at: day(1) };
        store.put_labels(&[own]).await.unwrap();
        say(store, r#"{"txn_id":1,"action":"reject","label":"shopping"}"#).await.unwrap();
        assert_eq!(label(store).await.as_deref(), Some("shopping"));
    }
}

#[tokio::test]
async fn what_nobody_served_has_no_arm_and_unknown_is_no_label() {
    for fresh in each().await {
        let store = &fresh.store;
        with_one_transaction(store).await;
        let made_up = r#"{"txn_id":1,"action":"accept","label":"unknown","event_id":"made-up"}"#;
        let outcome = say(store, made_up).await.unwrap();
        assert_eq!((outcome.recorded, outcome.arm, outcome.labelled), (Recorded::New, None, false));
        assert_eq!(label(store).await, None);
    }
}

#[tokio::test]
async fn feedback_on_something_else_is_refused() {
    for fresh in each().await {
        let store = &fresh.store;
        with_one_transaction(store).await;
        store.add_events(&[event("e1", 1, "baseline")]).await.unwrap();
        let unknown = say(store, r#"{"txn_id":404,"action":"accept","label":"x"}"#).await;
        assert!(matches!(unknown, Err(FeedbackError::NoTransaction(404))));
        let other = say(store, r#"{"txn_id":2,"action":"accept","label":"x","event_id":"e1"}"#).await;
        assert!(matches!(other, Err(FeedbackError::OtherTransaction(2))));
        assert_eq!(store.count_labels().await.unwrap(), 0);
    }
}

#[tokio::test]
async fn feedback_is_summed_by_user_and_arm_from_a_moment_on() {
    for fresh in each().await {
        let store = &fresh.store;
        with_one_transaction(store).await;
        let served = |id: &str, arm: &str, bucket: &str, at| SuggestionEvent {
            bucket: bucket.to_owned(),
            created_at: at,
            ..event(id, 1, arm)
        };
        let events = [
            served("a1", "candidate", "a", 50),
            served("a2", "candidate", "a", 50),
            served("b1", "candidate", "b", 50),
            served("r1", "baseline", "a", 50),
            served("old", "candidate", "b", 49),
            served("nobody", "baseline", "", 50),
        ];
        store.add_events(&events).await.unwrap();
        for (id, action) in [("a1", "accept"), ("a2", "reject"), ("b1", "accept"), ("r1", "reject"), ("old", "accept")]
        {
            let body = format!(r#"{{"txn_id":1,"action":"{action}","label":"shopping","event_id":"{id}"}}"#);
            say(store, &body).await.unwrap();
        }
        say(store, r#"{"txn_id":1,"action":"accept","label":"shopping","event_id":"nobody"}"#).await.unwrap();
        let mut wanted = Feedback::default();
        wanted.model.add(2, 1);
        wanted.model.add(1, 1);
        wanted.rule.add(1, 0);
        assert_eq!(store.feedback_by_arm(50).await.unwrap(), wanted);
        assert_eq!(store.feedback_by_arm(day(4)).await.unwrap(), Feedback::default());
    }
}

#[tokio::test]
async fn the_newest_labels_of_feedback_come_first() {
    for fresh in each().await {
        let store = &fresh.store;
        with_one_transaction(store).await;
        let label = |txn_id, source, at| NewLabel { txn_id, source, label: "pets".into(), labelled_at: at };
        store.put_labels(&[label(1, LabelSource::Feedback, 5), label(2, LabelSource::Feedback, 6)]).await.unwrap();
        store.put_labels(&[label(1, LabelSource::User, 9)]).await.unwrap();
        let newest = store.newest_labels(LabelSource::Feedback, 0, 10).await.unwrap();
        assert_eq!(newest, [(2, "pets".to_owned()), (1, "pets".to_owned())]);
        assert_eq!(store.newest_labels(LabelSource::Feedback, 0, 1).await.unwrap().len(), 1);
        let since = store.newest_labels(LabelSource::Feedback, 6, 10).await.unwrap();
        assert_eq!(since, [(2, "pets".to_owned())], "what was said before is not asked for");
    }
}

#[tokio::test]
async fn everything_offered_to_the_event_log_is_stored_by_the_time_it_ends() {
    for fresh in each().await {
        let (events, writing) = EventLog::start(fresh.store.clone());
        for number in 0..1_300 {
            events.offer(event(&format!("e{number}"), 1, "baseline"));
        }
        assert_eq!(events.dropped(), 0);
        drop(events);
        writing.finish().await;
        for number in [0, 499, 500, 1_299] {
            assert!(fresh.store.event(&format!("e{number}")).await.unwrap().is_some(), "{number}");
        }
    }
}

#[tokio::test]
async fn events_that_the_store_does_not_take_are_counted() {
    for fresh in each().await {
        fresh.store.close().await;
        let (events, writing) = EventLog::start(fresh.store.clone());
        let counting = events.clone();
        events.offer(event("e1", 1, "baseline"));
        drop(events);
        while counting.dropped() == 0 {
            tokio::task::yield_now().await;
        }
        drop(counting);
        writing.finish().await;
    }
}
