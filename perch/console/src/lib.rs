//! The console: what `perch guard` serves on its port, for people, for Prometheus and for Alertmanager.
//!
//! | module | what |
//! |---|---|
//! | `pages`, `templates` | the pages; templates and looks are in `templates/` and `assets/` |
//! | `forms` | signing in, and acting |
//! | `chart` | lines over time |
//! | `access` | host names, origins, cookies |
//! | `server` | connections, with bounds |
//! | `routes` | what is served where, and the headers of every answer |
//! | `session` | who is at the console, and that a form is the console's own |
//! | `hook` | what Alertmanager posts |
//! | `state` | the console: its settings, and the clients of the programs around it |
//! | `deployment` | how the guard stands, what was said, what the gateways hold |
//! | `code` | what only who has the operator's token can sign |
//! | `clock` | moments in words |
//!
//! It keeps nothing of its own: what it shows is in the guard's folder, in Prometheus and in the scorer, so it can be
//! restarted at any time, and every guard of a deployment shows the same.

mod access;
mod chart;
mod clock;
mod code;
mod deployment;
mod forms;
mod hook;
mod pages;
mod routes;
mod server;
mod session;
mod state;
mod templates;
#[cfg(test)]
mod tests;

use tokio::net::TcpListener;

pub use contract::token::{Token, TokenError};
pub use routes::STATE_PATH;
pub use state::{Console, ConsoleError, Settings};

impl Console {
    /// Serves on `listener` until `stop` is ready and requests under way have ended.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        server::run(listener, routes::router(self), stop).await;
    }
}
