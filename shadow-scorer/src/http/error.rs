//! Errors as clients see them, and their causes for the log.
//!
//! Each internal error becomes a status, a reason from a closed set and one public sentence. Its cause goes to the log,
//! at most once a second for each route and reason ([`super::rate_limited_log`]).

use std::error::Error;

use contract::headers;
use contract::names::Unavailable;
use http::StatusCode;
use http::header::{ALLOW, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use serde_json::json;

use super::response::{Response, json_response};
use crate::decode::DecodeFault;
use crate::feedback::{BadFeedback, FeedbackError, TrainError};
use crate::model::{ChangeError, LockError, PredictError};
use crate::store::StoreError;
use crate::suggestions::BadRequest;

/// An HTTP error: a public message and a logged cause.
#[derive(Debug)]
pub struct HttpError {
    /// The status.
    pub status: StatusCode,
    /// A value from a closed set, for programs.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
    /// The cause, for the log only; clients never see it.
    pub cause: Option<Box<dyn Error + Send + Sync>>,
    unavailable: Option<Unavailable>,
    allowed: Option<String>,
}

impl HttpError {
    /// An error without a cause beyond the request itself.
    pub fn new(status: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { status, reason, message: message.into(), cause: None, unavailable: None, allowed: None }
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 405, with the allowed methods.
    pub fn wrong_method(allowed: &str) -> Self {
        let message = format!("this path accepts {allowed} only");
        Self { allowed: Some(allowed.to_owned()), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", message) }
    }

    /// 413, with the limit in bytes.
    pub fn too_large(limit: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", format!("the body has more than {limit} bytes"))
    }

    /// 503, with the reason in a header that the filter reads.
    pub fn unavailable(why: Unavailable) -> Self {
        let message = match why {
            Unavailable::NoModel => "no model is loaded: train one with `make ml-train`",
            Unavailable::Store => "the store did not return the transactions in time",
            Unavailable::Overloaded => "too many requests are in progress: try again later",
            Unavailable::Role => "this scorer does not serve this: see its --role",
        };
        Self { unavailable: Some(why), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, why.as_str(), message) }
    }

    /// 500 with a cause for the log.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let message = "the scorer failed: its log says why";
        Self { cause: Some(cause.into()), ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message) }
    }

    /// Adds the cause, for the log.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The response.
    #[must_use]
    pub fn into_response(self) -> Response {
        let mut response = json_response(self.status, &json!({ "error": self.message, "reason": self.reason }));
        let head = response.headers_mut();
        if let Some(why) = self.unavailable {
            head.insert(HeaderName::from_static(headers::UNAVAILABLE), HeaderValue::from_static(why.as_str()));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            head.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(allowed) = self.allowed.and_then(|allowed| HeaderValue::try_from(allowed).ok()) {
            head.insert(ALLOW, allowed);
        }
        response
    }
}

impl From<StoreError> for HttpError {
    fn from(error: StoreError) -> Self {
        let mut public = Self::unavailable(Unavailable::Store);
        // The database's message is for the log only: it may name places and statements.
        match &error {
            StoreError::Late { .. } | StoreError::Away { .. } => {}
            StoreError::ReadOnly { .. } => {
                public.message = "the store takes no writes at present: the scorer's log says why".into()
            }
            StoreError::Full { .. } => {
                public.message = "the store has no space left: the scorer's log says where".into()
            }
            StoreError::Failed { .. } => {
                public.message = "the store refused the operation: the scorer's log says why".into();
            }
            _ => public.message = "the store cannot be reached: the scorer's log says why".into(),
        }
        public.because(error)
    }
}

impl From<PredictError> for HttpError {
    fn from(error: PredictError) -> Self {
        Self::internal(error)
    }
}

impl From<BadRequest> for HttpError {
    fn from(error: BadRequest) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<BadFeedback> for HttpError {
    fn from(error: BadFeedback) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<FeedbackError> for HttpError {
    fn from(error: FeedbackError) -> Self {
        match error {
            FeedbackError::NoTransaction(_) => Self::not_found(error.to_string()),
            FeedbackError::OtherTransaction(_) | FeedbackError::UnknownLabel { .. } => {
                Self::bad_request(error.to_string())
            }
            FeedbackError::OtherUser => Self::new(StatusCode::FORBIDDEN, "other_user", error.to_string()),
            FeedbackError::TooMany(_) => Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many", error.to_string()),
            FeedbackError::NoRoom => Self { message: error.to_string(), ..Self::unavailable(Unavailable::Overloaded) },
            FeedbackError::Store(error) => error.into(),
        }
    }
}

impl From<TrainError> for HttpError {
    fn from(error: TrainError) -> Self {
        match error {
            TrainError::Busy => Self::new(StatusCode::CONFLICT, "busy", error.to_string()),
            TrainError::NoData(_) => Self::new(StatusCode::BAD_REQUEST, "no_data", error.to_string()),
            TrainError::Late(_) => Self::new(StatusCode::GATEWAY_TIMEOUT, "late", error.to_string()),
            TrainError::Store(error) => error.into(),
            // Paths on this machine are for the log only.
            TrainError::NotSetUp { .. } => {
                let message = "the training environment is not installed: run `setup/run training`";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "not_set_up", message).because(error)
            }
            TrainError::ReadOnly { ref source, .. } => {
                let message = format!(
                    "the registry's folder cannot be written ({}), so nothing was trained: train where it can be written",
                    source.kind()
                );
                Self::new(StatusCode::CONFLICT, "registry", message).because(error)
            }
            TrainError::Stopped => Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopped", error.to_string()),
            TrainError::Failed { .. } | TrainError::Unreadable | TrainError::Export(_) | TrainError::Folder { .. } => {
                let message = "the training failed: the scorer's log says why";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", message).because(error)
            }
        }
    }
}

impl From<DecodeFault> for HttpError {
    fn from(fault: DecodeFault) -> Self {
        match fault {
            DecodeFault::TooLarge(limit) => Self::too_large(limit),
            DecodeFault::Corrupt => Self::bad_request(fault.to_string()),
            DecodeFault::Unsupported => Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "encoding", fault.to_string()),
        }
    }
}

impl From<ChangeError> for HttpError {
    fn from(error: ChangeError) -> Self {
        match &error {
            ChangeError::Refused { refusal, .. } => {
                Self::new(StatusCode::CONFLICT, refusal.reason(), error.to_string())
            }
            ChangeError::Policy { .. } => Self::new(StatusCode::CONFLICT, "policy", error.to_string()),
            ChangeError::NoPrevious => Self::new(StatusCode::CONFLICT, "no_previous", error.to_string()),
            // Paths on this machine are for the log only.
            ChangeError::Lock(LockError::Held { waited, .. }) => {
                let message = format!(
                    "the registry was locked for {waited:?}, so nothing was changed: another change is in progress, or \
                     a process that holds the lock is stopped; the scorer's log names the lock file"
                );
                Self::new(StatusCode::CONFLICT, "locked", message).because(error)
            }
            ChangeError::Lock(LockError::Abandoned) => Self::new(StatusCode::CONFLICT, "abandoned", error.to_string()),
            ChangeError::Folder { source, .. } | ChangeError::Lock(LockError::Folder(source)) => {
                let message = format!(
                    "the registry's folder cannot be written ({}), so nothing was changed: change the alias on a \
                     machine that can write it, and every scorer that reads the folder follows",
                    source.kind()
                );
                Self::new(StatusCode::CONFLICT, "registry", message).because(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    async fn text(error: HttpError) -> String {
        let body = error.into_response().into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn the_cause_is_not_shown() {
        let error = HttpError::internal("password=hunter2");
        assert_eq!(error.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(error.cause.as_ref().is_some_and(|cause| cause.to_string().contains("hunter2")));
        assert!(!text(error).await.contains("hunter2"));
    }

    #[tokio::test]
    async fn the_reason_is_in_a_header_for_the_filter_and_in_the_body_for_people() {
        let error = HttpError::unavailable(Unavailable::NoModel);
        let response = error.into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()["x-perch-unavailable"], "no_model");
        let text = text(HttpError::unavailable(Unavailable::NoModel)).await;
        assert!(text.contains("make ml-train") && text.contains("\"reason\":\"no_model\""), "{text}");
    }

    #[test]
    fn a_wrong_method_names_the_allowed_ones() {
        assert_eq!(HttpError::wrong_method("GET, POST").into_response().headers()[ALLOW], "GET, POST");
    }
}
