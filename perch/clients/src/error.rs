//! Errors of calls, and an error printed with its causes.

/// A call that failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The HTTP client could not be made.
    #[error("making an HTTP client")]
    Setup(#[source] reqwest::Error),
    /// The address of the program cannot be used.
    #[error("{url:?} is not the address of a program: give one as http://127.0.0.1:9901")]
    Address {
        /// The address as it was given.
        url: String,
        /// The fault.
        source: reqwest::Error,
    },
    /// There is no response.
    #[error("calling {url}")]
    Request {
        /// What was called.
        url: String,
        /// Why there is none.
        source: reqwest::Error,
    },
    /// The response is not the one that is wanted.
    #[error("{url} responded {what}")]
    Response {
        /// What was called.
        url: String,
        /// What it responded.
        what: String,
    },
}

/// An error with its causes, outermost first, in one line.
#[must_use]
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
