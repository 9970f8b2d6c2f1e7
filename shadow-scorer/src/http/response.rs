//! Answers: whole bodies, since nothing that the scorer says is long.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

/// An answer with its whole body.
pub type Answer = Response<Full<Bytes>>;

/// An answer of any kind.
#[must_use]
pub fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// An answer in JSON.
#[must_use]
pub fn json_answer(status: StatusCode, document: &impl Serialize) -> Answer {
    match serde_json::to_vec(document) {
        Ok(body) => answer(status, "application/json", body),
        Err(error) => {
            // Only a map with keys that are no strings or a serializer of ours that fails comes here.
            tracing::error!(%error, "response_not_serialized");
            answer(StatusCode::INTERNAL_SERVER_ERROR, "application/json", r#"{"error":"the scorer failed"}"#)
        }
    }
}
