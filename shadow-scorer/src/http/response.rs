//! Responses with whole bodies, since none of the scorer's is long.

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body_util::Full;
use serde::Serialize;

/// A response with its whole body.
pub type Response = http::Response<Full<Bytes>>;

/// A response of any content type.
#[must_use]
pub fn response(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = http::Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A response in JSON.
#[must_use]
pub fn json_response(status: StatusCode, document: &impl Serialize) -> Response {
    match serde_json::to_vec(document) {
        Ok(body) => response(status, "application/json", body),
        Err(error) => {
            // Only a map whose keys are not strings, or a failing serializer of ours, leads here.
            tracing::error!(%error, "response_not_serialized");
            response(StatusCode::INTERNAL_SERVER_ERROR, "application/json", r#"{"error":"the scorer failed"}"#)
        }
    }
}
