//! Where each feature stands in a row.

use crate::labels::SPENDING_LABELS;

/// How many labels a history tells apart.
pub const LABELS: usize = SPENDING_LABELS.len();
/// Numbers in a row.
pub const WIDTH: usize = DENSE_WIDTH + MERCHANT_BINS + MEMO_BINS;
/// Bins of the merchant's hashed n-grams.
pub const MERCHANT_BINS: usize = 1024;
/// Bins of the memo's hashed n-grams.
pub const MEMO_BINS: usize = 256;

/// Amount in currency units, negative is money spent.
pub const AMOUNT: usize = 0;
/// Its size.
pub const ABS_AMOUNT: usize = 1;
/// 1 for money received.
pub const IS_CREDIT: usize = 2;
/// Cents of the amount: round sums are transfers, cash or rent.
pub const CENTS: usize = 3;
/// Merchant category code.
pub const MCC: usize = 4;
/// Hour of the day, as UTC.
pub const HOUR: usize = 5;
/// Day of the week, 0 = Monday, as UTC.
pub const WEEKDAY: usize = 6;
/// 1 on Saturday and Sunday.
pub const WEEKEND: usize = 7;
/// 1 if it repeats by itself.
pub const SUBSCRIPTION: usize = 8;
/// 1 from person to person.
pub const P2P: usize = 9;
/// Words of the normalised merchant.
pub const MERCHANT_WORDS: usize = 10;
/// Words of the normalised memo.
pub const MEMO_WORDS: usize = 11;
/// 1 if the statement names Square as the processor.
pub const VIA_SQUARE: usize = 12;
/// 1 if it names Toast.
pub const VIA_TOAST: usize = 13;
/// 1 if it names PayPal.
pub const VIA_PAYPAL: usize = 14;
/// Words that may stand in a channel, each with its place.
pub const CHANNELS: [(usize, &str); 8] = [
    (15, "card"),
    (16, "online"),
    (17, "ach"),
    (18, "deposit"),
    (19, "transfer"),
    (20, "atm"),
    (21, "check"),
    (22, "bill"),
];
/// Earlier labelled transactions at this merchant.
pub const PAST_HERE: usize = 23;
/// Earlier labelled transactions overall.
pub const PAST: usize = 24;
/// Share of each label among those at this merchant, in the order of [`SPENDING_LABELS`].
pub const SHARE_HERE: usize = 25;
/// Share of each label overall.
pub const SHARE: usize = SHARE_HERE + LABELS;
/// Numbers before the n-grams.
pub const DENSE_WIDTH: usize = SHARE + LABELS;
/// Highest merchant category code.
pub const MAX_MCC: u16 = 9999;

/// A flag as a number.
pub(super) fn flag(set: bool) -> f32 {
    if set { 1.0 } else { 0.0 }
}

/// The named part of a row. Places are the constants of this module.
pub(super) struct Dense<'a> {
    row: &'a mut [f32],
}

impl<'a> Dense<'a> {
    pub(super) fn new(row: &'a mut [f32]) -> Self {
        debug_assert_eq!(row.len(), DENSE_WIDTH);
        Self { row }
    }

    pub(super) fn set(&mut self, place: usize, value: f32) {
        if let Some(slot) = self.row.get_mut(place) {
            *slot = value;
        }
    }

    pub(super) fn set_or_missing(&mut self, place: usize, value: Option<f32>) {
        self.set(place, value.unwrap_or(f32::NAN));
    }

    pub(super) fn missing(&mut self, places: &[usize]) {
        for place in places {
            self.set(*place, f32::NAN);
        }
    }
}
