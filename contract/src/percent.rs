//! How every program writes a percentage: without a blank before the sign, as `perch canary set 10%` reads it.

use std::fmt;

/// A share from 0 to 1, written as a percentage. `{:.2}` gives two decimals; without a precision there is one, and
/// two below one percent: `86.1%`, `0.25%`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Percent(pub f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.0 * 100.0;
        let usual = if percent != 0.0 && percent.abs() < 1.0 { 2 } else { 1 };
        write!(f, "{percent:.*}%", f.precision().unwrap_or(usual))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_shares_get_a_second_decimal_unless_a_precision_is_given() {
        let written = [0.8612, 0.0025, 0.0, 1.0].map(|share| Percent(share).to_string());
        assert_eq!(written, ["86.1%", "0.25%", "0.0%", "100.0%"]);
        assert_eq!((format!("{:.2}", Percent(0.1)), format!("{:.0}", Percent(0.004))), ("10.00%".into(), "0%".into()));
    }
}
