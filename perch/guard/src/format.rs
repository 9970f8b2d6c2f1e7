//! Numbers and durations formatted for people.

/// A share in percent with one decimal, two below one percent: `86.1 %`, `0.25 %`.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent != 0.0 && percent.abs() < 1.0 { format!("{percent:.2} %") } else { format!("{percent:.1} %") }
}

/// A difference of two shares in percentage points: `-2.3 points`.
pub(crate) fn points(difference: f64) -> String {
    format!("{:+.1} points", difference * 100.0)
}

/// A count without decimals.
pub(crate) fn count(count: f64) -> String {
    format!("{count:.0}")
}

/// A duration in at most two units: `3 h 20 min`.
pub(crate) fn span(ms: u64) -> String {
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
    fn numbers_are_formatted_with_their_units() {
        assert_eq!(percent(0.8612), "86.1 %");
        assert_eq!(percent(0.0025), "0.25 %");
        assert_eq!(percent(0.0), "0.0 %");
        assert_eq!(points(-0.0234), "-2.3 points");
        assert_eq!(span(90_000), "90 s");
        assert_eq!(span(12_000_000), "3 h 20 min");
        assert_eq!(span(200_000_000), "2 d 7 h");
    }
}
