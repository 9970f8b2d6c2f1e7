//! The accept loop: HTTP/1.1 and h2c on one port, told apart by the connection's first bytes.
//!
//! So that whoever holds many connections keeps nobody out, not even health checks: once three quarters of the places
//! are taken, an HTTP/1.1 connection is closed after the request that it brought, and one that brings none has
//! [`HURRY`]. The others wait in the kernel's queue, whose order is that of their arrival. Gateways speak h2c, over few
//! connections, which have [`IDLE_GATEWAY`].
//!
//! Limits hold for every connection: how many there are, how long and how many heads may be, how long they may take. At
//! the end the order is: `/readyz` says no while everything is still served, so that health checks take this scorer out
//! of rotation; then the listener closes; then requests under way may end; then what is left is cut.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::app::App;
use super::routes::Routes;
use crate::settings::Server;

/// Bytes of a request's head, at most.
const HEAD_BYTES: usize = 32 * 1024;
/// Headers of a request, at most.
const HEADERS: usize = 100;
/// Requests at once on one h2c connection: Envoy needs few connections.
const STREAMS: u32 = 1_024;
/// Time for a connection to bring its first or next request while places are scarce.
const HURRY: Duration = Duration::from_secs(1);
/// The same for h2c, which a gateway speaks: closed under its hands it would cost it a request.
const IDLE_GATEWAY: Duration = Duration::from_secs(10);
/// Flow-control windows: an observation batch has up to 4 MiB and must not crawl.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}. {}", mend(.source))]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

fn mend(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "Another program listens there: stop it, or give another address with --listen (PERCH_SCORER_PORT)"
        }
        io::ErrorKind::PermissionDenied => "Ports below 1024 need a privilege: give a higher one with --listen",
        io::ErrorKind::AddrNotAvailable => "This machine has no such address: give one that it has with --listen",
        _ => "Give another address with --listen",
    }
}

/// Listens on `address`.
///
/// # Errors
/// When it cannot, with the mend.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError { address, source })
}

/// Serves until `stop` is done and requests under way have ended, or had their time.
pub async fn serve(listener: TcpListener, app: Arc<App>, stop: impl Future<Output = ()>) {
    let limits = app.settings.server.clone();
    let routes = Arc::new(Routes::new(&app.settings));
    let http = Arc::new(protocols(&limits));
    let room = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    let graceful = GracefulShutdown::new();
    {
        let mut closing = pin!(async {
            stop.await;
            tracing::info!(notice_ms = limits.drain_notice.as_millis(), "draining");
            app.drain();
            tokio::time::sleep(limits.drain_notice).await;
        });
        loop {
            tokio::select! {
                biased;
                () = &mut closing => break,
                (stream, place) = accept(&listener, &room) => {
                    let scarce = Scarce { room: Arc::clone(&room), below: limits.connections / 4 };
                    let connection = Connection { app: Arc::clone(&app), routes: Arc::clone(&routes), place, scarce };
                    tokio::spawn(connection.serve(stream, Arc::clone(&http), graceful.watcher(), limits.read_timeout));
                }
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(limits.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!(drain_ms = limits.drain.as_millis(), "requests_cut");
    }
}

/// The next connection, once there is room for one.
async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed; were it, there would be no limit rather than no service.
    let place = Arc::clone(room).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) => {
                // A client that left at once, or no file descriptors: the latter passes only with time.
                tracing::warn!(%error, "accept_failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn protocols(limits: &Server) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.read_timeout)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS);
    http.http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
        .max_concurrent_streams(STREAMS)
        // A gateway resets what is late: after a pause of ours that is many at once, and no attack.
        .max_pending_accept_reset_streams(usize::try_from(STREAMS).ok())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(limits.read_timeout);
    http
}

struct Connection {
    app: Arc<App>,
    routes: Arc<Routes>,
    place: Option<OwnedSemaphorePermit>,
    scarce: Scarce,
}

/// Whether few places for connections are left.
#[derive(Clone)]
struct Scarce {
    room: Arc<Semaphore>,
    below: usize,
}

impl Scarce {
    fn is_so(&self) -> bool {
        self.room.available_permits() < self.below
    }
}

/// What a connection is used for.
struct Activity {
    state: Mutex<State>,
}

#[derive(Clone, Copy)]
struct State {
    /// Requests that wait for their answers.
    under_way: usize,
    /// Version of the last request, if there was one.
    spoke: Option<Version>,
    /// Since when it is as it is.
    since: Instant,
}

/// A request that waits for its answer.
struct UnderWay(Arc<Activity>);

impl Activity {
    fn new() -> Self {
        Self { state: Mutex::new(State { under_way: 0, spoke: None, since: Instant::now() }) }
    }

    fn begin(this: &Arc<Self>, version: Version) -> UnderWay {
        let mut state = this.state();
        *state = State { under_way: state.under_way + 1, spoke: Some(version), since: Instant::now() };
        UnderWay(Arc::clone(this))
    }

    /// Ends once the connection has been idle for as long as it may.
    async fn idle_for_too_long(&self, scarce: &Scarce, patience: Duration) {
        loop {
            tokio::time::sleep(HURRY.min(patience)).await;
            let State { under_way, spoke, since } = *self.state();
            let limit = match (spoke, scarce.is_so()) {
                // Until a first request the protocol is not known, and so has no timeout of its own.
                (None, false) => patience,
                (None, true) => HURRY.min(patience),
                (Some(_), false) => continue,
                (Some(Version::HTTP_2), true) => IDLE_GATEWAY,
                (Some(_), true) => HURRY,
            };
            if under_way == 0 && since.elapsed() >= limit {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.state();
        *state = State { under_way: state.under_way.saturating_sub(1), since: Instant::now(), ..*state };
    }
}

impl Connection {
    async fn serve(
        self,
        stream: TcpStream,
        http: Arc<auto::Builder<TokioExecutor>>,
        watcher: hyper_util::server::graceful::Watcher,
        patience: Duration,
    ) {
        let Self { app, routes, place: _place, scarce } = self;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "nodelay_failed");
        }
        app.metrics.connections.inc();
        let activity = Arc::new(Activity::new());
        let service = service_fn(|request: Request<Incoming>| {
            let (app, routes, scarce) = (Arc::clone(&app), Arc::clone(&routes), scarce.clone());
            let under_way = Activity::begin(&activity, request.version());
            async move {
                let one_of_many = request.version() == Version::HTTP_2;
                let mut answer = routes.answer(app, request).await;
                if !one_of_many && scarce.is_so() {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                drop(under_way);
                Ok::<_, Infallible>(answer)
            }
        });
        let served = watcher.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            result = served => if let Err(error) = result { tracing::debug!(%error, "connection_failed") },
            () = activity.idle_for_too_long(&scarce, patience) => tracing::debug!("idle_connection_closed"),
        }
        app.metrics.connections.dec();
    }
}
