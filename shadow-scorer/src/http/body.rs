//! Request bodies, limited in size and time.

use std::time::Duration;

use bytes::Bytes;
use contract::frame::Encoding;
use http::StatusCode;
use http::header::CONTENT_ENCODING;
use http::request::Parts;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};

use super::error::HttpError;

/// Reads the whole body: at most `limit` bytes, within `patience`.
///
/// # Errors
/// 413, 408, or 400 if the client's connection breaks.
pub(super) async fn read(body: &mut Incoming, limit: usize, patience: Duration) -> Result<Bytes, HttpError> {
    // A body that the head announces as too large is refused before any of it is read.
    let announced = body.size_hint().lower();
    if announced > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(HttpError::too_large(limit));
    }
    match tokio::time::timeout(patience, Limited::new(body, limit).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(HttpError::too_large(limit)),
        Ok(Err(error)) => {
            Err(HttpError::bad_request("the connection broke before the body was complete").because(error))
        }
        Err(_) => Err(HttpError::new(StatusCode::REQUEST_TIMEOUT, "slow", "the body did not arrive in time")),
    }
}

/// The content-encoding of the body; several headers count as an unknown one.
#[must_use]
pub(super) fn encoding(head: &Parts) -> Encoding {
    let mut values = head.headers.get_all(CONTENT_ENCODING).iter();
    match (values.next(), values.next()) {
        (None, _) => Encoding::Identity,
        (Some(value), None) => Encoding::from_header(Some(value.as_bytes())),
        (Some(_), Some(_)) => Encoding::Unknown,
    }
}
