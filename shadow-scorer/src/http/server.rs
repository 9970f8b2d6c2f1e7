//! The server: limits of its connections, and shutdown.
//!
//! Shutdown begins with a notice: `/readyz` returns 503 while everything is still served, so that health checks take
//! this scorer out of rotation. Then the accept loop ends ([`http_server`]).

use std::convert::Infallible;
use std::sync::Arc;

use http::Request;
use http_server::{Event, Options};
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::net::TcpListener;

use super::app::App;
use super::routes::Routes;

/// Serves until `stop` completes and requests in progress have finished or timed out.
pub async fn serve(listener: TcpListener, app: Arc<App>, stop: impl Future<Output = ()>) {
    let limits = &app.settings.server;
    let options = Options {
        connections: limits.connections,
        head_bytes: 32 * 1024,
        headers: 100,
        head_time: limits.read_timeout,
        // Envoy uses few connections.
        streams: Some(1_024),
        drain: limits.drain,
    };
    let stop = async {
        stop.await;
        tracing::info!(notice_ms = limits.drain_notice.as_millis(), "draining");
        app.drain();
        tokio::time::sleep(limits.drain_notice).await;
    };
    let metrics = Arc::clone(&app.metrics);
    let count = move |event| match event {
        Event::Opened => metrics.connections.inc(),
        Event::Closed | Event::Failed => metrics.connections.dec(),
    };
    let (routes, served) = (Arc::new(Routes::new(&app.settings)), Arc::clone(&app));
    let service = service_fn(move |request: Request<Incoming>| {
        let (app, routes) = (Arc::clone(&served), Arc::clone(&routes));
        async move { Ok::<_, Infallible>(routes.respond(app, request).await) }
    });
    http_server::serve(listener, service, &options, count, stop).await;
}
