//! The one table of what is served where.
//!
//! A module that serves something hands out its [`Route`]s and is named in [`Routes::new`]; nothing else decides what a
//! path means. Metrics name a route by its name, never by a path that a client made up.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use contract::headers;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use super::answer::Answer;
use super::app::App;
use super::error::HttpError;
use super::{analysis, body, evidence, feedback, health, ml_v2, observations, operator, suggestions, training};
use crate::decode;
use crate::settings::Settings;

/// What a handler returns.
pub type Handled = Pin<Box<dyn Future<Output = Result<Answer, HttpError>> + Send>>;

/// One route.
#[derive(Debug, Clone)]
pub struct Route {
    method: Method,
    path: String,
    name: &'static str,
    handler: fn(Call) -> Handled,
}

impl Route {
    /// `GET path`; `name` is its label in metrics.
    pub fn get(path: impl Into<String>, name: &'static str, handler: fn(Call) -> Handled) -> Self {
        Self { method: Method::GET, path: path.into(), name, handler }
    }

    /// `POST path`; `name` is its label in metrics.
    pub fn post(path: impl Into<String>, name: &'static str, handler: fn(Call) -> Handled) -> Self {
        Self { method: Method::POST, path: path.into(), name, handler }
    }
}

/// A request on its way into a handler. Its body is read by the handler, with a bound.
#[derive(Debug)]
pub struct Call {
    /// The program.
    pub app: Arc<App>,
    /// Method, path and headers.
    pub head: Parts,
    body: Incoming,
}

impl Call {
    /// The body as it came, at most `limit` bytes.
    ///
    /// # Errors
    /// 413, 408, or 400 when the connection broke.
    pub async fn bytes(&mut self, limit: usize) -> Result<Bytes, HttpError> {
        self.bytes_within(limit, Duration::MAX).await
    }

    /// The body as it came, at most `limit` bytes, within `patience` or the listener's own limit, whichever is shorter.
    ///
    /// # Errors
    /// As [`Call::bytes`].
    async fn bytes_within(&mut self, limit: usize, patience: Duration) -> Result<Bytes, HttpError> {
        body::read(&mut self.body, limit, self.app.settings.server.read_timeout.min(patience)).await
    }

    /// The body without its content-encoding, at most `limit` bytes before and after.
    ///
    /// # Errors
    /// As [`Call::bytes`], and 400 or 415 when it cannot be unpacked.
    pub async fn decoded(&mut self, limit: usize) -> Result<Bytes, HttpError> {
        self.decoded_within(limit, Duration::MAX).await
    }

    /// As [`Call::decoded`], with less time for the client to send it.
    ///
    /// # Errors
    /// As [`Call::decoded`].
    pub async fn decoded_within(&mut self, limit: usize, patience: Duration) -> Result<Bytes, HttpError> {
        let packed = self.bytes_within(limit, patience).await?;
        match body::encoding(&self.head) {
            contract::frame::Encoding::Identity => Ok(packed),
            encoding => match decode::decode(encoding, &packed, limit).await {
                Ok(unpacked) => Ok(unpacked.into_owned().into()),
                Err(fault) => {
                    let failures = &self.app.metrics.decode_failures;
                    failures.with_label_values(&[decode::name(encoding), fault.as_str()]).inc();
                    Err(fault.into())
                }
            },
        }
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// As [`Call::decoded`], and 400 when it is not of the shape.
    pub async fn json<T: DeserializeOwned>(&mut self, limit: usize) -> Result<T, HttpError> {
        let body = self.decoded(limit).await?;
        serde_json::from_slice(&body)
            .map_err(|error| HttpError::bad_request(format!("the body cannot be used: {error}")))
    }
}

/// The table.
#[derive(Debug)]
pub struct Routes {
    routes: Vec<Route>,
}

impl Routes {
    /// All routes of the scorer.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let mut routes = Vec::new();
        routes.extend(suggestions::routes(&settings.intercept_path));
        routes.extend(observations::routes());
        routes.extend(analysis::routes());
        routes.extend(evidence::routes());
        routes.extend(feedback::routes());
        routes.extend(ml_v2::routes());
        routes.extend(training::routes());
        routes.extend(health::routes());
        Self { routes }
    }

    /// Answers a request: every answer, errors included, says that the scorer made it.
    pub async fn answer(&self, app: Arc<App>, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let metrics = Arc::clone(&app.metrics);
        let (name, result) = match self.find(&head) {
            Ok(route) => {
                let asked_for = operator::is_asked_for(route.name, &route.method);
                let admitted = if asked_for { operator::check(app.settings.token.as_ref(), &head) } else { Ok(()) };
                match admitted {
                    Ok(()) => (route.name, (route.handler)(Call { app: Arc::clone(&app), head, body }).await),
                    Err(refused) => (route.name, Err(refused)),
                }
            }
            Err(error) => ("none", Err(error)),
        };
        let mut answer = result.unwrap_or_else(|error| {
            app.quiet.error(name, &error);
            error.into_answer()
        });
        answer.headers_mut().insert(HeaderName::from_static(headers::SCORER), HeaderValue::from_static("1"));
        metrics.http_answers.with_label_values(&[name, answer.status().as_str()]).inc();
        answer
    }

    fn find(&self, head: &Parts) -> Result<&Route, HttpError> {
        let path = head.uri.path();
        let here = || self.routes.iter().filter(|route| route.path == path);
        if let Some(route) = here().find(|route| route.method == head.method) {
            return Ok(route);
        }
        let allowed: Vec<&str> = here().map(|route| route.method.as_str()).collect();
        Err(if allowed.is_empty() {
            HttpError::not_found("there is nothing at this path")
        } else {
            HttpError::wrong_method(&allowed.join(", "))
        })
    }
}
