//! The accept loop: HTTP/1.1 and h2c on one port, distinguished by the connection's first bytes.
//!
//! A client with many connections must not keep others out, not even health checks. So once three quarters of the
//! connections are taken, an HTTP/1.1 connection is closed after its current request, and one without a request after
//! [`SHORT_IDLE_LIMIT`]. Further connections wait in the kernel's queue, in the order of their arrival. Gateways use
//! few h2c connections, which may be idle for [`GATEWAY_IDLE_LIMIT`].
//!
//! Every connection has limits on the size of a request's head and on the time for head and body. Shutdown has four
//! steps: `/readyz` returns 503 while everything is still served, so that health checks take this scorer out of
//! rotation; the listener closes; requests in progress may finish; those that remain are aborted.

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

/// Most bytes of a request's head.
const HEAD_BYTES: usize = 32 * 1024;
/// Most headers of a request.
const HEADERS: usize = 100;
/// Concurrent requests on one h2c connection: Envoy uses few connections.
const STREAMS: u32 = 1_024;
/// Longest time without a request on an HTTP/1.1 connection while few connections are left.
const SHORT_IDLE_LIMIT: Duration = Duration::from_secs(1);
/// The same for h2c, which gateways use: closing such a connection can cost the gateway a request.
const GATEWAY_IDLE_LIMIT: Duration = Duration::from_secs(10);
/// Flow-control windows: large enough for an observation batch of up to 4 MiB.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

/// The listener cannot be opened on this address.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}. {}", fix(.source))]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

fn fix(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "Another program listens there: stop it, or give another address with --listen (PERCH_SCORER_PORT)"
        }
        io::ErrorKind::PermissionDenied => "Ports below 1024 require a privilege: give a higher one with --listen",
        io::ErrorKind::AddrNotAvailable => "This machine does not have this address: give one of its own with --listen",
        _ => "Give another address with --listen",
    }
}

/// Listens on `address`.
///
/// # Errors
/// If it cannot, with the fix.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError { address, source })
}

/// Serves until `stop` completes and requests in progress have finished or timed out.
pub async fn serve(listener: TcpListener, app: Arc<App>, stop: impl Future<Output = ()>) {
    let limits = app.settings.server.clone();
    let routes = Arc::new(Routes::new(&app.settings));
    let http = Arc::new(protocols(&limits));
    let connections = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
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
                (stream, permit) = accept(&listener, &connections) => {
                    let (app, routes, connections) = (Arc::clone(&app), Arc::clone(&routes), Arc::clone(&connections));
                    let pressure = ConnectionPressure { connections, below: limits.connections / 4 };
                    let connection = Connection { app, routes, permit, pressure };
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

/// Accepts the next connection once one more is allowed.
async fn accept(listener: &TcpListener, connections: &Arc<Semaphore>) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed; if it were, there would be no limit rather than no service.
    let permit = Arc::clone(connections).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(error) => {
                // The client left, or file descriptors have run out, which only passes with time.
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
        // A gateway resets late requests; after a pause of this process there are many at once, which is not an attack.
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
    permit: Option<OwnedSemaphorePermit>,
    pressure: ConnectionPressure,
}

/// Whether few more connections are allowed.
#[derive(Clone)]
struct ConnectionPressure {
    connections: Arc<Semaphore>,
    below: usize,
}

impl ConnectionPressure {
    fn is_high(&self) -> bool {
        self.connections.available_permits() < self.below
    }
}

/// Whether a connection is in use.
struct Activity {
    state: Mutex<State>,
}

#[derive(Clone, Copy)]
struct State {
    /// Requests without a response yet.
    in_flight: usize,
    /// HTTP version of the last request, if there was one.
    version: Option<Version>,
    /// When `in_flight` last changed.
    since: Instant,
}

/// A request without a response yet; counted until dropped.
struct InFlight(Arc<Activity>);

impl Activity {
    fn new() -> Self {
        Self { state: Mutex::new(State { in_flight: 0, version: None, since: Instant::now() }) }
    }

    fn begin(this: &Arc<Self>, version: Version) -> InFlight {
        let mut state = this.state();
        *state = State { in_flight: state.in_flight + 1, version: Some(version), since: Instant::now() };
        InFlight(Arc::clone(this))
    }

    /// Completes once the connection has been idle for longer than allowed.
    async fn idle_for_too_long(&self, pressure: &ConnectionPressure, patience: Duration) {
        loop {
            tokio::time::sleep(SHORT_IDLE_LIMIT.min(patience)).await;
            let State { in_flight, version, since } = *self.state();
            let limit = match (version, pressure.is_high()) {
                // Until the first request the protocol is unknown, so none of its timeouts applies.
                (None, false) => patience,
                (None, true) => SHORT_IDLE_LIMIT.min(patience),
                (Some(_), false) => continue,
                (Some(Version::HTTP_2), true) => GATEWAY_IDLE_LIMIT,
                (Some(_), true) => SHORT_IDLE_LIMIT,
            };
            if in_flight == 0 && since.elapsed() >= limit {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.0.state();
        *state = State { in_flight: state.in_flight.saturating_sub(1), since: Instant::now(), ..*state };
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
        let Self { app, routes, permit: _permit, pressure } = self;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "nodelay_failed");
        }
        app.metrics.connections.inc();
        let activity = Arc::new(Activity::new());
        let service = service_fn(|request: Request<Incoming>| {
            let (app, routes, pressure) = (Arc::clone(&app), Arc::clone(&routes), pressure.clone());
            let in_flight = Activity::begin(&activity, request.version());
            async move {
                let is_multiplexed = request.version() == Version::HTTP_2;
                let mut response = routes.respond(app, request).await;
                if !is_multiplexed && pressure.is_high() {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                drop(in_flight);
                Ok::<_, Infallible>(response)
            }
        });
        let served = watcher.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            result = served => if let Err(error) = result { tracing::debug!(%error, "connection_failed") },
            () = activity.idle_for_too_long(&pressure, patience) => tracing::debug!("idle_connection_closed"),
        }
        app.metrics.connections.dec();
    }
}
