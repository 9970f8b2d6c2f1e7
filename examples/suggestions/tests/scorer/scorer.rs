use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser as _;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use shadow_scorer::http::{App, serve};
use shadow_scorer::settings::Raw;
use shadow_scorer::store::Options;
use sqlx::Connection as _;
use suggestions::transactions::NewTransaction;
use suggestions::{application, create_store, transactions};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::small_model::{Schema, Version, alias};

pub(crate) struct Scorer {
    pub(crate) address: SocketAddr,
    pub(crate) app: Arc<App>,
    pub(crate) place: Place,
    stop: Option<oneshot::Sender<()>>,
    done: Option<JoinHandle<()>>,
}

/// A folder with a store of twenty transactions, and a registry.
pub(crate) struct Place {
    folder: TempDir,
    /// Another store than the one in the folder.
    store: Option<String>,
}

/// The operator's token of [`Place`].
pub(crate) const TOKEN: &str = "operators-token-of-the-tests";

/// What the small model says of [`Place`]'s transactions, by the digit that their ids end with.
pub(crate) fn label_of(id: i64) -> &'static str {
    match id % 3 {
        0 => "coffee",
        1 => "groceries",
        _ => "transfers",
    }
}

pub(crate) const IDS: std::ops::Range<i64> = 1..21;

impl Place {
    pub(crate) async fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap(), store: None };
        let store = create_store(&place.store_url(), &Options::default()).await.unwrap();
        let transactions: Vec<NewTransaction> = IDS.map(transaction).collect();
        transactions::add(&store, &transactions).await.unwrap();
        store.close().await;
        std::fs::write(place.token_file(), TOKEN).unwrap();
        std::fs::set_permissions(place.token_file(), PermissionsExt::from_mode(0o600)).unwrap();
        place
    }

    pub(crate) fn token_file(&self) -> std::path::PathBuf {
        self.folder.path().join("token")
    }

    /// As [`Place::new`], with a database of its own on the PostgreSQL server of the tests, if there is one.
    pub(crate) async fn on_postgres() -> Option<Self> {
        let server = std::env::var("PERCH_TEST_POSTGRES_URL").ok().filter(|url| !url.is_empty())?;
        let mut place = Self::new().await;
        let name = format!("s{}", uuid::Uuid::new_v4().simple());
        let mut connection = sqlx::AnyConnection::connect(&server).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
        let url = format!("{}/{name}", server.rsplit_once('/').unwrap().0);
        let store = create_store(&url, &Options::default()).await.unwrap();
        transactions::add(&store, &IDS.map(transaction).collect::<Vec<_>>()).await.unwrap();
        store.close().await;
        place.store = Some(url);
        Some(place)
    }

    pub(crate) fn store_url(&self) -> String {
        if let Some(url) = &self.store {
            return url.clone();
        }
        format!("sqlite://{}", self.folder.path().join("perch.sqlite").display())
    }

    pub(crate) fn registry(&self) -> std::path::PathBuf {
        self.folder.path().join("registry")
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Puts a version into the registry.
    pub(crate) fn version(&self, name: &str) -> Version {
        Version::new(name, &schema())
    }

    pub(crate) fn with_champion(self) -> Self {
        self.version("v1").write(&self.registry());
        alias(&self.registry(), "champion", "v1");
        self
    }
}

pub(crate) fn schema() -> Schema {
    let wanted = application().schema();
    Schema(wanted.version, wanted.hash.clone(), wanted.width)
}

/// Small with cents: coffee; large with cents: groceries; round: a transfer.
fn transaction(id: i64) -> NewTransaction {
    let amount_cents = match id % 3 {
        0 => -467,
        1 => -5_323,
        _ => -6_000,
    };
    NewTransaction {
        id,
        user_id: format!("user-{}", id % 4),
        occurred_at: 1_790_000_000 + id,
        merchant: "CORNER SHOP 12".into(),
        memo: String::new(),
        amount_cents,
        channel: "card".into(),
        mcc: None,
        subscription: None,
        p2p: None,
    }
}

impl Scorer {
    /// A scorer with a champion "v1" and the given flags on top.
    pub(crate) async fn start(flags: &[&str]) -> Self {
        Self::start_in(Place::new().await.with_champion(), flags).await
    }

    pub(crate) async fn start_in(place: Place, flags: &[&str]) -> Self {
        let (store, registry) = (place.store_url(), place.registry().display().to_string());
        let token = place.token_file().display().to_string();
        let own = ["--listen", "127.0.0.1:0", "--store", &store, "--registry", &registry];
        let token: &[&str] = if place.token_file().exists() { &["--token-file", &token] } else { &[] };
        let at_once: &[&str] = if flags.contains(&"--drain-notice-ms") { &[] } else { &["--drain-notice-ms", "0"] };
        let raw = Raw::try_parse_from([&["shadow-scorer"], &own[..], token, at_once, flags].concat()).unwrap();
        let settings = raw.check(|_| None).unwrap();
        let listener = TcpListener::bind(settings.listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = App::start(settings, application()).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = serve(listener, Arc::clone(&app), async {
            let _ = stopped.await;
        });
        Self { address, app, place, stop: Some(stop), done: Some(tokio::spawn(serving)) }
    }

    pub(crate) fn begin_to_stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub(crate) async fn stopped(&mut self) {
        self.done.take().unwrap().await.unwrap();
    }

    pub(crate) async fn suggest(&self, body: &str) -> HttpResponse {
        self.post("/ml/suggestions", body.to_owned()).await
    }

    /// As the operator, who shows the token.
    pub(crate) async fn post(&self, path: &str, body: impl Into<Bytes>) -> HttpResponse {
        let token = format!("Bearer {TOKEN}");
        self.send(Method::POST, path, &[("authorization", &token)], body.into(), Protocol::H1).await
    }

    /// As anybody.
    pub(crate) async fn post_as_stranger(&self, path: &str, body: impl Into<Bytes>) -> HttpResponse {
        self.send(Method::POST, path, &[], body.into(), Protocol::H1).await
    }

    pub(crate) async fn get(&self, path: &str) -> HttpResponse {
        self.send(Method::GET, path, &[], Bytes::new(), Protocol::H1).await
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
        protocol: Protocol,
    ) -> HttpResponse {
        let client = Client::builder(TokioExecutor::new()).http2_only(protocol == Protocol::H2c).build_http();
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = client.request(request.body(Full::new(body)).unwrap()).await.unwrap();
        let (head, body) = answer.into_parts();
        HttpResponse { status: head.status, headers: head.headers, body: body.collect().await.unwrap().to_bytes() }
    }

    pub(crate) async fn status(&self) -> Value {
        self.get("/ml/v2/model/status").await.json()
    }

    /// What model status says of drift.
    pub(crate) async fn drift(&self) -> Value {
        self.status().await["drift"].take()
    }

    /// The value of one series, labels in the exposition's order.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        self.metric_if_any(series).await.unwrap_or_else(|| panic!("{series} is not in the exposition"))
    }

    /// As [`Scorer::metric`], `None` while the series is not there.
    pub(crate) async fn metric_if_any(&self, series: &str) -> Option<f64> {
        let text = self.get("/metrics").await.text();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        Some(value.parse().unwrap())
    }

    /// Waits until a series has a value; the last one is shown when it never comes.
    pub(crate) async fn metric_becomes(&self, series: &str, wanted: f64) {
        let begun = Instant::now();
        loop {
            let seen = self.metric_if_any(series).await;
            if seen.is_some_and(|seen| (seen - wanted).abs() < f64::EPSILON) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{series} stays at {seen:?}, wanted {wanted}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    H1,
    H2c,
}

#[derive(Debug)]
pub(crate) struct HttpResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl HttpResponse {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}
