//! What is put in comes out, with the history that was known at the time.

use shadow_scorer::store::{LabelSource, NewLabel, Store, SuggestionEvent};
use suggestions::features::WIDTH;
use suggestions::features::layout::{PAST, PAST_HERE, SHARE, SHARE_HERE};
use suggestions::{create_store, open_store, transactions};

use crate::fixture::{day, each, found, transaction};

fn label(txn_id: i64, source: LabelSource, label: &str, labelled_at: i64) -> NewLabel {
    NewLabel { txn_id, source, label: label.to_owned(), labelled_at }
}

async fn row(store: &Store, id: i64) -> Vec<f32> {
    let mut row = vec![0.0; WIDTH];
    store.entities(&[id]).await.unwrap()[0].write_features(&mut row);
    row
}

#[tokio::test]
async fn transactions_come_in_the_order_asked_and_unknown_ones_are_left_out() {
    for fresh in each().await {
        let store = &fresh.store;
        let new: Vec<_> = (1..=1_200).map(|id| transaction(id, "a", day(id), "COSTCO")).collect();
        transactions::add(store, &new).await.unwrap();
        transactions::add(store, &new).await.unwrap();
        assert_eq!(transactions::count(store).await.unwrap(), 1_200);

        for _ in 0..2 {
            // The second time from the cache.
            let found = found(store, &[7, 99_999, 3, 7]).await.unwrap();
            assert_eq!(found.iter().map(|t| t.id).collect::<Vec<_>>(), [7, 3, 7]);
        }
        let all: Vec<i64> = (1..=1_200).rev().collect();
        assert_eq!(found(store, &all).await.unwrap().len(), 1_200);
    }
}

#[tokio::test]
async fn every_column_comes_back() {
    for fresh in each().await {
        let mut whole = transaction(1, "a", day(4), "BLUE BOTTLE ☕");
        whole.memo = "it's \"breakfast\"; DROP TABLE transactions".into();
        whole.amount_cents = 123_456_789;
        whole.mcc = Some(5814);
        whole.subscription = Some(true);
        transactions::add(&fresh.store, &[whole.clone()]).await.unwrap();
        let read = &found(&fresh.store, &[1]).await.unwrap()[0].transaction;
        assert_eq!((&read.merchant, &read.memo), (&whole.merchant, &whole.memo));
        assert_eq!((read.amount, read.mcc), (Some(1_234_567.89), Some(5814)));
        assert_eq!((read.subscription, read.p2p), (Some(true), Some(false)));
        // Day 4 after 1970-01-01, a Thursday, is a Monday.
        assert_eq!((read.weekday, read.hour), (Some(0), Some(12)));
    }
}

#[tokio::test]
async fn a_history_holds_what_was_known_then_and_nothing_else() {
    for fresh in each().await {
        let store = &fresh.store;
        transactions::add(
            store,
            &[
                transaction(1, "a", day(1), "TARGET T-01"),
                transaction(2, "a", day(2), "SHELL OIL"),
                transaction(3, "a", day(3), "TARGET T-02"), // labelled too late
                transaction(4, "b", day(3), "TARGET T-03"), // another user
                transaction(5, "a", day(5), "TARGET T-04"),
                transaction(6, "a", day(5), "TARGET T-05"), // at the same moment
                transaction(7, "a", day(9), "TARGET T-06"), // in the future
            ],
        )
        .await
        .unwrap();
        let user = LabelSource::User;
        store
            .put_labels(&[
                label(1, user, "shopping", day(1)),
                label(2, user, "transportation.fuel", day(2)),
                label(3, user, "shopping", day(6)),
                label(4, user, "groceries", day(3)),
                label(6, user, "shopping", day(5)),
                label(7, user, "pets", day(9)),
            ])
            .await
            .unwrap();
        // Corrected in time: the newer label counts. Corrected after the transaction: it does not.
        store.put_labels(&[label(1, LabelSource::Feedback, "groceries", day(4))]).await.unwrap();
        store.put_labels(&[label(2, LabelSource::Feedback, "travel", day(8))]).await.unwrap();

        let row = row(store, 5).await;
        assert_eq!((row[PAST_HERE], row[PAST]), (1.0, 2.0));
        let place = |label: &str| suggestions::labels::SPENDING_LABELS.iter().position(|l| *l == label).unwrap();
        assert_eq!(row[SHARE_HERE + place("groceries")], 1.0);
        assert_eq!(row[SHARE + place("transportation.fuel")], 0.5);
        assert_eq!(row[SHARE + place("travel")], 0.0);
    }
}

/// Case A7: what was known when a transaction happened stays as it was, whatever is corrected or taken back later.
#[tokio::test]
async fn a_correction_leaves_the_past_as_it_was() {
    for fresh in each().await {
        let store = &fresh.store;
        let new: Vec<_> = (1..=3).map(|id| transaction(id, "a", day(id * 2), "TARGET T-01")).collect();
        transactions::add(store, &new).await.unwrap();
        let feedback = |label: &str, at| self::label(1, LabelSource::Feedback, label, at);
        store.put_labels(&[feedback("coffee", day(3))]).await.unwrap();
        let reread = async |id: i64| {
            // Another handle has a cache of its own.
            let store = open_store(&fresh.url, &crate::fixture::options()).await.unwrap();
            row(&store, id).await.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        let before = reread(2).await;
        assert_eq!(f32::from_bits(before[PAST]), 1.0);
        store.put_labels(&[feedback("travel", day(5))]).await.unwrap();
        assert!(reread(2).await == before, "corrected after it");
        let corrected = reread(3).await;
        let place = |label: &str| suggestions::labels::SPENDING_LABELS.iter().position(|l| *l == label).unwrap();
        let share = |label: &str| f32::from_bits(corrected[SHARE + place(label)]);
        // Of two earlier transactions only the first has a label.
        assert_eq!((share("travel"), share("coffee")), (1.0, 0.0));
        store.put_labels(&[feedback("", day(7))]).await.unwrap();
        assert!(reread(2).await == before && reread(3).await == corrected, "taken back after both");
        assert_eq!(store.count_labels().await.unwrap(), 0, "and today it has no label");
        let mut users = transactions::users(store).await.unwrap();
        assert_eq!(users.next_user().await.unwrap(), Some(vec![]), "so none is learnt");
    }
}

/// Users with few transactions are read whole, those with many by the transactions asked for.
#[tokio::test]
async fn a_user_with_many_transactions_has_the_history_that_training_saw() {
    for fresh in each().await {
        let store = &fresh.store;
        for (user, first, count) in [("few", 1, 40), ("many", 1_000, 600)] {
            let ids = first..first + count;
            let new = ids.clone().map(|id| transaction(id, user, day(id / 2), if id % 2 == 0 { "A B" } else { "C D" }));
            transactions::add(store, &new.collect::<Vec<_>>()).await.unwrap();
            let name = |id: i64| if id % 3 == 0 { "coffee" } else { "pets" };
            let labels = ids.map(|id| label(id, LabelSource::User, name(id), day(id / 2 + id % 3)));
            store.put_labels(&labels.collect::<Vec<_>>()).await.unwrap();
            // Some are corrected some days later, and some of those corrections are taken back again.
            let some = |step: usize| (first..first + count).step_by(step);
            let feedback = LabelSource::Feedback;
            let corrected = some(5).map(|id| label(id, feedback, "travel", day(id / 2 + 3)));
            store.put_labels(&corrected.collect::<Vec<_>>()).await.unwrap();
            let taken_back = some(10).map(|id| label(id, feedback, "", day(id / 2 + 6)));
            store.put_labels(&taken_back.collect::<Vec<_>>()).await.unwrap();
        }
        let mut users = transactions::users(store).await.unwrap();
        let mut compared = 0;
        while let Some(rows) = users.next_user().await.unwrap() {
            for trained in rows.iter().step_by(7) {
                let served = found(store, &[trained.id]).await.unwrap();
                assert_eq!(served[0].history, trained.history, "transaction {}", trained.id);
                compared += usize::from(!trained.history.is_empty());
            }
        }
        assert!(compared > 80, "{compared}");
    }
}

#[tokio::test]
async fn a_label_takes_the_place_of_the_same_sources_and_counts_once() {
    for fresh in each().await {
        let store = &fresh.store;
        transactions::add(store, &[transaction(1, "a", day(1), "X")]).await.unwrap();
        store.put_labels(&[label(1, LabelSource::User, "coffee", day(1))]).await.unwrap();
        store.put_labels(&[label(1, LabelSource::User, "travel", day(2))]).await.unwrap();
        store.put_labels(&[label(1, LabelSource::Feedback, "pets", day(3))]).await.unwrap();
        assert_eq!(store.count_labels().await.unwrap(), 1);
        let mut users = transactions::users(store).await.unwrap();
        assert_eq!(users.next_user().await.unwrap().unwrap()[0].label, "pets");
        assert_eq!(users.next_user().await.unwrap(), None);
    }
}

#[tokio::test]
async fn events_are_stored_once_and_forgotten_by_age() {
    for fresh in each().await {
        let event = |id: &str, at| SuggestionEvent {
            event_id: id.to_owned(),
            txn_id: 88,
            arm: "candidate".into(),
            model_version: "v1".into(),
            label: "coffee".into(),
            confidence: 0.75,
            bucket: "00000000000000ff".into(),
            cohort: "none".into(),
            created_at: at,
        };
        let store = &fresh.store;
        store.add_events(&[event("old", 10), event("new", 20)]).await.unwrap();
        let mut other = event("new", 20);
        other.arm = "baseline".into();
        store.add_events(&[other]).await.unwrap();
        assert_eq!(store.event("new").await.unwrap(), Some(event("new", 20)), "the first one stays");
        assert_eq!(store.event("never").await.unwrap(), None);
        assert_eq!(store.forget_events(15).await.unwrap(), 1);
        assert_eq!(store.event("old").await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn programs_that_open_one_new_store_at_once_all_succeed() {
    // Many files, since two programs meet in the middle of an opening by chance: one file in three hundred did.
    for round in 0..40 {
        for (_folder, url) in crate::fixture::urls().await {
            let opening: Vec<_> = (0..6)
                .map(|_| {
                    let url = url.clone();
                    tokio::spawn(async move { create_store(&url, &crate::fixture::options()).await })
                })
                .collect();
            let mut stores = Vec::new();
            for opened in opening {
                stores.push(opened.await.unwrap().unwrap_or_else(|error| panic!("round {round}: {error}")));
            }
            transactions::add(&stores[0], &[transaction(1, "a", day(1), "X")]).await.unwrap();
            assert_eq!(transactions::count(&stores[5]).await.unwrap(), 1);
        }
    }
}
