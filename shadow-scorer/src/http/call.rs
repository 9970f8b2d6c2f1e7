//! A route, and a request on its way into the route's handler.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::request::Parts;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use super::app::App;
use super::body;
use super::error::HttpError;
use super::response::Response;
use crate::decode;

/// The future that a handler returns.
pub type HandlerFuture = Pin<Box<dyn Future<Output = Result<Response, HttpError>> + Send>>;

/// One route.
#[derive(Debug, Clone)]
pub struct Route {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) name: &'static str,
    pub(super) handler: fn(Call) -> HandlerFuture,
}

impl Route {
    /// `GET path`; `name` is its label in metrics.
    pub fn get(path: impl Into<String>, name: &'static str, handler: fn(Call) -> HandlerFuture) -> Self {
        Self { method: Method::GET, path: path.into(), name, handler }
    }

    /// `POST path`; `name` is its label in metrics.
    pub fn post(path: impl Into<String>, name: &'static str, handler: fn(Call) -> HandlerFuture) -> Self {
        Self { method: Method::POST, path: path.into(), name, handler }
    }
}

/// A request for a handler, which reads the body with a limit.
#[derive(Debug)]
pub struct Call {
    /// The parts of the program.
    pub app: Arc<App>,
    /// Method, path and headers.
    pub head: Parts,
    pub(super) body: Incoming,
}

impl Call {
    /// Reads the body without decompressing it, at most `limit` bytes.
    ///
    /// # Errors
    /// 413, 408, or 400 if the connection breaks.
    pub async fn bytes(&mut self, limit: usize) -> Result<Bytes, HttpError> {
        self.bytes_within(limit, Duration::MAX).await
    }

    /// As [`Call::bytes`], within `patience` or the listener's own limit, whichever is shorter.
    ///
    /// # Errors
    /// As [`Call::bytes`].
    async fn bytes_within(&mut self, limit: usize, patience: Duration) -> Result<Bytes, HttpError> {
        body::read(&mut self.body, limit, self.app.settings.server.read_timeout.min(patience)).await
    }

    /// Reads and decompresses the body, at most `limit` bytes before and after.
    ///
    /// # Errors
    /// As [`Call::bytes`], and 400 or 415 if it cannot be decompressed.
    pub async fn decoded(&mut self, limit: usize) -> Result<Bytes, HttpError> {
        self.decoded_within(limit, Duration::MAX).await
    }

    /// As [`Call::decoded`], with less time for the client to send the body.
    ///
    /// # Errors
    /// As [`Call::decoded`].
    pub async fn decoded_within(&mut self, limit: usize, patience: Duration) -> Result<Bytes, HttpError> {
        let encoded = self.bytes_within(limit, patience).await?;
        match body::encoding(&self.head) {
            contract::frame::Encoding::Identity => Ok(encoded),
            encoding => match decode::decode(encoding, &encoded, limit).await {
                Ok(decoded) => Ok(decoded.into_owned().into()),
                Err(fault) => {
                    let failures = &self.app.metrics.decode_failures;
                    failures.with_label_values(&[decode::name(encoding), fault.as_str()]).inc();
                    Err(fault.into())
                }
            },
        }
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    /// As [`Call::decoded`], and 400 if it does not have the shape of `T`.
    pub async fn json<T: DeserializeOwned>(&mut self, limit: usize) -> Result<T, HttpError> {
        let body = self.decoded(limit).await?;
        serde_json::from_slice(&body)
            .map_err(|error| HttpError::bad_request(format!("the body is not the expected JSON: {error}")))
    }
}
