//! A PostgreSQL server that stalls in the middle of a transaction, or becomes another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use contract::names::{Arm, Cohort};
use shadow_scorer::store::{CountBatch, Options, PairRow, StoreError, SuggestionEvent};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};
use suggestions::{open_store, transactions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::{Fresh, day, each, postgres};

/// Between a store and its server: holds what holds a word back, once.
struct Proxy {
    url: String,
    /// How often the word passed after it was held back.
    passed: Arc<AtomicU32>,
}

impl Proxy {
    async fn start(server: &str, word: &'static str, hold: Duration) -> Self {
        let (login, rest) = server.strip_prefix("postgres://").unwrap().split_once('@').unwrap();
        let (address, database) = rest.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("postgres://{login}@{}/{database}", listener.local_addr().unwrap());
        let (address, passed, left) = (address.to_owned(), Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(1)));
        let counting = Arc::clone(&passed);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&address).await.unwrap();
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
                let (passed, left) = (Arc::clone(&counting), Arc::clone(&left));
                tokio::spawn(async move {
                    let mut bytes = vec![0; 64 * 1024];
                    while let Ok(read @ 1..) = from_client.read(&mut bytes).await {
                        let held = bytes[..read].windows(word.len()).any(|part| part == word.as_bytes());
                        let held = held && left.swap(0, Ordering::SeqCst) > 0;
                        if held {
                            tokio::time::sleep(hold).await;
                        }
                        if to_server.write_all(&bytes[..read]).await.is_err() {
                            break;
                        }
                        passed.fetch_add(u32::from(held), Ordering::SeqCst);
                    }
                });
            }
        });
        Self { url, passed }
    }

    async fn has_passed(&self) {
        while self.passed.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn on_postgres() -> Option<Fresh> {
    postgres()?;
    Some(each().await.swap_remove(1))
}

fn impatient() -> Options {
    Options { connections: 1, statement_timeout: Duration::from_millis(300), ..Options::default() }
}

fn pairs(items: i64) -> CountBatch {
    let row = PairRow {
        slot: day(1),
        arm: Arm::Baseline,
        cohort: Cohort::Ordinary,
        rule: "coffee".into(),
        model: "coffee".into(),
        items,
    };
    CountBatch::new(vec![row], vec![], vec![])
}

fn event(id: &str) -> SuggestionEvent {
    SuggestionEvent {
        event_id: id.to_owned(),
        txn_id: 1,
        arm: "candidate".into(),
        model_version: "v1".into(),
        label: "coffee".into(),
        confidence: 0.7,
        bucket: "00000000000000aa".into(),
        cohort: "none".into(),
        created_at: day(2),
    }
}

/// Does `work` until it succeeds.
async fn until_done<T>(mut work: impl AsyncFnMut() -> Result<T, StoreError>) -> T {
    let trying = async {
        loop {
            match work().await {
                Ok(done) => return done,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), trying).await.unwrap()
}

/// Case A3.
#[tokio::test]
async fn what_is_taken_after_a_begin_that_stalled_is_there_for_everybody() {
    let Some(fresh) = on_postgres().await else { return };
    let proxy = Proxy::start(&fresh.url, "BEGIN", Duration::from_secs(2)).await;
    let store = open_store(&proxy.url, &impatient()).await.unwrap();
    let late = store.add_counts(&pairs(1), day(2)).await.unwrap_err();
    assert!(matches!(late, StoreError::Late { .. }), "{late:?}");
    proxy.has_passed().await;
    until_done(async || store.add_events(&[event("e1")]).await).await;
    assert!(fresh.store.event("e1").await.unwrap().is_some(), "what was answered Ok is not visible to others");
}

/// Case A3b.
#[tokio::test]
async fn counts_whose_commit_stalled_are_counted_once() {
    let Some(fresh) = on_postgres().await else { return };
    let proxy = Proxy::start(&fresh.url, "COMMIT", Duration::from_secs(2)).await;
    let store = open_store(&proxy.url, &impatient()).await.unwrap();
    let batch = pairs(20);
    let late = store.add_counts(&batch, day(2)).await.unwrap_err();
    assert!(matches!(late, StoreError::Late { .. }), "{late:?}");
    proxy.has_passed().await;
    until_done(async || store.add_counts(&batch, day(2)).await).await;
    until_done(async || store.add_counts(&pairs(3), day(2)).await).await;
    let items: u64 = fresh.store.analysis_counts(0, &[]).await.unwrap().pairs.iter().map(|pair| pair.items).sum();
    assert_eq!(items, 23);
}

/// Without a server that stalls: the same batch counts once on every kind of store.
#[tokio::test]
async fn a_batch_that_is_written_again_counts_once() {
    for fresh in each().await {
        let batch = pairs(20);
        for _ in 0..3 {
            fresh.store.add_counts(&batch, day(2)).await.unwrap();
        }
        fresh.store.forget_writings(day(2)).await.unwrap();
        fresh.store.add_counts(&batch, day(2)).await.unwrap();
        assert_eq!(fresh.store.analysis_counts(0, &[]).await.unwrap().pairs[0].items, 20);
    }
}

/// Case A16: behind one address the old primary goes on as a standby, with the sessions it has.
#[tokio::test]
async fn after_a_failover_one_write_fails_and_the_next_goes_to_the_new_primary() {
    let Some(fresh) = on_postgres().await else { return };
    let name = fresh.url.rsplit('/').next().unwrap().to_owned();
    let mut admin = AnyConnection::connect(&postgres().unwrap()).await.unwrap();
    let mut set = async |read_only: &str| {
        let statement = format!("ALTER DATABASE {name} SET default_transaction_read_only = {read_only}");
        admin.execute(AssertSqlSafe(statement)).await.unwrap();
    };
    let store = open_store(&fresh.url, &Options { connections: 1, ..Options::default() }).await.unwrap();
    store.add_events(&[event("e0")]).await.unwrap();
    // Sessions that begin now are the old primary's, which takes no writes.
    set("on").await;
    let mut ending = AnyConnection::connect(&postgres().unwrap()).await.unwrap();
    let sessions = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
    ending.execute(AssertSqlSafe(sessions)).await.unwrap();
    let sessions = format!("SELECT COUNT(*) FROM pg_stat_activity WHERE datname = '{name}'");
    loop {
        let (left,): (i64,) = sqlx::query_as(AssertSqlSafe(sessions.clone())).fetch_one(&mut ending).await.unwrap();
        if left == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    until_done(async || transactions::count(&store).await).await;
    // Those that begin from here on are the new one's.
    set("off").await;
    let refused = store.add_events(&[event("e1")]).await.unwrap_err();
    assert!(matches!(refused, StoreError::ReadOnly { .. }), "{refused:?}");
    assert!(store.trouble().is_some_and(|said| said.contains("read-only transaction")), "{:?}", store.trouble());
    store.add_events(&[event("e1")]).await.unwrap();
    store.probe_writes(day(2)).await.unwrap();
    assert_eq!(store.trouble(), None);
    // A store that takes no writes from the start on says so then.
    set("on").await;
    let error = open_store(&fresh.url, &Options::default()).await.unwrap_err();
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error:?}");
}
