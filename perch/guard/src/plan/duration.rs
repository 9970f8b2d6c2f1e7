//! A time span in a plan: a whole number and a unit, `30s`, `15m`, `6h`, `2d`.

use std::str::FromStr;

/// A whole number of milliseconds that a plan writes with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Duration(u64);

/// Text that is no time span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time span: give a whole number and a unit, e.g. 30s, 15m, 6h or 2d")]
pub(super) struct NotADuration(String);

impl Duration {
    /// In milliseconds.
    #[must_use]
    pub(super) const fn as_ms(self) -> u64 {
        self.0
    }
}

impl FromStr for Duration {
    type Err = NotADuration;

    fn from_str(text: &str) -> Result<Self, NotADuration> {
        let fault = || NotADuration(text.to_owned());
        let digits = text.trim().trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match text.trim().get(digits.len()..) {
            Some("s") => 1_000,
            Some("m") => 60_000,
            Some("h") => 3_600_000,
            Some("d") => 86_400_000,
            _ => return Err(fault()),
        };
        let count: u32 = digits.trim_end().parse().map_err(|_| fault())?;
        Ok(Self(u64::from(count) * unit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_with_their_unit() {
        for (text, ms) in [("0s", 0), ("30s", 30_000), ("15m", 900_000), ("6h", 21_600_000), ("2 d", 172_800_000)] {
            assert_eq!(text.parse::<Duration>().unwrap().as_ms(), ms);
        }
        for bad in ["", "5", "h", "1.5h", "-1s", "5 weeks", "99999999999s"] {
            assert!(bad.parse::<Duration>().unwrap_err().to_string().contains(bad));
        }
    }
}
