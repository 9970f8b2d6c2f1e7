//! The routing table.
//!
//! Each module with handlers exports its [`Route`]s and is listed in [`Routes::new`]; nothing else gives a path a
//! meaning. Metrics use a route's name, never the path, which clients could make up.

use std::sync::Arc;

use contract::headers;
use contract::trace::{self, TraceId};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request};
use hyper::body::Incoming;
use tracing::{Instrument as _, Span};

use super::app::App;
use super::call::{Call, Route};
use super::error::HttpError;
use super::response::Response;
use super::{analysis, evidence, feedback, health, ml_v2, observations, operator, suggestions, training};
use crate::settings::Settings;

/// The routing table.
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

    /// Responds to a request. Every response, errors included, says that the scorer made it, and what is logged
    /// meanwhile carries the request's trace id.
    pub async fn respond(&self, app: Arc<App>, request: Request<Incoming>) -> Response {
        let (head, body) = request.into_parts();
        let span = request_span(&head);
        self.handle(app, head, body).instrument(span).await
    }

    async fn handle(&self, app: Arc<App>, head: Parts, body: Incoming) -> Response {
        let metrics = Arc::clone(&app.metrics);
        let (name, result) = match self.find(&head) {
            Ok(route) => {
                let protected = operator::requires_token(route.name, &route.method);
                let authorized = if protected { operator::check(app.settings.token.as_ref(), &head) } else { Ok(()) };
                match authorized {
                    Ok(()) => (route.name, (route.handler)(Call { app: Arc::clone(&app), head, body }).await),
                    Err(refused) => (route.name, Err(refused)),
                }
            }
            Err(error) => ("none", Err(error)),
        };
        let mut response = result.unwrap_or_else(|error| {
            app.failures.request_failed(name, &error);
            error.into_response()
        });
        response.headers_mut().insert(HeaderName::from_static(headers::SCORER), HeaderValue::from_static("1"));
        metrics.http_responses.with_label_values(&[name, response.status().as_str()]).inc();
        response
    }

    fn find(&self, head: &Parts) -> Result<&Route, HttpError> {
        let path = head.uri.path();
        let here = || self.routes.iter().filter(|route| route.path == path);
        if let Some(route) = here().find(|route| route.method == head.method) {
            return Ok(route);
        }
        let allowed: Vec<&str> = here().map(|route| route.method.as_str()).collect();
        Err(if allowed.is_empty() {
            HttpError::not_found("nothing is served at this path")
        } else {
            HttpError::wrong_method(&allowed.join(", "))
        })
    }
}

/// The span of a request with the id of its trace. Without a well-formed `traceparent`, or with several, there is none.
fn request_span(head: &Parts) -> Span {
    let mut values = head.headers.get_all(trace::TRACEPARENT).iter();
    let id = match (values.next(), values.next()) {
        (Some(value), None) => TraceId::from_traceparent(value.as_bytes()),
        _ => None,
    };
    // Of the highest level, so that no filter takes the id from a line that it lets through.
    id.map_or_else(Span::none, |id| tracing::error_span!("request", trace_id = id.as_str()))
}
