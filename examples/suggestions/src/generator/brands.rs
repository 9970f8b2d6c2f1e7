//! Who is paid: real brands by label, in order of popularity.
//!
//! A few household names stand first in each label (among them those that the rules know, as in real life); then the
//! brands of the extract (`data/brands.tsv`, name-suggestion-index, BSD-3), nationwide ones before regional ones before
//! those abroad. A rank's weight follows Zipf's law, so a rule for few names covers many payments, and the many names
//! of the tail are what a model has to generalise to.

use super::dice::Dice;

const EXTRACT: &str = include_str!("../../data/brands.tsv");

/// Zipf's exponent.
const SKEW: f64 = 1.35;

/// Household names, the most popular first: label, and names as statements write them.
const HEADS: [(&str, &[&str]); 21] = [
    ("groceries", &["COSTCO WHSE", "KROGER", "WHOLE FOODS MKT", "TRADER JOE S", "SAFEWAY", "ALDI", "WM SUPERCENTER"]),
    ("restaurants", &["DOORDASH*", "UBER EATS", "MCDONALD'S", "CHIPOTLE", "GRUBHUB*"]),
    ("coffee", &["STARBUCKS", "DUNKIN", "PEETS COFFEE"]),
    ("shopping", &["AMAZON.COM*", "AMZN MKTP US*", "TARGET", "WALMART", "BEST BUY", "EBAY"]),
    ("transportation", &["UBER TRIP", "LYFT *RIDE", "PARKMOBILE", "CITY TRANSIT AUTHORITY", "METRO FARE", "FASTRAK"]),
    ("transportation.fuel", &["SHELL OIL", "CHEVRON", "BP#", "EXXONMOBIL"]),
    ("transportation.auto", &["JIFFY LUBE", "AUTOZONE", "FIRESTONE"]),
    ("travel", &["AIRBNB", "DELTA AIR", "UNITED AIRLINES", "MARRIOTT", "SOUTHWEST AIR", "EXPEDIA"]),
    (
        "entertainment",
        &["NETFLIX.COM", "SPOTIFY USA", "HULU", "STEAM GAMES", "AMC THEATRES", "DISNEY PLUS", "TICKETMASTER"],
    ),
    ("home", &["THE HOME DEPOT", "LOWES", "IKEA", "WAYFAIR"]),
    (
        "housing",
        &[
            "GREENVIEW APARTMENTS",
            "OAKWOOD PROPERTY MGMT",
            "ROCKET MORTGAGE",
            "WELLS FARGO HOME MTG",
            "RIVERSIDE HOA",
            "MAPLE COURT LEASING",
            "SUNSET RESIDENTIAL",
            "AVAIL RENTPAYMENT",
        ],
    ),
    (
        "utilities",
        &[
            "PG&E",
            "COMCAST XFINITY",
            "VERIZON WIRELESS",
            "AT&T",
            "CITY WATER DEPT",
            "CON EDISON",
            "T-MOBILE",
            "REPUBLIC SERVICES TRASH",
        ],
    ),
    ("health", &["CVS/PHARMACY", "WALGREENS", "PLANET FITNESS", "QUEST DIAGNOSTICS", "KAISER PERMANENTE"]),
    ("health.insurance", &["BLUE CROSS", "AETNA", "GEICO", "STATE FARM INSURANCE", "PROGRESSIVE INS"]),
    ("personal.care", &["SEPHORA", "ULTA", "GREAT CLIPS", "SUPERCUTS"]),
    ("education", &["UDEMY", "COURSERA", "STATE UNIVERSITY BURSAR", "BRIGHT HORIZONS"]),
    ("pets", &["CHEWY.COM", "PETSMART", "PETCO", "BANFIELD PET HOSPITAL"]),
    (
        "fees",
        &[
            "MONTHLY MAINTENANCE FEE",
            "OVERDRAFT ITEM FEE",
            "FOREIGN TRANSACTION FEE",
            "USPS PO",
            "TURBOTAX",
            "ATM OPERATOR FEE",
        ],
    ),
    ("transfers", &["ZELLE TO", "VENMO PAYMENT", "CASH APP*", "PAYPAL INST XFER"]),
    ("income", &["PAYROLL", "ADP TOTALSOURCE", "GUSTO PAY", "US TREASURY TAX REF", "STATE OF CA EDD"]),
    ("cash", &["ATM WITHDRAWAL", "CASH WITHDRAWAL BRANCH", "NON-CHASE ATM WITHDRAW"]),
];

/// Brands of one label, the most popular first.
#[derive(Debug)]
pub(super) struct Brands {
    names: Vec<String>,
    /// Running sums of the ranks' weights.
    sums: Vec<f64>,
}

impl Brands {
    pub(super) fn of(label: &str) -> Self {
        let heads = HEADS.iter().find(|(known, _)| *known == label).map_or(&[][..], |(_, names)| names);
        let mut names: Vec<String> = heads.iter().map(|name| (*name).to_owned()).collect();
        let mut tail: Vec<(u64, &str, &str)> = EXTRACT
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let mut fields = line.split('\t');
                Some((fields.next()?, fields.next()?, fields.next()?))
            })
            .filter(|(of, _, _)| *of == label)
            .map(|(_, nearness, name)| (xxhash_rust::xxh3::xxh3_64(name.as_bytes()), nearness, name))
            .collect();
        // Within a tier popularity is not known: a hash deals it, so that it does not follow the alphabet.
        tail.sort_unstable_by(|a, b| a.1.cmp(b.1).then(a.0.cmp(&b.0)));
        names.extend(tail.into_iter().map(|(_, _, name)| name.to_ascii_uppercase()));
        let mut sum = 0.0;
        let sums = (1..=names.len())
            .map(|rank| {
                #[allow(clippy::cast_precision_loss)] // a few hundred
                let weight = 1.0 / (rank as f64).powf(SKEW);
                sum += weight;
                sum
            })
            .collect();
        Self { names, sums }
    }

    /// A brand, by popularity.
    pub(super) fn draw(&self, dice: &mut Dice) -> &str {
        let at = dice.unit() * self.sums.last().copied().unwrap_or(0.0);
        let rank = self.sums.partition_point(|sum| *sum <= at);
        self.names.get(rank).map_or("UNKNOWN MERCHANT", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::SPENDING_LABELS;

    #[test]
    fn every_label_has_someone_to_pay() {
        for label in SPENDING_LABELS {
            assert!(!Brands::of(label).names.is_empty(), "{label}");
        }
        let extracted = EXTRACT.lines().filter(|line| !line.starts_with('#'));
        assert!(extracted.filter_map(|l| l.split('\t').next()).all(|label| SPENDING_LABELS.contains(&label)));
    }

    #[test]
    fn popularity_is_skewed() {
        let brands = Brands::of("groceries");
        let mut dice = Dice::new(1, 1);
        let draws: Vec<&str> = (0..10_000).map(|_| brands.draw(&mut dice)).collect();
        let costco = draws.iter().filter(|name| name.starts_with("COSTCO")).count();
        let distinct = draws.iter().collect::<std::collections::HashSet<_>>().len();
        assert!((2_500..4_500).contains(&costco), "{costco}");
        assert!(distinct > 250, "{distinct}");
    }
}
