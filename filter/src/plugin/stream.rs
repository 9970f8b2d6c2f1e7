//! What is kept of one intercepted request, and of the call that is made for it.

use crate::decision::canary::Canary;
use crate::decision::cohort::CohortMatch;
use crate::decision::exchange::Exchange;
use crate::decision::uploads::UploadId;

/// What is known of one intercepted request.
#[derive(Debug)]
pub struct Stream {
    pub(super) exchange: Exchange,
    pub(super) upload: Option<Upload>,
    pub(super) canary: Option<Box<CanaryStream>>,
    /// The response ends with trailers.
    pub(super) trailers: bool,
}

/// The copy of a request whose body is coming.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) id: UploadId,
    /// Longest body that is copied, in bytes.
    pub(super) limit: usize,
    /// The user is looked for in the body; what the headers say of cohorts.
    pub(super) identity: Option<CohortMatch>,
}

/// A request of a canary user, or of one who may be a canary user, which the body decides.
#[derive(Debug)]
pub(super) struct CanaryStream {
    pub(super) canary: Canary,
    /// Of the call to the scorer, but for the bucket, as [`crate::pairs::write`] writes them.
    pub(super) call_headers: Vec<u8>,
}

/// A call for a canary user that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveCall {
    pub(super) token: u32,
    /// The stream that it is for, which may be gone by the time the response comes.
    pub stream: u32,
    pub(super) at_ns: u64,
}

impl Stream {
    /// Request and response have passed whole.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.exchange.complete() && self.canary.as_ref().is_none_or(|canary| !canary.canary.holds())
    }

    /// Records a piece of a request's body that is not needed, the last one if `end`. Returns `false`, having
    /// done nothing, if it is needed, or if its end is that of the exchange.
    pub const fn passes_unseen(&mut self, end: bool) -> bool {
        let unseen = self.upload.is_none() && self.canary.is_none() && !self.exchange.response_ended();
        if unseen && end {
            self.exchange.request_over();
        }
        unseen
    }

    /// Bytes of the application's response that wait.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.canary.as_ref().filter(|canary| canary.canary.holds()).map_or(0, |canary| canary.canary.waiting_bytes())
    }
}
