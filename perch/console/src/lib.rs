//! The console: pages, metrics and an alert hook, which `perch guard` serves on its port.
//!
//! | module | contents |
//! |---|---|
//! | `pages`, `templates` | the pages; templates and style are in `templates/` and `assets/` |
//! | `forms` | signing in, and operators' actions |
//! | `chart` | line charts over time |
//! | `access` | checks of host names, origins and cookies |
//! | `routes` | the routes, and the headers of every response |
//! | `session` | sessions in signed cookies, one-time tickets of forms |
//! | `hook` | Alertmanager's webhook |
//! | `console` | what every page and handler shares: settings, HTTP clients, templates, the guard's last report |
//! | `deployment` | the guard's status, the audit log, the gateways' share |
//! | `code` | message authentication codes keyed by the operator's token |
//! | `clock` | moments as text |
//!
//! It has no state of its own: its figures are in the guard's folder, in Prometheus and in the scorer. It can be
//! restarted at any time, and every guard of a deployment shows the same.

mod access;
mod chart;
mod clock;
mod code;
mod console;
mod deployment;
mod forms;
mod hook;
mod pages;
mod routes;
mod session;
mod templates;
#[cfg(test)]
mod tests;

use std::time::Duration;

use http_server::Options;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

pub use console::{Console, ConsoleError, Settings};
pub use contract::token::{Token, TokenError};
pub use routes::STATE_PATH;

/// A console has a handful of readers, Prometheus and Alertmanager.
const OPTIONS: Options = Options {
    connections: 128,
    head_bytes: 16 * 1024,
    headers: 64,
    head_time: Duration::from_secs(15),
    streams: None,
    drain: Duration::from_secs(5),
};

impl Console {
    /// Serves on `listener` until `stop` is ready and the requests in progress have ended.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let service = TowerToHyperService::new(routes::router(self));
        http_server::serve(listener, service, &OPTIONS, |_| {}, stop).await;
    }
}
