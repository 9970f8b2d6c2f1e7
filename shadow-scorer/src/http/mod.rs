//! The scorer's HTTP server: one port for HTTP/1.1 and h2c, one table of routes, errors as clients see them.

mod analysis;
mod app;
mod body;
mod call;
mod error;
mod evidence;
mod feedback;
mod feedback_joining;
mod health;
mod ml_v2;
mod observations;
mod operator;
mod rate_limited_log;
mod response;
mod retraining;
mod routes;
mod server;
mod suggestions;
mod time;
mod training;
mod upkeep;

pub use app::{App, StartError};
pub use call::{Call, HandlerFuture, Route};
pub use error::HttpError;
pub use response::{Response, json_response, response};
pub use routes::Routes;
pub use server::serve;
