//! Feedback counts once, takes its arm from what was served, and becomes labels by the stated policy.

use contract::evidence::Feedback;
use shadow_scorer::feedback::{
    Ended, EventLog, FeedbackError, FeedbackRequest, MOST_A_DAY, MOST_CHANGES, MOST_WAITING, Outcome, join_waiting,
    record,
};
use shadow_scorer::store::{LabelSource, NewLabel, Recorded, Store, SuggestionEvent};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};
use suggestions::transactions;

use crate::fixture::{day, each, transaction};

fn event(id: &str, txn_id: i64, arm: &str) -> SuggestionEvent {
    SuggestionEvent {
        event_id: id.to_owned(),
        txn_id,
        arm: arm.to_owned(),
        model_version: if arm == "candidate" { "v7".into() } else { String::new() },
        label: "shopping".into(),
        confidence: 0.7,
        bucket: "00000000000000aa".into(),
        cohort: "none".into(),
        created_at: day(2),
    }
}

async fn say(store: &Store, body: &str) -> Result<Outcome, FeedbackError> {
    record(store, &FeedbackRequest::parse(body.as_bytes()).unwrap(), day(3)).await
}

async fn label(store: &Store) -> Option<String> {
    let mut users = transactions::users(store).await.unwrap();
    users.next_user().await.unwrap().unwrap().first().map(|row| row.label.clone())
}

async fn with_one_transaction(store: &Store) {
    transactions::add(store, &[transaction(1, "a", day(1), "TARGET"), transaction(2, "b", day(1), "X")]).await.unwrap();
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

/// Case A8: the label follows the latest feedback, and each event counts once, by it.
#[tokio::test]
async fn a_changed_mind_is_followed() {
    for fresh in each().await {
        let store = &fresh.store;
        with_one_transaction(store).await;
        let word = async |event: &str, action: &str, label: &str| {
            let body = format!(r#"{{"txn_id":1,"action":"{action}","label":"{label}","event_id":"{event}"}}"#);
            let outcome = say(store, &body).await.unwrap();
            (outcome.recorded, outcome.labelled)
        };
        let bucket = |bucket: &str| bucket.to_owned();
        store
            .add_events(&["a", "b", "c"].map(|id| SuggestionEvent { bucket: bucket(id), ..event(id, 1, "candidate") }))
            .await
            .unwrap();
        // a: accept, reject, accept.
        assert_eq!(word("a", "accept", "shopping").await, (Recorded::New, true));
        assert_eq!(word("a", "reject", "shopping").await, (Recorded::Changed, false));
        assert_eq!(label(store).await, None);
        assert_eq!(word("a", "accept", "shopping").await, (Recorded::Changed, true));
        assert_eq!(label(store).await.as_deref(), Some("shopping"));
        // b: accept, then a correction, then only that it was wrong.
        assert_eq!(word("b", "accept", "shopping").await, (Recorded::New, true));
        assert_eq!(word("b", "reject", "travel").await, (Recorded::Changed, true));
        assert_eq!(label(store).await.as_deref(), Some("travel"));
        assert_eq!(word("b", "reject", "shopping").await, (Recorded::Changed, false));
        assert_eq!(label(store).await, None, "the correction was taken back as well");
        // c: reject, then accept after all.
        assert_eq!(word("c", "reject", "shopping").await, (Recorded::New, false));
        assert_eq!(word("c", "accept", "shopping").await, (Recorded::Changed, true));
        assert_eq!(label(store).await.as_deref(), Some("shopping"));
        let mut wanted = Feedback::default();
        for accepted in [1, 0, 1] {
            wanted.model.add(1, accepted);
        }
        assert_eq!(store.feedback_by_arm(0).await.unwrap(), wanted);
        // Without an event nothing follows, whatever is said.
        for action in ["accept", "reject", "accept"] {
            say(store, &format!(r#"{{"txn_id":2,"action":"{action}","label":"coffee"}}"#)).await.unwrap();
        }
        assert_eq!(store.count_labels().await.unwrap(), 1);
    }
}

/// The latest feedback is the last to arrive, not the one with the latest time: clocks are set back, and scorers'
/// clocks differ.
#[tokio::test]
async fn a_clock_that_is_behind_does_not_lose_the_latest_feedback() {
    for fresh in each().await {
        let store = &fresh.store;
        with_one_transaction(store).await;
        store.add_events(&[event("e1", 1, "candidate"), event("e2", 1, "candidate")]).await.unwrap();
        let word = async |id: &str, label: &str, now: i64| {
            let body = format!(r#"{{"txn_id":1,"action":"accept","label":"{label}","event_id":"{id}"}}"#);
            record(store, &FeedbackRequest::parse(body.as_bytes()).unwrap(), now).await.unwrap().recorded
        };
        assert_eq!(word("e1", "travel", day(3)).await, Recorded::New);
        assert_eq!(word("e1", "pets", day(3) - 5).await, Recorded::Changed);
        assert_eq!(label(store).await.as_deref(), Some("pets"));
        assert_eq!(word("e2", "coffee", day(3) - 9).await, Recorded::New, "of another event");
        assert_eq!(label(store).await.as_deref(), Some("coffee"));
    }
}

/// Case N1: who makes up events, labels or users teaches the model nothing.
#[tokio::test]
async fn a_stranger_gives_no_label() {
    for fresh in each().await {
        let store = &fresh.store;
        with_one_transaction(store).await;
        let nobody = SuggestionEvent { bucket: String::new(), ..event("nobody", 1, "candidate") };
        store.add_events(&[nobody, event("mine", 1, "candidate")]).await.unwrap();
        for body in [
            r#"{"txn_id":1,"action":"accept","label":"travel"}"#,
            r#"{"txn_id":1,"action":"accept","label":"travel","event_id":"made-up"}"#,
            r#"{"txn_id":1,"action":"accept","label":"travel","event_id":"nobody"}"#,
        ] {
            assert!(!say(store, body).await.unwrap().labelled, "{body}");
        }
        let mine = r#"{"txn_id":1,"action":"accept","label":"Travel ","event_id":"mine"}"#;
        assert!(matches!(say(store, mine).await, Err(FeedbackError::UnknownLabel { .. })));
        let mut other = FeedbackRequest::parse(mine.replace("Travel ", "travel").as_bytes()).unwrap();
        other.bucket = Some("00000000000000bb".into());
        assert!(matches!(record(store, &other, day(3)).await, Err(FeedbackError::OtherUser)));
        assert_eq!(store.count_labels().await.unwrap(), 0);
        other.bucket = Some("00000000000000aa".into());
        assert!(record(store, &other, day(3)).await.unwrap().labelled);
    }
}

#[tokio::test]
async fn feedback_that_came_first_is_joined_when_its_event_is_stored() {
    for fresh in each().await {
        let store = &fresh.store;
        with_one_transaction(store).await;
        let body = r#"{"txn_id":1,"action":"accept","label":"travel","event_id":"late"}"#;
        let outcome = say(store, body).await.unwrap();
        assert!(outcome.waiting && outcome.arm.is_none(), "{outcome:?}");
        say(store, &body.replace("travel", "pets")).await.unwrap();
        say(store, &body.replace("late", "never")).await.unwrap();
        let other = body.replace("late", "other");
        say(store, &other).await.unwrap();
        let mut ended = Vec::new();
        join_waiting(store, day(3), |end| ended.push(end)).await.unwrap();
        assert!(ended.is_empty(), "{ended:?}");

        store.add_events(&[event("late", 1, "candidate"), event("other", 2, "candidate")]).await.unwrap();
        join_waiting(store, day(3) + 1, |end| ended.push(end)).await.unwrap();
        let joined = |end: &Ended| match end {
            Ended::Joined(_, outcome) => outcome.labelled && outcome.arm.as_deref() == Some("candidate"),
            _ => false,
        };
        assert_eq!((ended.len(), ended.iter().filter(|end| joined(end)).count()), (2, 1), "{ended:?}");
        assert!(ended.iter().any(|end| matches!(end, Ended::Refused)), "an event of another transaction: {ended:?}");
        assert_eq!(label(store).await.as_deref(), Some("pets"), "the latest feedback");
        let mut wanted = Feedback::default();
        wanted.model.add(1, 1);
        assert_eq!(store.feedback_by_arm(0).await.unwrap(), wanted);

        // What never comes is given up, and a word that is older than what was said since changes nothing.
        ended.clear();
        join_waiting(store, day(4), |end| ended.push(end)).await.unwrap();
        assert!(matches!(ended[..], [Ended::Expired(1)]), "{ended:?}");
        assert_eq!(store.count_waiting().await.unwrap(), 0);
    }
}

#[tokio::test]
async fn what_waits_what_a_user_says_and_how_often_a_mind_changes_have_bounds() {
    for fresh in each().await {
        let store = &fresh.store;
        with_one_transaction(store).await;
        let mut connection = AnyConnection::connect(&fresh.url).await.unwrap();
        let numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ";
        let waiting = format!(
            "INSERT INTO feedback_waiting (event_id, txn_id, action, label, reason, bucket, received_at) \
             {numbers}{MOST_WAITING}) SELECT 'made-up-' || CAST(i AS TEXT), 1, 'accept', 'pets', '', '', {} FROM n",
            day(3)
        );
        connection.execute(AssertSqlSafe(waiting)).await.unwrap();
        let one_more = r#"{"txn_id":1,"action":"accept","label":"pets","event_id":"one-more"}"#;
        assert!(matches!(say(store, one_more).await, Err(FeedbackError::NoRoom)));
        // Made-up ids keep the room for some seconds only.
        join_waiting(store, day(3) + 6, |_| {}).await.unwrap();
        assert!(say(store, one_more).await.unwrap().waiting);

        store.add_events(&[event("e1", 1, "candidate"), event("e2", 1, "candidate")]).await.unwrap();
        let mut refused = None;
        for turn in 0..=MOST_CHANGES + 1 {
            let action = if turn % 2 == 0 { "accept" } else { "reject" };
            let body = format!(r#"{{"txn_id":1,"action":"{action}","label":"pets","event_id":"e1"}}"#);
            let request = FeedbackRequest::parse(body.as_bytes()).unwrap();
            refused = record(store, &request, day(3) + turn).await.err();
        }
        assert!(matches!(refused, Some(FeedbackError::TooMany(_))), "{refused:?}");

        let said = format!(
            "INSERT INTO feedback (feedback_key, event_id, txn_id, action, label, arm, model_version, reason, bucket, \
             received_at) {numbers}{MOST_A_DAY}) SELECT 'k' || CAST(i AS TEXT), 'k' || CAST(i AS TEXT), 1, 'accept', 'pets', \
             'candidate', '', '', '00000000000000aa', {} FROM n",
            day(3)
        );
        connection.execute(AssertSqlSafe(said)).await.unwrap();
        let e2 = r#"{"txn_id":1,"action":"accept","label":"pets","event_id":"e2"}"#;
        assert!(matches!(say(store, e2).await, Err(FeedbackError::TooMany(_))));
        let request = FeedbackRequest::parse(e2.as_bytes()).unwrap();
        assert_eq!(record(store, &request, day(5)).await.unwrap().recorded, Recorded::New, "two days later");
    }
}

/// Case N2: feedback has an end; the labels that followed stay.
#[tokio::test]
async fn old_feedback_is_forgotten_and_its_labels_are_not() {
    for fresh in each().await {
        let store = &fresh.store;
        with_one_transaction(store).await;
        store.add_events(&[event("e1", 1, "candidate")]).await.unwrap();
        say(store, r#"{"txn_id":1,"action":"accept","label":"pets","event_id":"e1"}"#).await.unwrap();
        assert_eq!(store.forget_feedback(day(3)).await.unwrap(), 0);
        assert_eq!(store.forget_feedback(day(4)).await.unwrap(), 1);
        assert_eq!(label(store).await.as_deref(), Some("pets"));
    }
}

/// Case A6, and ids that no index takes: the odd ones are dropped and counted, the others are stored.
#[tokio::test]
async fn one_odd_event_does_not_take_the_others_with_it() {
    for fresh in each().await {
        let (events, writing) = EventLog::start(fresh.store.clone());
        for id in ["good-1", "od\0d", "good-2"] {
            events.offer(SuggestionEvent { label: "cof\0fee".into(), ..event(id, 1, "baseline") });
        }
        let long: String = (0..3_000).map(|at| char::from(b'a' + u8::try_from(at * at % 26).unwrap())).collect();
        events.offer(event(&long, 1, "baseline"));
        let counting = events.clone();
        drop(events);
        assert_eq!(counting.dropped(), 2);
        drop(counting);
        writing.finish().await;
        for id in ["good-1", "good-2"] {
            assert_eq!(fresh.store.event(id).await.unwrap().unwrap().label, "cof\u{fffd}fee", "{id}");
        }
    }
}
