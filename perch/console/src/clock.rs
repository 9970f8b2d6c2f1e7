//! Moments as people and Alertmanager write them. Always UTC: two operators must not read one ledger differently.

/// Days from 1970-01-01 to a day of the proleptic Gregorian calendar (H. Hinnant, "chrono-compatible low-level date
/// algorithms", `days_from_civil`).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The day that is so many days after 1970-01-01 (the same source, `civil_from_days`).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, of_year - (153 * shifted + 2) / 5 + 1)
}

/// RFC 3339 to milliseconds since 1970; `None` for what it is not, and for years before 1970.
pub(super) fn parse(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(['T', 't'])?;
    let (time, offset) = match time.strip_suffix(['Z', 'z']) {
        Some(time) => (time, 0),
        None => {
            let at = time.rfind(['+', '-'])?;
            let (time, zone) = time.split_at_checked(at)?;
            let (hours, minutes) = zone.get(1..)?.split_once(':')?;
            let minutes = number(hours, 2, 23)? * 60 + number(minutes, 2, 59)?;
            (time, if zone.starts_with('-') { -minutes } else { minutes })
        }
    };
    let mut date = date.splitn(3, '-');
    let year = number(date.next()?, 4, 9_999)?;
    let (month, day) = (number(date.next()?, 2, 12)?, number(date.next()?, 2, 31)?);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.splitn(3, ':');
    let (hour, minute) = (number(time.next()?, 2, 23)?, number(time.next()?, 2, 59)?);
    let second = number(time.next()?, 2, 60)?;
    if month == 0 || day == 0 || fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let milliseconds: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let minutes = days_from_civil(year, month, day) * 1_440 + hour * 60 + minute - offset;
    u64::try_from((minutes * 60 + second) * 1_000 + milliseconds).ok()
}

fn number(text: &str, digits: usize, at_most: i64) -> Option<i64> {
    let all_digits = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| text.parse().ok())?.filter(|number| *number <= at_most)
}

/// `2026-11-25 02:30:05`, without a zone since all are UTC.
pub(super) fn stamp(ms: u64) -> String {
    let (year, month, day) = civil_from_days(i64::try_from(ms / 86_400_000).unwrap_or(0));
    format!("{year:04}-{month:02}-{day:02} {}", time_of_day(ms, true))
}

/// `02:30` or `02:30:05`.
pub(super) fn time_of_day(ms: u64, seconds: bool) -> String {
    let of_day = ms / 1_000 % 86_400;
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    if seconds { format!("{hour:02}:{minute:02}:{second:02}") } else { format!("{hour:02}:{minute:02}") }
}

/// `25 Nov`.
pub(super) fn day(ms: u64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, month, day) = civil_from_days(i64::try_from(ms / 86_400_000).unwrap_or(0));
    let name = usize::try_from(month - 1).ok().and_then(|index| MONTHS.get(index)).copied().unwrap_or("?");
    format!("{day} {name}")
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
        assert_eq!(
            (day(1_795_573_805_123).as_str(), time_of_day(1_795_573_805_123, false).as_str()),
            ("25 Nov", "02:30")
        );
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
