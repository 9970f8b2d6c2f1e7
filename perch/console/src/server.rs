//! The accept loop: HTTP/1.1, with a bound on everything that a client can make last.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections at once; more wait. A console has a handful of readers, Prometheus and Alertmanager.
const CONNECTIONS: usize = 128;
/// How long a request's head may take, and so how long a connection may stay open without one.
const HEAD_TIME: Duration = Duration::from_secs(15);
/// Bytes of a request's head, at most.
const HEAD_BYTES: usize = 16 * 1024;
/// Headers of a request, at most.
const HEADERS: usize = 64;
/// How long requests under way may last once the console stops.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves until `stop` is ready and requests under way have ended, or had their time.
pub(super) async fn run(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(HEAD_BYTES).max_headers(HEADERS);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            (stream, place) = accept(&listener, &room) => {
                let service = TowerToHyperService::new(router.clone());
                let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
                tokio::spawn(async move {
                    // A connection that breaks is the client's matter.
                    let _ = connection.await;
                    drop(place);
                });
            }
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
}

/// The next connection, once there is room for one.
async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed; were it, there would be no limit rather than no service.
    let place = Arc::clone(room).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            // A client that left at once, or no file descriptors: the latter passes only with time.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
