//! Time spans as people write them: a whole number and a unit, `30s`, `15m`, `6h`, `2 d`. The rollout plan and every
//! option of `perch` that takes a time span use this grammar.

use std::str::FromStr;

/// The grammar as a rule, for errors that name the field or option themselves.
pub const RULE: &str = "it must be a whole number and a unit, e.g. 30s, 15m, 6h or 2d";

/// A time span in whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeSpan(u64);

/// Text that is not a time span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time span: {RULE}")]
pub struct TimeSpanError(String);

impl TimeSpan {
    /// The time span in milliseconds.
    #[must_use]
    pub const fn as_ms(self) -> u64 {
        self.0
    }
}

impl FromStr for TimeSpan {
    type Err = TimeSpanError;

    fn from_str(text: &str) -> Result<Self, TimeSpanError> {
        let fault = || TimeSpanError(text.to_owned());
        let digits = text.trim().trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match text.trim().get(digits.len()..) {
            Some("s") => 1_000,
            Some("m") => 60_000,
            Some("h") => 3_600_000,
            Some("d") => 86_400_000,
            _ => return Err(fault()),
        };
        let digits = digits.trim_end();
        // `u64` would also accept a sign.
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(fault());
        }
        let count: u64 = digits.parse().map_err(|_| fault())?;
        count.checked_mul(unit).map(Self).ok_or_else(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_span_is_read_with_its_unit() {
        for (text, ms) in [
            ("0s", 0),
            ("30s", 30_000),
            ("90m", 5_400_000),
            ("6h", 21_600_000),
            ("2d", 172_800_000),
            ("2 d", 172_800_000),
            (" 7d ", 604_800_000),
            ("5000000000s", 5_000_000_000_000),
        ] {
            assert_eq!(text.parse::<TimeSpan>().unwrap().as_ms(), ms);
        }
    }

    #[test]
    fn anything_else_is_named_in_the_error_with_the_rule() {
        for bad in
            ["", "5", "h", "1.5h", "-1s", "+1s", "5 weeks", "2w", "5€", "99999999999999999999d", "18446744073709552s"]
        {
            let error = bad.parse::<TimeSpan>().unwrap_err().to_string();
            assert!(error.contains(bad) && error.contains("6h"), "{error}");
        }
    }
}
