//! Demo users and their payments, from a fixed seed.
//!
//! Real brand names, drawn with the skew of real life and written as card statements write them; users with habits,
//! who file some merchants in their own way and err now and then. The rules know the few most popular names, so they
//! have an opinion on about half of the payments; what is left is what a model can win.
//!
//! Everything follows from the seed: the same seed gives the same payments, byte for byte.

mod brands;
mod dice;
mod spending;
mod statement;
mod user;

use scorer_store::{LabelSource, NewLabel, Store, StoreError};

use crate::transactions;

pub use user::Payment;

/// What to generate.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Seed of all random choices.
    pub seed: u64,
    /// How many users, at least 1.
    pub users: u64,
    /// Payments of a usual user.
    pub payments_per_user: f64,
    /// Days that the payments span, at least 1.
    pub days: i64,
    /// The day after the last, seconds since 1970.
    pub until: i64,
}

impl Default for Plan {
    fn default() -> Self {
        // Until 1 November 2026: a fixed date, since the data must not depend on the day it is made.
        Self { seed: 42, users: 3_000, payments_per_user: 30.0, days: 180, until: 1_793_491_200 }
    }
}

/// Every payment of `plan` in order of time, with ids from 1.
#[must_use]
pub fn generate(plan: &Plan) -> Vec<Payment> {
    let world = user::World::new();
    let days = plan.days.max(1);
    let span = user::Span { from: plan.until - days * 86_400, days };
    let mut payments: Vec<Payment> = (0..plan.users.max(1))
        .flat_map(|number| user::payments(&world, plan.seed, number, span, plan.payments_per_user))
        .collect();
    // Users come in a fixed order and the sort is stable, so equal times do no harm.
    payments.sort_by_key(|payment| payment.transaction.occurred_at);
    for (payment, id) in payments.iter_mut().zip(1_i64..) {
        payment.transaction.id = id;
        if let Some((_, merchant, memo, cents, channel, label)) = EXAMPLES.iter().find(|example| example.0 == id) {
            payment.transaction.merchant = (*merchant).to_owned();
            payment.transaction.memo = (*memo).to_owned();
            payment.transaction.amount_cents = *cents;
            payment.transaction.channel = (*channel).to_owned();
            payment.transaction.mcc = None;
            payment.transaction.p2p = Some(false);
            payment.transaction.subscription = Some(false);
            payment.label = Some((*label, payment.transaction.occurred_at + 3_600));
        }
    }
    payments
}

/// The transactions that the documentation's commands ask for: one on which both sides should agree, one that only the
/// model can know, and one from the head of the rules' list.
const EXAMPLES: [(i64, &str, &str, i64, &str, &str); 3] = [
    (88, "COSTCO WHSE #0123 SEATTLE WA", "", -7_420, "card", "groceries"),
    (89, "SQ *BLUE BOTTLE COFFEE OAKLAND CA", "", -675, "card", "coffee"),
    (90, "STARBUCKS STORE 00042 SEATTLE WA", "latte", -612, "card", "coffee"),
];

/// Payments written in one step, between two reports of progress.
const STEP: usize = 2_000;

/// Writes `payments` into `store`; `progress` hears (done, total) after every step. What is there already stays.
///
/// # Errors
/// When the store does not take them.
pub async fn write(
    store: &Store,
    payments: &[Payment],
    mut progress: impl FnMut(usize, usize),
) -> Result<(), StoreError> {
    let mut done = 0;
    for step in payments.chunks(STEP) {
        let new: Vec<_> = step.iter().map(|payment| payment.transaction.clone()).collect();
        transactions::add(store, &new).await?;
        let labels: Vec<NewLabel> = step
            .iter()
            .filter_map(|payment| {
                let (label, labelled_at) = payment.label?;
                let txn_id = payment.transaction.id;
                Some(NewLabel { txn_id, source: LabelSource::User, label: label.to_owned(), labelled_at })
            })
            .collect();
        store.put_labels(&labels).await?;
        done += step.len();
        progress(done, payments.len());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use shadow_scorer::suggestions::UNKNOWN_LABEL;

    use super::*;
    use crate::features::Transaction;
    use crate::rules;

    fn some() -> Vec<Payment> {
        generate(&Plan { users: 200, ..Plan::default() })
    }

    #[test]
    fn the_same_seed_gives_the_same_payments() {
        assert_eq!(some(), some());
        assert_ne!(some(), generate(&Plan { users: 200, seed: 43, ..Plan::default() }));
    }

    #[test]
    fn ids_follow_time_and_the_documented_ones_are_there() {
        let payments = some();
        assert!(payments.windows(2).all(|pair| {
            pair[0].transaction.id + 1 == pair[1].transaction.id
                && pair[0].transaction.occurred_at <= pair[1].transaction.occurred_at
        }));
        for id in [88, 89, 90] {
            assert!(payments.iter().any(|payment| payment.transaction.id == id));
        }
    }

    #[test]
    fn the_rules_have_an_opinion_on_about_half_and_are_often_right() {
        let payments = some();
        let (mut opinions, mut right, mut labelled) = (0_usize, 0_usize, 0_usize);
        for payment in &payments {
            let Some((label, _)) = payment.label else { continue };
            let stored = &payment.transaction;
            #[allow(clippy::cast_precision_loss)]
            let transaction = Transaction {
                merchant: stored.merchant.clone(),
                memo: stored.memo.clone(),
                amount: Some(stored.amount_cents as f64 / 100.0),
                channel: stored.channel.clone(),
                ..Transaction::default()
            };
            labelled += 1;
            let said = &rules::suggest(&transaction, 1)[0].label;
            opinions += usize::from(said != UNKNOWN_LABEL);
            right += usize::from(said == label);
        }
        let (opinions, right) = (opinions * 100 / labelled, right * 100 / labelled);
        assert!((40..=60).contains(&opinions), "opinion on {opinions}%");
        assert!((25..=55).contains(&right), "right on {right}%");
    }
}
