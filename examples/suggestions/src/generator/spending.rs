//! How people spend: for each label how often, how much, when and by what channel.

/// One label's habits over all users.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spending {
    pub(super) label: &'static str,
    /// How often, relative to the others.
    pub(super) weight: f64,
    /// Usual payment, in currency units.
    pub(super) usual: f64,
    /// Spread of the payment on a logarithmic scale.
    pub(super) spread: f64,
    /// Share of payments made online.
    pub(super) online: f64,
    /// Hours in which half of the payments fall.
    pub(super) busy: (i64, i64),
    /// Channel where it is not card or online.
    pub(super) channel: Option<&'static str>,
    /// Share of sums without cents.
    pub(super) round: f64,
    /// Category codes that terminals send.
    pub(super) mccs: &'static [u16],
    /// What people note; most note nothing.
    pub(super) memos: &'static [&'static str],
    /// Share of payments with a note.
    pub(super) noted: f64,
}

const fn spending(
    label: &'static str,
    weight: f64,
    usual: f64,
    spread: f64,
    online: f64,
    busy: (i64, i64),
) -> Spending {
    Spending {
        label,
        weight,
        usual,
        spread,
        online,
        busy,
        channel: None,
        round: 0.02,
        mccs: &[],
        memos: &[],
        noted: 0.12,
    }
}

pub(super) const HABITS: [Spending; 21] = [
    Spending {
        mccs: &[5411, 5300],
        memos: &["weekly shop", "food", "snacks", "bbq"],
        ..spending("groceries", 17.0, 62.0, 0.7, 0.06, (10, 20))
    },
    Spending {
        mccs: &[5812, 5814],
        memos: &["lunch", "dinner with friends", "team lunch", "takeout"],
        ..spending("restaurants", 14.0, 27.0, 0.6, 0.2, (11, 21))
    },
    Spending { mccs: &[5814], memos: &["latte", "breakfast"], ..spending("coffee", 8.0, 6.8, 0.4, 0.05, (6, 11)) },
    Spending {
        mccs: &[5311, 5999, 5651],
        memos: &["gift", "clothes", "return window 30 days"],
        ..spending("shopping", 13.0, 48.0, 0.9, 0.5, (9, 22))
    },
    Spending {
        mccs: &[4121, 4111, 7523],
        memos: &["airport", "commute"],
        ..spending("transportation", 5.5, 17.0, 0.6, 0.35, (7, 23))
    },
    Spending {
        mccs: &[5541, 5542],
        memos: &["gas", "road trip"],
        ..spending("transportation.fuel", 6.5, 42.0, 0.4, 0.0, (7, 19))
    },
    Spending {
        mccs: &[7538, 5533],
        memos: &["oil change", "tires"],
        ..spending("transportation.auto", 1.8, 95.0, 0.9, 0.1, (9, 17))
    },
    Spending {
        mccs: &[7011, 4511],
        memos: &["conference", "vacation", "anniversary trip"],
        ..spending("travel", 2.6, 240.0, 0.8, 0.6, (9, 22))
    },
    Spending {
        mccs: &[7832, 5815],
        memos: &["movie night", "monthly plan"],
        ..spending("entertainment", 5.0, 15.0, 0.5, 0.7, (12, 23))
    },
    Spending {
        mccs: &[5200, 5712],
        memos: &["kitchen shelf", "paint", "garden"],
        ..spending("home", 3.6, 70.0, 0.9, 0.25, (9, 19))
    },
    Spending {
        channel: Some("ach"),
        round: 0.8,
        memos: &["rent", "rent for this month", "mortgage", "apartment 4b rent", "hoa"],
        noted: 0.75,
        ..spending("housing", 2.6, 1450.0, 0.4, 0.0, (8, 18))
    },
    Spending {
        channel: Some("bill_pay"),
        mccs: &[4900, 4814],
        memos: &["electric bill", "internet", "phone bill", "water"],
        noted: 0.35,
        ..spending("utilities", 4.2, 85.0, 0.5, 0.0, (8, 18))
    },
    Spending {
        mccs: &[5912, 8099, 7997],
        memos: &["gym", "pharmacy", "copay", "fitness class", "prescription"],
        noted: 0.25,
        ..spending("health", 4.4, 36.0, 0.8, 0.1, (8, 19))
    },
    Spending {
        channel: Some("bill_pay"),
        mccs: &[6300],
        memos: &["insurance", "insurance premium", "policy renewal", "premium"],
        noted: 0.55,
        ..spending("health.insurance", 1.7, 210.0, 0.6, 0.0, (8, 18))
    },
    Spending {
        mccs: &[7230, 5977],
        memos: &["haircut", "nails"],
        ..spending("personal.care", 2.2, 34.0, 0.6, 0.15, (10, 19))
    },
    Spending {
        mccs: &[8220, 8299],
        memos: &["tuition", "course", "books for class", "daycare"],
        noted: 0.35,
        ..spending("education", 1.1, 160.0, 1.1, 0.5, (9, 21))
    },
    Spending { mccs: &[5995, 742], memos: &["dog food", "vet"], ..spending("pets", 1.8, 44.0, 0.7, 0.3, (9, 19)) },
    Spending { mccs: &[9402, 7276], memos: &["stamps", "tax prep"], ..spending("fees", 1.6, 18.0, 0.8, 0.1, (8, 18)) },
    Spending {
        channel: Some("transfer"),
        round: 0.7,
        memos: &["thanks", "dinner split", "birthday", "utilities share", "for tickets", "pizza"],
        noted: 0.55,
        ..spending("transfers", 6.0, 58.0, 0.9, 0.0, (9, 23))
    },
    Spending {
        channel: Some("direct_deposit"),
        memos: &["payroll", "salary", "refund"],
        noted: 0.3,
        ..spending("income", 3.4, 1900.0, 0.5, 0.0, (0, 8))
    },
    Spending { channel: Some("atm"), round: 1.0, ..spending("cash", 1.9, 80.0, 0.5, 0.0, (9, 21)) },
];

/// The channel of this payment.
pub(super) fn channel(habit: &Spending, online: bool) -> &'static str {
    match habit.channel {
        Some(channel) => channel,
        None if online => "online",
        None => "card",
    }
}

/// Who may take whose place: payments of one merchant that people file differently, each user in their own way.
/// (beginning of the merchant, label, share of users)
pub(super) const OPINIONS: [(&str, &str, f64); 12] = [
    ("WALMART", "groceries", 0.45),
    ("TARGET", "groceries", 0.25),
    ("COSTCO", "shopping", 0.15),
    ("AMZN", "home", 0.2),
    ("AMAZON", "entertainment", 0.12),
    ("CVS", "shopping", 0.15),
    ("WALGREENS", "groceries", 0.12),
    ("UBER EATS", "groceries", 0.05),
    ("DUNKIN", "restaurants", 0.15),
    ("STARBUCKS", "restaurants", 0.12),
    ("PLANET FITNESS", "entertainment", 0.1),
    ("PARKMOBILE", "transportation.auto", 0.2),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::SPENDING_LABELS;

    #[test]
    fn habits_cover_every_label_once() {
        let mut labels: Vec<&str> = HABITS.iter().map(|habit| habit.label).collect();
        labels.sort_unstable();
        let mut known = SPENDING_LABELS.to_vec();
        known.sort_unstable();
        assert_eq!(labels, known);
        assert!(OPINIONS.iter().all(|(_, label, _)| SPENDING_LABELS.contains(label)));
    }
}
