//! The accept loop of every server: HTTP/1.1, and h2c on the same port, distinguished by a connection's first bytes.
//!
//! Every connection has limits on the size of a request's head and on the time for it; limits on bodies are the
//! service's. A client with many connections must not keep others out, not even health checks: see `usage`. Further
//! connections wait in the kernel's queue, in the order of their arrival.
//!
//! The end has three steps: the listener closes; requests in progress may finish; those that remain are aborted.

#[cfg(test)]
mod tests;
mod usage;

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, Version};
use hyper::body::{Body, Incoming};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};

use usage::{InFlight, Usage};

/// Flow-control windows of h2c: large enough for an observation batch of up to 4 MiB.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
/// Interval of h2c's pings, which find out that a client is gone.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// Pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a server allows its clients.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most connections at once.
    pub connections: usize,
    /// Most bytes of a request's head.
    pub head_bytes: u32,
    /// Most headers of a request over HTTP/1.1.
    pub headers: usize,
    /// Longest time for a request's head, for an HTTP/1.1 connection without a request, and for the reply to a ping.
    pub head_time: Duration,
    /// Concurrent requests on one h2c connection; `None` serves HTTP/1.1 only.
    pub streams: Option<u32>,
    /// Longest time for the requests in progress at the end.
    pub drain: Duration,
}

/// What happens to a connection, for those who count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It was accepted.
    Opened,
    /// It has ended in order, or was idle for too long.
    Closed,
    /// It has ended with an error: it broke a limit or the protocol, or the client left within a request.
    Failed,
}

/// The listener cannot be opened on this address.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {} with --listen ({variable})", fix(.source))]
pub struct BindError {
    address: SocketAddr,
    variable: &'static str,
    source: io::Error,
}

fn fix(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "stop the program that listens there, or give another address",
        io::ErrorKind::PermissionDenied => "ports below 1024 require a privilege: give a higher one",
        io::ErrorKind::AddrNotAvailable => "this machine does not have this address: give one of its own",
        _ => "give another address",
    }
}

/// Listens on `address`, which comes from the flag `--listen` or whose port from the environment's `variable`.
///
/// # Errors
/// If it cannot, with the fix.
pub async fn bind(address: SocketAddr, variable: &'static str) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError { address, variable, source })
}

type BoxError = Box<dyn Error + Send + Sync>;

/// Serves `service` until `stop` completes and the requests in progress have finished or timed out.
pub async fn serve<S, B>(
    listener: TcpListener,
    service: S,
    options: &Options,
    on_event: impl Fn(Event),
    stop: impl Future<Output = ()>,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send + 'static>,
    S: Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    // HTTP/1.1 connections are closed after their request while few are left.
    let counted = |usage: Arc<Usage>| {
        let service = service.clone();
        service_fn(move |request: Request<Incoming>| {
            let version = request.version();
            let in_flight = InFlight::begin(Arc::clone(&usage), version);
            let response = service.call(request);
            async move {
                let mut response = response.await?;
                if version != Version::HTTP_2 && in_flight.usage.few_are_left() {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, S::Error>(response)
            }
        })
    };
    let http = protocols(options);
    let most = options.connections.min(Semaphore::MAX_PERMITS);
    let room = Arc::new(Semaphore::new(most));
    let graceful = GracefulShutdown::new();
    // Aborts its tasks when dropped.
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            Some(result) = connections.join_next() => on_event(end(result)),
            (stream, permit) = accept(&listener, &room) => {
                on_event(Event::Opened);
                let usage = Arc::new(Usage::new(Arc::clone(&room), most / 4, options.head_time));
                let service = counted(Arc::clone(&usage));
                let served = graceful.watch(http.serve_connection(TokioIo::new(stream), service).into_owned());
                connections.spawn(async move {
                    let _permit = permit;
                    tokio::select! {
                        result = served => result,
                        () = usage.idle_for_too_long() => {
                            tracing::debug!("idle_connection_closed");
                            Ok(())
                        }
                    }
                });
            }
        }
    }
    drop(listener);
    let ends = async {
        while let Some(result) = connections.join_next().await {
            on_event(end(result));
        }
    };
    if tokio::time::timeout(options.drain, async { tokio::join!(graceful.shutdown(), ends) }).await.is_err() {
        tracing::warn!(drain_ms = options.drain.as_millis(), "requests_cut");
    }
}

fn end(result: Result<Result<(), BoxError>, JoinError>) -> Event {
    match result {
        Ok(Ok(())) => return Event::Closed,
        Ok(Err(error)) => tracing::debug!(%error, "connection_failed"),
        Err(panic) => tracing::error!(error = %panic, "connection_panicked"),
    }
    Event::Failed
}

fn protocols(options: &Options) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.head_time)
        .max_buf_size(usize::try_from(options.head_bytes).unwrap_or(usize::MAX))
        .max_headers(options.headers);
    let Some(streams) = options.streams else { return http.http1_only() };
    http.http2()
        .timer(TokioTimer::new())
        .max_header_list_size(options.head_bytes)
        .max_concurrent_streams(streams)
        // A gateway resets late requests; after a pause of this process there are many at once, which is not an attack.
        .max_pending_accept_reset_streams(usize::try_from(streams).ok())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(options.head_time);
    http
}

/// Accepts the next connection once one more is allowed.
async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed; if it were, there would be no limit rather than no service.
    let permit = Arc::clone(room).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "nodelay_failed");
                }
                return (stream, permit);
            }
            Err(error) => {
                // The client left, or file descriptors have run out, which only passes with time.
                tracing::warn!(%error, "accept_failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
