//! The console: what `perch guard` serves on its port, for people, for Prometheus and for Alertmanager.
//!
//! | module | what it holds |
//! |---|---|
//! | `pages`, `templates` | the pages; templates and style are in `templates/` and `assets/` |
//! | `forms` | signing in, and operators' actions |
//! | `chart` | line charts over time |
//! | `access` | checks of host names, origins and cookies |
//! | `server` | the accept loop, with limits |
//! | `routes` | the routes, and the headers of every response |
//! | `session` | sessions in signed cookies, one-time tickets of forms |
//! | `hook` | Alertmanager's webhook |
//! | `console` | what every page and handler shares: settings, HTTP clients, templates, the guard's last report |
//! | `deployment` | the guard's status, the audit log, the gateways' share |
//! | `code` | message authentication codes keyed by the operator's token |
//! | `clock` | moments as text |
//!
//! It has no state of its own: what it shows is in the guard's folder, in Prometheus and in the scorer. It can be
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
mod server;
mod session;
mod templates;
#[cfg(test)]
mod tests;

use tokio::net::TcpListener;

pub use console::{Console, ConsoleError, Settings};
pub use contract::token::{Token, TokenError};
pub use routes::STATE_PATH;

impl Console {
    /// Serves on `listener` until `stop` is ready and the requests in progress have ended.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        server::run(listener, routes::router(self), stop).await;
    }
}
