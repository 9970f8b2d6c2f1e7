//! The one function that computes a row.

use super::history::History;
use super::layout::{self, DENSE_WIDTH, Dense, MEMO_BINS, MERCHANT_BINS, WIDTH, flag};
use super::ngrams;
use super::text::{self, Normalised};
use super::transaction::{self, Transaction};

/// Writes the row of `transaction` into `row`.
///
/// # Errors
/// When `row` does not have [`WIDTH`] places; nothing is written then.
pub fn encode(transaction: &Transaction, history: &History, row: &mut [f32]) -> Result<(), WrongWidth> {
    if row.len() != WIDTH {
        return Err(WrongWidth { given: row.len() });
    }
    row.fill(0.0);
    let (dense, grams) = row.split_at_mut(DENSE_WIDTH);
    let (merchant_bins, memo_bins) = grams.split_at_mut(MERCHANT_BINS);

    let merchant = Normalised::merchant(&transaction.merchant);
    let memo = Normalised::memo(&transaction.memo);
    let merchant_words = ngrams::count(&merchant, merchant_bins);
    let memo_words = ngrams::count(&memo, memo_bins);
    debug_assert_eq!(memo_bins.len(), MEMO_BINS);

    let mut dense = Dense::new(dense);
    transaction::write_dense(transaction, &mut dense);
    dense.set(layout::MERCHANT_WORDS, small(merchant_words));
    dense.set(layout::MEMO_WORDS, small(memo_words));
    dense.set(layout::VIA_SQUARE, flag(merchant.via(text::Via::Square)));
    dense.set(layout::VIA_TOAST, flag(merchant.via(text::Via::Toast)));
    dense.set(layout::VIA_PAYPAL, flag(merchant.via(text::Via::Paypal)));
    history.write_dense(&mut dense);
    Ok(())
}

/// A row of another width than the schema's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a feature row has {WIDTH} places, this one {given}: give a slice of features::WIDTH")]
pub struct WrongWidth {
    /// Places of the row that was given.
    pub given: usize,
}

/// Counts stay far below 2^24, where f32 is exact; a longer one is cut there.
fn small(count: usize) -> f32 {
    u16::try_from(count).map_or(f32::from(u16::MAX), f32::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::SCHEMA;

    fn row_of(transaction: &Transaction, history: &History) -> Vec<f32> {
        let mut row = vec![7.0; WIDTH];
        encode(transaction, history, &mut row).unwrap();
        row
    }

    fn costco() -> Transaction {
        Transaction {
            merchant: "COSTCO WHSE #0123 SEATTLE WA".into(),
            memo: "weekly shop".into(),
            amount: Some(-118.2),
            mcc: Some(5300),
            channel: "card".into(),
            hour: Some(17),
            weekday: Some(5),
            subscription: Some(false),
            p2p: Some(false),
        }
    }

    #[test]
    fn the_row_is_written_whole_whatever_was_there_before() {
        let once = row_of(&costco(), &History::default());
        let mut twice = vec![f32::NAN; WIDTH];
        encode(&costco(), &History::default(), &mut twice).unwrap();
        assert!(once.iter().zip(&twice).all(|(a, b)| a.to_bits() == b.to_bits()));
    }

    #[test]
    fn a_store_number_makes_no_difference_and_another_merchant_does() {
        let mut other_store = costco();
        other_store.merchant = "COSTCO WHSE #0777 SEATTLE WA".into();
        assert_eq!(row_of(&costco(), &History::default()), row_of(&other_store, &History::default()));
        let mut elsewhere = costco();
        elsewhere.merchant = "CHEVRON 0202 SEATTLE WA".into();
        assert_ne!(row_of(&costco(), &History::default()), row_of(&elsewhere, &History::default()));
    }

    #[test]
    fn a_row_of_another_width_is_refused() {
        let mut short = vec![1.0; WIDTH - 1];
        let error = encode(&costco(), &History::default(), &mut short).unwrap_err();
        assert!(error.to_string().contains(&(WIDTH - 1).to_string()));
        assert!(short.iter().all(|x| (*x - 1.0).abs() < f32::EPSILON), "nothing is written");
    }

    #[test]
    fn values_stay_in_the_ranges_that_the_schema_states() {
        let wild = Transaction {
            merchant: "\u{0}\u{7f}ÄÖÜ 東京 ".repeat(200),
            memo: "x".repeat(10_000),
            amount: Some(f64::INFINITY),
            mcc: None,
            channel: "carrier pigeon".into(),
            hour: Some(200),
            weekday: Some(99),
            subscription: None,
            p2p: None,
        };
        let row = row_of(&wild, &History::default());
        for (value, feature) in row.iter().zip(SCHEMA.features()) {
            assert!(feature.admits(*value), "{} = {value}", feature.name);
        }
    }
}
