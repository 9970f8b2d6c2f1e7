//! Moments as people and Alertmanager write them. Always UTC, so that two operators read one audit log alike.

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime};
use jiff::fmt::temporal::Pieces;

/// The time that milliseconds are counted from.
const EPOCH: DateTime = Date::constant(1970, 1, 1).at(0, 0, 0, 0);

/// RFC 3339 to milliseconds since 1970; `None` for any other text, and for years before 1970.
pub(super) fn parse(text: &str) -> Option<u64> {
    let pieces = Pieces::parse(text).ok()?;
    let local = pieces.date().to_datetime(pieces.time()?);
    let offset = SignedDuration::from_secs(pieces.to_numeric_offset()?.seconds().into());
    u64::try_from((local.duration_since(EPOCH) - offset).as_millis()).ok()
}

fn civil(ms: u64) -> DateTime {
    EPOCH.saturating_add(SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX)))
}

/// `2026-11-25 02:30:05`, without a zone since all are UTC.
pub(super) fn stamp(ms: u64) -> String {
    civil(ms).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// `02:30`.
pub(super) fn time_of_day(ms: u64) -> String {
    civil(ms).strftime("%H:%M").to_string()
}

/// `25 Nov`.
pub(super) fn day(ms: u64) -> String {
    civil(ms).strftime("%-d %b").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn moments_are_read_and_written() {
        assert_eq!(parse("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(parse("2026-11-25T02:30:05.123456Z"), Some(1_795_573_805_123));
        assert_eq!(parse("2026-11-25T04:30:05+02:00"), Some(1_795_573_805_000));
        assert_eq!(stamp(1_795_573_805_123), "2026-11-25 02:30:05");
        assert_eq!((day(1_795_573_805_123).as_str(), time_of_day(1_795_573_805_123).as_str()), ("25 Nov", "02:30"));
        for wrong in [
            "",
            "2026-11-25",
            "2026-13-25T02:30:05Z",
            "2026-11-25T02:30:05",
            "2026-11-25T02:30:05.Z",
            "0001-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(seconds in 0_u64..253_402_300_800) {
            let text = stamp(seconds * 1_000).replace(' ', "T") + "Z";
            prop_assert_eq!(parse(&text), Some(seconds * 1_000));
        }

        #[test]
        fn no_text_breaks_it(text in "\\PC*") {
            parse(&text);
        }
    }
}
