//! Numbers in words.

use contract::percent::Percent;

/// A share as [`Percent`] writes it.
#[must_use]
pub fn percent(share: f64) -> String {
    Percent(share).to_string()
}

/// A difference of shares in points: `-2.3 points`.
#[must_use]
pub fn points(difference: f64) -> String {
    format!("{:+.1} points", difference * 100.0)
}

/// A count without decimals.
#[must_use]
pub fn count(count: f64) -> String {
    format!("{count:.0}")
}

/// A time span, in its largest whole unit but one: `3 h 20 min`.
#[must_use]
pub fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(percent(0.8612), "86.1%");
        assert_eq!(percent(0.0025), "0.25%");
        assert_eq!(percent(0.0), "0.0%");
        assert_eq!(points(-0.0234), "-2.3 points");
        assert_eq!(span(90_000), "90 s");
        assert_eq!(span(12_000_000), "3 h 20 min");
        assert_eq!(span(200_000_000), "2 d 7 h");
    }
}
