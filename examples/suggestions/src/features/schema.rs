//! The feature schema: which number of a row means what.
//!
//! A change of anything here, of the normalisation or of the hashing is another [`VERSION`]; [`Schema::hash`] covers the
//! names, ranges, missing values and the rows of frozen examples, so that a forgotten version is found out too.

use std::sync::LazyLock;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::encode::encode;
use super::history::{History, MOST_PAST, Past};
use super::layout::{CHANNELS, MAX_MCC, MEMO_BINS, MERCHANT_BINS, WIDTH};
use super::text::Normalised;
use super::transaction::Transaction;
use crate::labels::SPENDING_LABELS;

/// Version of the schema. 2: text in NFKC with its case folded, and the base of time is a part of it.
pub const VERSION: u32 = 2;
/// The base of hour and weekday: see [`super::transaction::hour`].
pub const TIME_ZONE: &str = "UTC";
/// The group that an ablation takes away as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// The merchant's text.
    Merchant,
    /// The memo's text.
    Memo,
    /// Amount and sign.
    Amount,
    /// Merchant category code.
    Mcc,
    /// Channel, subscription, person to person.
    Channel,
    /// Hour and weekday.
    Time,
    /// The user's own history.
    History,
}

/// One feature.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Feature {
    /// Its name, unique.
    pub name: String,
    /// The group that an ablation takes away as one.
    pub group: Group,
    /// Least value.
    pub min: f32,
    /// Greatest value.
    pub max: f32,
    /// May it be missing? Then it is NaN; a feature that may not be is 0 where nothing is known.
    pub missing: bool,
}

impl Feature {
    /// Is `value` one that the schema allows?
    #[must_use]
    pub fn admits(&self, value: f32) -> bool {
        if value.is_nan() { self.missing } else { (self.min..=self.max).contains(&value) }
    }
}

/// The features in row order.
#[derive(Debug, Clone, Serialize)]
pub struct Schema {
    /// [`VERSION`].
    pub version: u32,
    /// Bins of the merchant's n-grams, from [`super::layout::DENSE_WIDTH`] on.
    pub merchant_bins: usize,
    /// Bins of the memo's n-grams, after those.
    pub memo_bins: usize,
    /// Most earlier transactions in a history.
    pub most_past: usize,
    /// [`TIME_ZONE`].
    pub time_zone: &'static str,
    features: Vec<Feature>,
    #[serde(skip)]
    hash: String,
}

/// The schema that this program computes.
pub static SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::current);

impl Schema {
    /// Features in row order.
    #[must_use]
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// Numbers in a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.features.len()
    }

    /// SHA-256, 64 hex digits, of the schema and of example rows: another hash means other rows.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    fn current() -> Self {
        let mut schema = Self {
            version: VERSION,
            merchant_bins: MERCHANT_BINS,
            memo_bins: MEMO_BINS,
            most_past: MOST_PAST,
            time_zone: TIME_ZONE,
            features: features(),
            hash: String::new(),
        };
        let mut digest = Sha256::new();
        // A derive of plain fields: serialising cannot fail, and an empty text would only give another hash.
        digest.update(serde_json::to_vec(&schema).unwrap_or_default());
        for value in frozen_rows() {
            digest.update(value.to_bits().to_le_bytes());
        }
        schema.hash = hex(&digest.finalize());
        schema
    }
}

/// Merchants in which every rule of the normalisation shows.
const FROZEN_MERCHANTS: [&str; 9] = [
    "POS DEBIT SQ *BLUE BOTTLE COFFEE, INC. #0123 OAKLAND CA",
    "PURCHASE AUTHORIZED ON 03/14 COSTCO WHSE #0123 SEATTLE WA",
    "TST* THE CAPITAL GRILLE - 12",
    "PAYPAL *DUNKIN' 339912",
    "00042 CHECKCARD 7-ELEVEN 33312 AUSTIN TX",
    "5GUYS CAF\u{c9} \u{6771}\u{4eac}",
    "CAFE\u{301}\u{a0}STRA\u{df}E \u{ff33}\u{200b}\u{ff31} DUNKIN\u{2019}",
    "A WORD THAT IS LONGER THAN ANY NAME ON A STATEMENT ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOPQRSTUVWXYZ AND ON AND ON",
    "",
];

/// Rows of examples in which every part of the computation shows.
fn frozen_rows() -> Vec<f32> {
    let mut rows = vec![0.0; WIDTH * FROZEN_MERCHANTS.len()];
    for (at, (row, merchant)) in rows.chunks_exact_mut(WIDTH).zip(FROZEN_MERCHANTS).enumerate() {
        let even = at % 2 == 0;
        let example = Transaction {
            merchant: merchant.into(),
            memo: if even { "Team breakfast - 3 of us" } else { "" }.into(),
            amount: even.then_some(-23.45),
            mcc: (!even).then_some(5812),
            channel: if even { "card online" } else { "ach direct_deposit" }.into(),
            hour: even.then_some(8),
            weekday: Some(6),
            subscription: Some(even),
            p2p: None,
        };
        let (here, fuel) = (Normalised::merchant(merchant), Normalised::merchant("SHELL OIL 57444"));
        let past = [(&here, "coffee"), (&fuel, "transportation.fuel"), (&here, "beekeeping")];
        let history = History::of(&here, past.map(|(merchant, label)| Past { merchant, label }));
        // The width is right by construction; rows of zeros would only give another hash.
        let _ = encode(&example, &history, row);
    }
    rows
}

fn features() -> Vec<Feature> {
    let feature =
        |name: &str, group, min: f32, max: f32, missing| Feature { name: name.into(), group, min, max, missing };
    let most = 100_000.0;
    let count = f32::from(u16::MAX);
    let mut all = vec![
        feature("amount", Group::Amount, -most, most, true),
        feature("abs_amount", Group::Amount, 0.0, most, true),
        feature("is_credit", Group::Amount, 0.0, 1.0, true),
        feature("cents", Group::Amount, 0.0, 99.0, true),
        feature("mcc", Group::Mcc, 0.0, f32::from(MAX_MCC), true),
        feature("hour_of_day", Group::Time, 0.0, 23.0, true),
        feature("dow", Group::Time, 0.0, 6.0, true),
        feature("is_weekend", Group::Time, 0.0, 1.0, true),
        feature("is_subscription", Group::Channel, 0.0, 1.0, true),
        feature("is_p2p", Group::Channel, 0.0, 1.0, true),
        feature("merchant_words", Group::Merchant, 0.0, count, false),
        feature("memo_words", Group::Memo, 0.0, count, false),
        feature("via_square", Group::Merchant, 0.0, 1.0, false),
        feature("via_toast", Group::Merchant, 0.0, 1.0, false),
        feature("via_paypal", Group::Merchant, 0.0, 1.0, false),
    ];
    all.extend(CHANNELS.iter().map(|(_, token)| feature(&format!("channel.{token}"), Group::Channel, 0.0, 1.0, false)));
    let past = u16::try_from(MOST_PAST).map_or(count, f32::from);
    all.push(feature("past_here", Group::History, 0.0, past, false));
    all.push(feature("past", Group::History, 0.0, past, false));
    for prefix in ["share_here", "share"] {
        all.extend(
            SPENDING_LABELS.iter().map(|label| feature(&format!("{prefix}.{label}"), Group::History, 0.0, 1.0, false)),
        );
    }
    all.extend((0..MERCHANT_BINS).map(|i| feature(&format!("merchant_gram.{i}"), Group::Merchant, 0.0, count, false)));
    all.extend((0..MEMO_BINS).map(|i| feature(&format!("memo_gram.{i}"), Group::Memo, 0.0, count, false)));
    all
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::features::layout::{
        AMOUNT, CENTS, DENSE_WIDTH, HOUR, MCC, P2P, PAST, PAST_HERE, SHARE, SHARE_HERE, VIA_PAYPAL,
    };

    #[test]
    fn every_place_has_one_name() {
        assert_eq!(SCHEMA.width(), WIDTH);
        let names: HashSet<&str> = SCHEMA.features().iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names.len(), WIDTH);
    }

    #[test]
    fn the_places_carry_the_names_that_they_stand_for() {
        let name = |place: usize| SCHEMA.features()[place].name.as_str();
        assert_eq!((name(AMOUNT), name(CENTS), name(MCC)), ("amount", "cents", "mcc"));
        assert_eq!((name(HOUR), name(P2P), name(VIA_PAYPAL)), ("hour_of_day", "is_p2p", "via_paypal"));
        assert!(CHANNELS.iter().all(|(place, token)| name(*place) == format!("channel.{token}")));
        assert_eq!((name(PAST_HERE), name(PAST)), ("past_here", "past"));
        assert_eq!((name(SHARE_HERE), name(SHARE)), ("share_here.groceries", "share.groceries"));
        assert_eq!(name(DENSE_WIDTH), "merchant_gram.0");
        assert_eq!(name(DENSE_WIDTH + MERCHANT_BINS), "memo_gram.0");
    }

    /// A failure here means that rows changed: raise [`VERSION`], retrain, and freeze the new hash.
    #[test]
    fn rows_of_this_version_are_frozen() {
        assert_eq!((VERSION, SCHEMA.hash()), (2, FROZEN));
    }

    const FROZEN: &str = "4ffad3a2b0f9f156734d2b35446c56b59ef32488c698e2464762c1affc4476a1";
}
