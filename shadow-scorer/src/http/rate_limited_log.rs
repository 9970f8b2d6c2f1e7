//! The log of errors, once a second for each route and reason.
//!
//! What fails under load fails thousands of times a second, in one way. The first of a second is written in full, with
//! its cause; the others are counted and named with the next one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::HttpError;

const EVERY: Duration = Duration::from_secs(1);

/// Remembers when what was last written.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    last: Mutex<HashMap<Kind, Written>>,
}

/// Route and reason.
type Kind = (&'static str, &'static str);

/// When a line was last written, and how many had no turn since.
#[derive(Debug)]
struct Written {
    at: Instant,
    others: u64,
}

impl Quiet {
    /// Writes `error` of `route`, if it has a cause that the log should keep.
    pub(super) fn error(&self, route: &'static str, error: &HttpError) {
        let Some(cause) = &error.cause else { return };
        let Some(others) = self.turn((route, error.reason), Instant::now()) else { return };
        let others = if others == 0 { String::new() } else { format!(" ({others} like it since the last line)") };
        if error.status.is_server_error() {
            log::error!("{route} answered {}: {}: {cause}{others}", error.status.as_u16(), error.message);
        } else {
            log::info!("{route} answered {}: {}: {cause}{others}", error.status.as_u16(), error.message);
        }
    }

    /// Is it this one's turn, and how many had none since the last? `None` if not.
    fn turn(&self, kind: Kind, now: Instant) -> Option<u64> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match last.get_mut(&kind) {
            Some(written) if now.saturating_duration_since(written.at) < EVERY => {
                written.others = written.others.saturating_add(1);
                None
            }
            Some(written) => {
                let others = written.others;
                *written = Written { at: now, others: 0 };
                Some(others)
            }
            None => {
                last.insert(kind, Written { at: now, others: 0 });
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_becomes_a_line_a_second_that_says_how_many_there_were() {
        let quiet = Quiet::default();
        let start = Instant::now();
        assert_eq!(quiet.turn(("suggestions", "store"), start), Some(0));
        for _ in 0..500 {
            assert_eq!(quiet.turn(("suggestions", "store"), start + EVERY / 2), None);
        }
        assert_eq!(quiet.turn(("suggestions", "internal"), start + EVERY / 2), Some(0), "another reason has its own");
        assert_eq!(quiet.turn(("suggestions", "store"), start + EVERY), Some(500));
        assert_eq!(quiet.turn(("suggestions", "store"), start + EVERY * 2), Some(0));
    }
}
