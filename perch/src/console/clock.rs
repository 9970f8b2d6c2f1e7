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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn moments_are_read_and_written() {
        assert_eq!(parse("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(parse("2026-11-25T02:30:05.123456Z"), Some(1_795_573_805_123));
        assert_eq!(parse("2026-11-25T04:30:05+02:00"), Some(1_795_573_805_000));
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
        fn no_text_breaks_it(text in "\\PC*") {
            parse(&text);
        }
    }
}
