//! Stores that cannot be used: each says what to do, within its time.

use std::sync::Arc;
use std::time::Duration;

use shadow_scorer::features::Entity;
use shadow_scorer::store::{LabelSource, NewLabel, Options, StoreError};
use sqlx::{AnyConnection, Connection, Executor};
use suggestions::transactions::NewTransaction;
use suggestions::{open_store, transactions};

use crate::fixture::{day, each, found, options, postgres, transaction};

#[tokio::test]
async fn a_store_that_is_not_there_is_not_made_by_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/perch.sqlite", folder.path().display());
    let error = open_store(&url, &options()).await.unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }), "{error:?}");
    assert!(error.to_string().contains("rules-backend seed"), "{error}");
    assert!(!folder.path().join("perch.sqlite").exists());
}

#[tokio::test]
async fn a_file_of_another_kind_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("perch.sqlite");
    std::fs::write(&path, "not a database, but long enough to be looked at ".repeat(50)).unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = open_store(&format!("sqlite://{}", path.display()), &options()).await.unwrap_err();
    assert!(matches!(error, StoreError::NotOpened { .. }), "{error:?}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

/// A migration takes as long as it takes, whatever a statement may; and labels from before are there afterwards.
#[tokio::test]
async fn a_migration_that_takes_longer_than_a_statement_may_is_done() {
    for fresh in each().await {
        transactions::add(&fresh.store, &[transaction(1, "a", day(1), "X")]).await.unwrap();
        let label = NewLabel { txn_id: 1, source: LabelSource::User, label: "pets".into(), labelled_at: day(1) };
        fresh.store.put_labels(&[label]).await.unwrap();
        fresh.store.close().await;
        // As it was before the migration.
        let mut other = AnyConnection::connect(&fresh.url).await.unwrap();
        for statement in [
            "DROP TABLE feedback_waiting",
            "DROP TABLE writings",
            "DROP TABLE write_probe",
            "DROP INDEX feedback_by_user",
            "ALTER TABLE feedback DROP COLUMN bucket",
            "ALTER TABLE feedback DROP COLUMN changed_at",
            "ALTER TABLE feedback DROP COLUMN changes",
            "DELETE FROM _sqlx_migrations WHERE version = 4",
        ] {
            other.execute(statement).await.unwrap();
        }
        let on_postgres = fresh.url.starts_with("postgres");
        if on_postgres {
            other.execute("BEGIN").await.unwrap();
            other.execute("LOCK TABLE transaction_labels IN ACCESS EXCLUSIVE MODE").await.unwrap();
        }
        let url = fresh.url.clone();
        let opening = tokio::spawn(async move { open_store(&url, &impatient()).await });
        if on_postgres {
            tokio::time::sleep(impatient().statement_timeout * 4).await;
            other.execute("ROLLBACK").await.unwrap();
        }
        let store = opening.await.unwrap().unwrap();
        assert_eq!(store.count_labels().await.unwrap(), 1);
    }
}

/// Question 5b.
#[tokio::test]
async fn a_file_of_0_bytes_is_not_taken_for_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("perch.sqlite");
    std::fs::write(&path, "").unwrap();
    let url = format!("sqlite://{}", path.display());
    let error = open_store(&url, &options()).await.unwrap_err();
    assert!(matches!(error, StoreError::Empty { .. }), "{error:?}");
    assert!(error.to_string().contains("0 bytes") && error.to_string().contains("rules-backend seed"), "{error}");
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0, "and no table was made in it");
}

/// Case N3.
#[tokio::test]
async fn what_the_database_said_is_part_of_the_message() {
    for fresh in each().await {
        let mut other = AnyConnection::connect(&fresh.url).await.unwrap();
        other.execute("DROP TABLE feedback_waiting").await.unwrap();
        let error = fresh.store.count_waiting().await.unwrap_err();
        assert!(matches!(error, StoreError::Failed { .. }), "{error:?}");
        assert!(error.to_string().contains("feedback_waiting"), "{error}");
    }
}

/// Case N5: the scorer's own connections do not fit; it says so and does not panic.
#[tokio::test]
async fn a_role_without_a_connection_left_is_named_at_the_start() {
    if postgres().is_none() {
        return;
    }
    let fresh = each().await.swap_remove(1);
    fresh.store.close().await;
    let (server, database) = fresh.url.rsplit_once('/').unwrap();
    let role = format!("role_of_{database}");
    let mut admin = AnyConnection::connect(&fresh.url).await.unwrap();
    let made = format!(
        "CREATE ROLE {role} LOGIN CONNECTION LIMIT 1; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}; \
         GRANT ALL ON SCHEMA public TO {role}"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(made)).execute(&mut admin).await.unwrap();
    let (_, address) = server.split_once('@').unwrap();
    let url = format!("postgres://{role}@{address}/{database}");
    let folder = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_shadow-scorer"))
        .args(["--listen", "127.0.0.1:0", "--store", &url, "--registry"])
        .arg(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("CONNECTION LIMIT") && !said.contains("panicked"), "{said}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_without_the_password() {
    // Port 9 (discard) of loopback: refused at once.
    let error = open_store("postgres://perch:hunter2@127.0.0.1:9/perch", &options()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. } | StoreError::Late { .. }), "{error:?}");
    assert!(error.to_string().contains("127.0.0.1:9") && !error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test]
async fn tables_of_a_newer_program_are_refused() {
    for fresh in each().await {
        let mut connection = AnyConnection::connect(&fresh.url).await.unwrap();
        connection.execute("UPDATE _sqlx_migrations SET version = version + 9998").await.unwrap();
        let error = open_store(&fresh.url, &options()).await.unwrap_err();
        assert!(matches!(error, StoreError::OtherVersion { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn what_was_read_is_answered_when_the_store_is_gone_and_the_rest_is_refused() {
    for fresh in each().await {
        let store = &fresh.store;
        let of = |id, user| transaction(id, user, day(id), "X");
        transactions::add(store, &[of(1, "a"), of(2, "a"), of(3, "b")]).await.unwrap();
        let read = found(store, &[1]).await.unwrap();
        store.close().await;
        assert_eq!(found(store, &[1]).await.unwrap(), read);
        assert_eq!(found(store, &[2]).await.unwrap().len(), 1, "it came with the first one of its user");
        assert!(matches!(found(store, &[3]).await, Err(StoreError::Unreachable { .. })));
        assert!(store.ping().await.is_err());
    }
}

fn ids(entities: Vec<Arc<dyn Entity>>) -> Vec<i64> {
    entities.iter().map(|entity| entity.id()).collect()
}

const PATIENCE: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_store_that_is_gone_is_not_asked_by_everybody_and_the_cache_answers_all_the_same() {
    for fresh in each().await {
        let store = &fresh.store;
        let of = |id, user| transaction(id, user, day(id), "X");
        transactions::add(store, &[of(1, "a"), of(3, "b")]).await.unwrap();
        let read = ids(store.entities_within(&[1], PATIENCE).await.unwrap());
        store.close().await;
        for _ in 0..3 {
            let error = store.entities_within(&[3], PATIENCE).await.unwrap_err();
            assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
        }
        let error = store.entities_within(&[3], PATIENCE).await.unwrap_err();
        assert!(matches!(error, StoreError::Away { .. }), "{error:?}");
        assert_eq!(ids(store.entities_within(&[1], PATIENCE).await.unwrap()), read);
    }
}

#[tokio::test]
async fn a_store_that_hangs_is_tried_again_until_it_answers() {
    if postgres().is_none() {
        return;
    }
    let fresh = each().await.swap_remove(1);
    let store = &fresh.store;
    transactions::add(store, &[transaction(1, "a", day(1), "X")]).await.unwrap();
    let mut other = AnyConnection::connect(&fresh.url).await.unwrap();
    other.execute("BEGIN").await.unwrap();
    other.execute("LOCK TABLE transactions IN ACCESS EXCLUSIVE MODE").await.unwrap();
    for _ in 0..3 {
        let error = store.entities_within(&[1], PATIENCE).await.unwrap_err();
        assert!(matches!(error, StoreError::Late { .. }), "{error:?}");
    }
    let error = store.entities_within(&[1], PATIENCE).await.unwrap_err();
    assert!(matches!(error, StoreError::Away { .. }), "{error:?}");
    other.execute("ROLLBACK").await.unwrap();
    let back = async {
        while store.entities_within(&[1], PATIENCE).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), back).await.expect("the store answers, and nobody asks it");
}

fn impatient() -> Options {
    Options { statement_timeout: Duration::from_millis(150), ..options() }
}

#[tokio::test]
async fn a_write_that_another_program_blocks_ends_in_an_error() {
    let fresh = each().await.swap_remove(0);
    let store = open_store(&fresh.url, &impatient()).await.unwrap();
    let mut other = AnyConnection::connect(&fresh.url).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let new: [NewTransaction; 1] = [transaction(1, "a", day(1), "X")];
    let error = transactions::add(&store, &new).await.unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. } | StoreError::Late { .. }), "{error:?}");
    assert_eq!(transactions::count(&store).await.unwrap(), 0, "readers do not wait for a writer");
    other.execute("ROLLBACK").await.unwrap();
    transactions::add(&store, &new).await.unwrap();
}

#[tokio::test]
async fn a_read_that_the_server_holds_up_ends_in_an_error() {
    if postgres().is_none() {
        return;
    }
    let fresh = each().await.swap_remove(1);
    let store = open_store(&fresh.url, &impatient()).await.unwrap();
    let mut other = AnyConnection::connect(&fresh.url).await.unwrap();
    other.execute("BEGIN").await.unwrap();
    other.execute("LOCK TABLE transactions IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let error = found(&store, &[1]).await.unwrap_err();
    assert!(matches!(error, StoreError::Late { .. }), "{error:?}");
    other.execute("ROLLBACK").await.unwrap();
    assert!(found(&store, &[1]).await.unwrap().is_empty(), "the pool is whole again");
}
