//! Fresh stores of each kind, and transactions to put into them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use shadow_scorer::store::{Options, Store, StoreError};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};
use suggestions::create_store;
use suggestions::transactions::{NewTransaction, TransactionWithHistory};
use tempfile::TempDir;

/// A store of its own, gone when dropped.
pub(crate) struct Fresh {
    pub(crate) store: Store,
    pub(crate) url: String,
    _folder: TempDir,
}

pub(crate) fn options() -> Options {
    // Generous, since tests run beside much else; where lateness is under test, the test says so.
    Options { statement_timeout: Duration::from_secs(20), ..Options::default() }
}

/// One store of each kind there is here.
pub(crate) async fn each() -> Vec<Fresh> {
    let mut all = Vec::new();
    for url in urls().await {
        let (folder, url) = url;
        let store = create_store(&url, &options()).await.unwrap();
        all.push(Fresh { store, url, _folder: folder });
    }
    all
}

/// A URL of each kind: an SQLite file that is not there yet, and an empty PostgreSQL database.
pub(crate) async fn urls() -> Vec<(TempDir, String)> {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("sqlite://{}/new/perch.sqlite", folder.path().display());
    let mut urls = vec![(folder, file)];
    if let Some(server) = postgres() {
        urls.push((tempfile::tempdir().unwrap(), database(&server).await));
    }
    urls
}

pub(crate) fn postgres() -> Option<String> {
    std::env::var("PERCH_TEST_POSTGRES_URL").ok().filter(|url| !url.is_empty())
}

/// A new, empty database on the server; its URL.
async fn database(server: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("t{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(server).await.unwrap();
    connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
    connection.close().await.unwrap();
    let (base, _) = server.rsplit_once('/').unwrap();
    format!("{base}/{name}")
}

/// The transactions of `ids`, as the store hands them out.
pub(crate) async fn found(store: &Store, ids: &[i64]) -> Result<Vec<TransactionWithHistory>, StoreError> {
    let entities = store.entities(ids).await?;
    Ok(entities.iter().map(|entity| TransactionWithHistory::of(&**entity).unwrap().clone()).collect())
}

/// Noon of day `day`.
pub(crate) fn day(day: i64) -> i64 {
    day * 86_400 + 43_200
}

pub(crate) fn transaction(id: i64, user: &str, at: i64, merchant: &str) -> NewTransaction {
    NewTransaction {
        id,
        user_id: user.to_owned(),
        occurred_at: at,
        merchant: merchant.to_owned(),
        memo: String::new(),
        amount_cents: -1_250,
        channel: "card".to_owned(),
        mcc: None,
        subscription: None,
        p2p: Some(false),
    }
}
