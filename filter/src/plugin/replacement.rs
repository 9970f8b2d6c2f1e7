//! How the application's response goes on, and a candidate's body in it.

use contract::headers;
use contract::names::Arm;

use super::host::{Map, Messages, Refused};
use crate::decision::baseline::BODY_HEADERS;

/// How a response goes on.
#[derive(Debug, PartialEq, Eq)]
pub enum Flow {
    /// As it is.
    Continue,
    /// It waits, and its body with it, until a call is over.
    Hold,
    /// With another body, by [`Replacement::apply`], and then it goes on.
    Replace(Box<Replacement>),
}

/// What replaces the body of a response that waits.
#[derive(Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The candidate's body, not encoded.
    pub body: Vec<u8>,
    /// The version of the model whose response it is.
    pub model_version: Option<Vec<u8>>,
    /// The response ends with trailers.
    pub trailers: bool,
}

impl Replacement {
    /// Puts the body in place, and makes the headers true of it. Where the host does not take the body, the
    /// application's response stays as it is.
    ///
    /// The host may call the filter within this, and be done with the stream when it returns: nothing of the filter's
    /// may be borrowed meanwhile.
    pub fn apply(&self, host: &impl Messages) {
        if self.put(host).is_err() {
            let _ = host.set_header(Map::Response, headers::ARM, Arm::Baseline.as_str().as_bytes());
        }
    }

    fn put(&self, host: &impl Messages) -> Result<(), Refused> {
        host.replace_response(&self.body)?;
        for name in BODY_HEADERS {
            let _ = host.remove_header(Map::Response, name.as_bytes());
            if self.trailers {
                let _ = host.remove_header(Map::ResponseTrailers, name.as_bytes());
            }
        }
        let _ = if self.trailers {
            // With a length HTTP/1.1 has no trailers.
            host.remove_header(Map::Response, b"content-length")
        } else {
            host.set_header(Map::Response, "content-length", self.body.len().to_string().as_bytes())
        };
        let _ = host.set_header(Map::Response, headers::ARM, Arm::Candidate.as_str().as_bytes());
        if let Some(version) = &self.model_version {
            let _ = host.set_header(Map::Response, headers::MODEL_VERSION, version);
        }
        Ok(())
    }
}
