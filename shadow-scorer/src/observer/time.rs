//! Converts durations and the clock to whole seconds (the store) and milliseconds (the wire).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `time` in whole seconds.
pub(super) fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// `time` in whole milliseconds.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Now, in seconds since 1970.
pub(super) fn seconds_now() -> i64 {
    seconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}
