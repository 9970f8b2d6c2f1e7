//! A log of failed requests with a rate limit: one line a second for each route and reason.
//!
//! What fails under load fails thousands of times a second, in one way. The first failure of a second is logged with
//! its cause; the others are counted, and their number is the field `suppressed` of the next line.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::HttpError;

/// Time between two lines of one kind.
const INTERVAL: Duration = Duration::from_secs(1);

/// Remembers when each kind of failure was last logged.
#[derive(Debug, Default)]
pub(super) struct RateLimitedLog {
    last: Mutex<HashMap<Kind, LastLine>>,
}

/// Route and reason.
type Kind = (&'static str, &'static str);

/// When a kind was last logged, and how many failures were suppressed since.
#[derive(Debug)]
struct LastLine {
    at: Instant,
    suppressed: u64,
}

impl RateLimitedLog {
    /// Logs `error` of `route` if it has a cause that the client is not told.
    pub(super) fn request_failed(&self, route: &'static str, error: &HttpError) {
        let Some(cause) = &error.cause else { return };
        let Some(suppressed) = self.admit((route, error.reason), Instant::now()) else { return };
        let (status, reason, message) = (error.status.as_u16(), error.reason, error.message.as_str());
        if error.status.is_server_error() {
            tracing::error!(route, status, reason, response = message, error = %cause, suppressed, "request_failed");
        } else {
            tracing::info!(route, status, reason, response = message, error = %cause, suppressed, "request_failed");
        }
    }

    /// Returns how many lines of `kind` were suppressed since its last one, or `None` if this one is to be suppressed.
    fn admit(&self, kind: Kind, now: Instant) -> Option<u64> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match last.get_mut(&kind) {
            Some(line) if now.saturating_duration_since(line.at) < INTERVAL => {
                line.suppressed = line.suppressed.saturating_add(1);
                None
            }
            Some(line) => {
                let suppressed = line.suppressed;
                *line = LastLine { at: now, suppressed: 0 };
                Some(suppressed)
            }
            None => {
                last.insert(kind, LastLine { at: now, suppressed: 0 });
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_becomes_one_line_a_second_with_the_number_of_suppressed_ones() {
        let log = RateLimitedLog::default();
        let start = Instant::now();
        assert_eq!(log.admit(("suggestions", "store"), start), Some(0));
        for _ in 0..500 {
            assert_eq!(log.admit(("suggestions", "store"), start + INTERVAL / 2), None);
        }
        assert_eq!(
            log.admit(("suggestions", "internal"), start + INTERVAL / 2),
            Some(0),
            "another reason has its own limit"
        );
        assert_eq!(log.admit(("suggestions", "store"), start + INTERVAL), Some(500));
        assert_eq!(log.admit(("suggestions", "store"), start + INTERVAL * 2), Some(0));
    }
}
