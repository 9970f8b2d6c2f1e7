//! What is known of one transaction, and its own features.

use super::layout::{self, Dense, flag};
use super::text;

/// A transaction as the model sees it: no id, no user. `None` is "not known" and becomes what [`super::schema`] says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Transaction {
    /// As the statement writes it, e.g. `SQ *BLUE BOTTLE 0123 OAKLAND CA`.
    pub merchant: String,
    /// Free text; often empty.
    pub memo: String,
    /// In units of the account's currency; negative is money spent.
    pub amount: Option<f64>,
    /// Merchant category code (ISO 18245), where the feed gives one.
    pub mcc: Option<u16>,
    /// How it was paid, in words: `card`, `online`, `deposit`, `transfer`, `atm`, `check`, `bill`.
    pub channel: String,
    /// 0..=23, as UTC: see [`hour`].
    pub hour: Option<u8>,
    /// 0 = Monday ..= 6 = Sunday, as UTC: see [`weekday`].
    pub weekday: Option<u8>,
    /// `true` if it repeats by itself.
    pub subscription: Option<bool>,
    /// `true` if it is from person to person.
    pub p2p: Option<bool>,
}

/// Hour of the day at `at` (seconds since 1970), 0..=23, as UTC: the store knows no user's own clock, so that no row, in
/// training or when it is served, goes by one.
#[must_use]
pub fn hour(at: i64) -> u8 {
    u8::try_from(at.rem_euclid(86_400) / 3_600).unwrap_or_default()
}

/// Day of the week at `at` (seconds since 1970), 0 = Monday, as UTC; 1970 began on a Thursday.
#[must_use]
pub fn weekday(at: i64) -> u8 {
    u8::try_from((at.div_euclid(86_400) + 3).rem_euclid(7)).unwrap_or_default()
}

/// Amounts beyond this are cut: no card statement holds more, and f32 keeps cents up to here.
const MOST_AMOUNT: f64 = 100_000.0;

pub(super) fn write_dense(transaction: &Transaction, dense: &mut Dense<'_>) {
    match transaction.amount.filter(|amount| !amount.is_nan()) {
        Some(amount) => {
            let amount = amount.clamp(-MOST_AMOUNT, MOST_AMOUNT);
            #[allow(clippy::cast_possible_truncation)] // clamped, and cents are 0..=99
            {
                dense.set(layout::AMOUNT, amount as f32);
                dense.set(layout::ABS_AMOUNT, amount.abs() as f32);
                dense.set(layout::CENTS, ((amount.abs() * 100.0).round() % 100.0) as f32);
            }
            dense.set(layout::IS_CREDIT, flag(amount > 0.0));
        }
        None => dense.missing(&[layout::AMOUNT, layout::ABS_AMOUNT, layout::CENTS, layout::IS_CREDIT]),
    }
    dense.set_or_missing(layout::MCC, transaction.mcc.filter(|mcc| *mcc <= layout::MAX_MCC).map(f32::from));
    dense.set_or_missing(layout::HOUR, transaction.hour.filter(|hour| *hour < 24).map(f32::from));
    let weekday = transaction.weekday.filter(|day| *day < 7);
    dense.set_or_missing(layout::WEEKDAY, weekday.map(f32::from));
    dense.set_or_missing(layout::WEEKEND, weekday.map(|day| flag(day >= 5)));
    dense.set_or_missing(layout::SUBSCRIPTION, transaction.subscription.map(flag));
    dense.set_or_missing(layout::P2P, transaction.p2p.map(flag));
    for (place, token) in layout::CHANNELS {
        dense.set(place, flag(text::has_token(&transaction.channel, token)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::{History, WIDTH, encode};

    fn value_of(transaction: &Transaction, place: usize) -> f32 {
        let mut row = vec![0.0; WIDTH];
        encode(transaction, &History::default(), &mut row).unwrap();
        row[place]
    }

    #[test]
    fn hour_and_weekday_are_those_of_the_calendar() {
        // 2026-10-31 is a Saturday; 23:59:59 UTC.
        assert_eq!((weekday(1_793_491_199), hour(1_793_491_199)), (5, 23));
        // The second before 1970 was Wednesday's last.
        assert_eq!((weekday(-1), hour(-1)), (2, 23));
    }

    #[test]
    fn what_is_not_known_is_not_a_number() {
        let nothing = Transaction::default();
        for place in [layout::AMOUNT, layout::MCC, layout::HOUR, layout::WEEKDAY, layout::WEEKEND, layout::P2P] {
            assert!(value_of(&nothing, place).is_nan(), "{place}");
        }
    }

    #[test]
    fn amounts_keep_their_sign_and_their_cents() {
        let spent = Transaction { amount: Some(-19.99), ..Transaction::default() };
        assert!((value_of(&spent, layout::AMOUNT) + 19.99).abs() < 1e-5);
        assert!((value_of(&spent, layout::ABS_AMOUNT) - 19.99).abs() < 1e-5);
        assert!((value_of(&spent, layout::CENTS) - 99.0).abs() < 1e-6);
        assert!(value_of(&spent, layout::IS_CREDIT).abs() < 1e-6);
    }

    #[test]
    fn a_channel_may_name_several_ways() {
        let both = Transaction { channel: "ach direct_deposit".into(), ..Transaction::default() };
        let set: Vec<&str> =
            layout::CHANNELS.iter().filter(|(place, _)| value_of(&both, *place) > 0.5).map(|(_, t)| *t).collect();
        assert_eq!(set, ["ach", "deposit"]);
    }
}
