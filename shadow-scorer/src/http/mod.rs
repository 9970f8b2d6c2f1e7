//! The scorer's HTTP side: one port for HTTP/1.1 and h2c, one table of routes, errors as clients see them.

mod analysis;
mod answer;
mod app;
mod body;
mod error;
mod evidence;
mod feedback;
mod health;
mod ml_v2;
mod observations;
mod operator;
mod quiet;
mod routes;
mod server;
mod suggestions;
mod training;
mod upkeep;

pub use answer::{Answer, answer, json_answer};
pub use app::{App, StartError};
pub use error::HttpError;
pub use routes::{Call, Handled, Route, Routes};
pub use server::{bind, serve};
