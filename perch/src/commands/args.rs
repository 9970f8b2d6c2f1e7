//! How values of arguments are read that several commands take.

use contract::share::Share;

/// A share: percents of the users, or `off`.
pub(crate) fn share(text: &str) -> Result<Share, String> {
    if text == "off" { Ok(Share::OFF) } else { Share::from_percent(text).map_err(|error| error.to_string()) }
}

/// `90s`, `45m`, `2h`, `7d` in milliseconds.
pub(crate) fn span_ms(text: &str) -> Result<u64, String> {
    let fault = || format!("{text:?} is no span of time: give e.g. 90s, 45m, 2h or 7d");
    let unit = text.chars().last().ok_or_else(fault)?;
    let ms = match unit {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return Err(fault()),
    };
    let count: u64 = text.strip_suffix(unit).and_then(|count| count.parse().ok()).ok_or_else(fault)?;
    count.checked_mul(ms).ok_or_else(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_a_wrong_one_is_named() {
        assert_eq!(span_ms("90s"), Ok(90_000));
        assert_eq!(span_ms("2h"), Ok(7_200_000));
        for wrong in ["", "h", "2", "2 h", "-1h", "2w", "99999999999999999999d", "5€"] {
            assert!(span_ms(wrong).unwrap_err().contains("2h"), "{wrong}");
        }
    }
}
