//! The heuristics: merchant priors, then memo patterns, then channel tokens, else `unknown`.
//!
//! A rule that fires gives its label at confidence 0.6, shaped by how usual the amount is for that label: up to 0.80 at
//! the label's usual payment, down to 0.40 far from it. The first tier that fires is the top candidate; later tiers
//! follow below it. `unknown` at 0.40 means that no rule fired: the rules say nothing.

use contract::names::Source;
use shadow_scorer::suggestions::{Candidate, UNKNOWN_LABEL};

use crate::features::Transaction;

/// Candidates below this confidence are left out of a response.
const MIN_CONFIDENCE: f64 = 0.35;

/// Confidence of a rule before the amount shapes it.
const BASE: f64 = 0.6;
/// What a perfectly usual amount adds, and a most unusual one takes.
const SWING: f64 = 0.2;
/// Confidence of `unknown`.
const UNKNOWN: f64 = 0.40;
/// A later tier stays at least this far below the one before it.
const STEP: f64 = 0.05;

/// Merchant → label; the first name found in the merchant wins, so `uber eats` stands before `uber`.
const MERCHANT_PRIORS: [(&str, &str); 20] = [
    ("costco", "groceries"),
    ("kroger", "groceries"),
    ("whole foods", "groceries"),
    ("amazon", "shopping"),
    ("target", "shopping"),
    ("walmart", "shopping"),
    ("doordash", "restaurants"),
    ("uber eats", "restaurants"),
    ("uber", "transportation"),
    ("lyft", "transportation"),
    ("shell", "transportation.fuel"),
    ("chevron", "transportation.fuel"),
    ("bp", "transportation.fuel"),
    ("starbucks", "coffee"),
    ("dunkin", "coffee"),
    ("zelle", "transfers"),
    ("venmo", "transfers"),
    ("cash app", "transfers"),
    ("paypal", "transfers"),
    ("netflix", "entertainment"),
];

/// Word of the memo → label.
const MEMO_PATTERNS: [(&str, &str); 9] = [
    ("rent", "housing"),
    ("mortgage", "housing"),
    ("insurance", "health.insurance"),
    ("gym", "health"),
    ("fitness", "health"),
    ("pharmacy", "health"),
    ("electric", "utilities"),
    ("tuition", "education"),
    ("payroll", "income"),
];

/// Word of the channel → label.
const CHANNEL_TOKENS: [(&str, &str); 2] = [("deposit", "income"), ("atm", "cash")];

/// The usual size of one payment, in currency units.
const USUAL_AMOUNT: [(&str, f64); 12] = [
    ("groceries", 90.0),
    ("shopping", 55.0),
    ("restaurants", 30.0),
    ("transportation", 22.0),
    ("transportation.fuel", 45.0),
    ("coffee", 7.0),
    ("transfers", 80.0),
    ("entertainment", 16.0),
    ("housing", 1500.0),
    ("health.insurance", 250.0),
    ("health", 45.0),
    ("income", 2500.0),
];

/// Candidates for `transaction`, best first, at most `top_k`. Never empty for a `top_k` of at least 1.
#[must_use]
pub fn suggest(transaction: &Transaction, top_k: usize) -> Vec<Candidate> {
    let merchant = words(&transaction.merchant);
    let memo = words(&transaction.memo);
    let channel = words(&transaction.channel);
    let tiers = [
        ("merchant_prior", first(&merchant, &MERCHANT_PRIORS)),
        ("memo_pattern", first(&memo, &MEMO_PATTERNS)),
        ("channel_token", first(&channel, &CHANNEL_TOKENS)),
    ];
    let mut candidates: Vec<Candidate> = Vec::with_capacity(tiers.len());
    for (tier, (word, label)) in tiers.into_iter().filter_map(|(tier, found)| Some((tier, found?))) {
        let reason = format!("{tier}:{word}");
        if let Some(same) = candidates.iter_mut().find(|candidate| candidate.label == label) {
            same.reasons.push(reason);
            continue;
        }
        let ceiling = candidates.last().map_or(1.0, |above| above.confidence - STEP);
        let confidence = shaped(label, transaction.amount).min(ceiling);
        candidates.push(candidate(label, confidence, reason));
    }
    if candidates.is_empty() {
        candidates.push(candidate(UNKNOWN_LABEL, UNKNOWN, "no_rule".to_owned()));
    }
    candidates.retain(|candidate| candidate.confidence >= MIN_CONFIDENCE);
    candidates.truncate(top_k);
    candidates
}

fn candidate(label: &str, confidence: f64, reason: String) -> Candidate {
    Candidate { label: label.to_owned(), confidence, reasons: vec![reason], source: Source::Rule, model_version: None }
}

/// 0.40..=0.80, two decimals: the base, shaped by the amount against the label's usual payment on a scale of ratios.
fn shaped(label: &str, amount: Option<f64>) -> f64 {
    let usual = USUAL_AMOUNT.iter().find(|(known, _)| *known == label).map(|(_, usual)| *usual);
    let shaped = match (amount.map(f64::abs).filter(|amount| *amount > 0.0), usual) {
        (Some(amount), Some(usual)) => {
            let distance = (amount / usual).ln();
            let fit = (-distance * distance / 2.0).exp();
            BASE + SWING * (2.0 * fit - 1.0)
        }
        _ => BASE,
    };
    (shaped * 100.0).round() / 100.0
}

/// Lower case, one space between words, a space at both ends; apostrophes out.
fn words(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(' ');
    for c in text.chars().filter(|c| *c != '\'') {
        if c.is_alphanumeric() {
            out.extend(c.to_lowercase());
        } else if !out.ends_with(' ') {
            out.push(' ');
        }
    }
    if !out.ends_with(' ') {
        out.push(' ');
    }
    out
}

fn first<'a>(text: &str, table: &[(&'a str, &'a str)]) -> Option<(&'a str, &'a str)> {
    table
        .iter()
        .find(|(word, _)| {
            text.match_indices(word).any(|(at, _)| {
                let before = text.get(..at).is_some_and(|text| text.ends_with(' '));
                before && text.get(at + word.len()..).is_some_and(|text| text.starts_with(' '))
            })
        })
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(merchant: &str, memo: &str, channel: &str, amount: f64) -> Vec<Candidate> {
        let transaction = Transaction {
            merchant: merchant.into(),
            memo: memo.into(),
            channel: channel.into(),
            amount: Some(amount),
            ..Transaction::default()
        };
        suggest(&transaction, 3)
    }

    fn top(merchant: &str, memo: &str, channel: &str) -> String {
        at(merchant, memo, channel, -20.0)[0].label.clone()
    }

    #[test]
    fn merchants_of_the_contract_have_their_labels() {
        let cases = [
            ("COSTCO WHSE #0123 SEATTLE WA", "groceries"),
            ("KROGER #88", "groceries"),
            ("WHOLE FOODS MKT", "groceries"),
            ("AMAZON.COM*AB12", "shopping"),
            ("TARGET T-0123", "shopping"),
            ("WALMART STORE", "shopping"),
            ("DOORDASH*BURGER", "restaurants"),
            ("UBER EATS 8005928996", "restaurants"),
            ("UBER TRIP", "transportation"),
            ("LYFT RIDE", "transportation"),
            ("SHELL OIL 57", "transportation.fuel"),
            ("CHEVRON 0202", "transportation.fuel"),
            ("BP#12345", "transportation.fuel"),
            ("STARBUCKS STORE 1", "coffee"),
            ("DUNKIN' #33", "coffee"),
            ("ZELLE TO SAM", "transfers"),
            ("VENMO PAYMENT", "transfers"),
            ("CASH APP*ALEX", "transfers"),
            ("PAYPAL *SHOP", "transfers"),
        ];
        for (merchant, label) in cases {
            assert_eq!(top(merchant, "", ""), label, "{merchant}");
        }
    }

    #[test]
    fn a_merchant_goes_before_a_memo_and_a_memo_before_a_channel() {
        let all = at("VENMO PAYMENT", "rent for march", "deposit", -80.0);
        let labels: Vec<&str> = all.iter().map(|c| c.label.as_str()).collect();
        assert_eq!(labels, ["transfers", "housing", "income"]);
        assert!(all.windows(2).all(|pair| pair[0].confidence > pair[1].confidence));
        assert_eq!(top("ACME LLC", "health insurance", "deposit"), "health.insurance");
        assert_eq!(top("ACME LLC", "monthly gym", ""), "health");
        assert_eq!(top("ACME LLC", "", "direct deposit"), "income");
    }

    #[test]
    fn where_no_rule_fires_the_rules_say_nothing() {
        let nothing = &at("BLUE BOTTLE", "breakfast", "card", -9.0)[0];
        assert_eq!((nothing.label.as_str(), nothing.confidence), ("unknown", 0.40));
        assert_eq!(top("SHELLY'S DINER", "", ""), "unknown", "names match as whole words");
        assert_eq!(top("ACME", "current parents", ""), "unknown");
    }

    #[test]
    fn confidence_follows_the_amount() {
        let confidence = |amount| at("COSTCO", "", "", amount)[0].confidence;
        assert_eq!(confidence(-90.0), 0.80);
        assert!(confidence(-45.0) < 0.80 && confidence(-45.0) > 0.60);
        assert!((0.40..0.45).contains(&confidence(-9_000.0)));
        assert_eq!(confidence(0.0), 0.60, "an amount of nothing shapes nothing");
    }

    #[test]
    fn top_k_cuts() {
        let transaction = Transaction { merchant: "VENMO".into(), memo: "rent".into(), ..Transaction::default() };
        assert_eq!(suggest(&transaction, 1).len(), 1);
    }
}
