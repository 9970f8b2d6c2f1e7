//! Sample ratio mismatch: evidence that the split of users between the arms differs from the canary share.
//!
//! After a mismatch the arms are not comparable, and no check that compares them is valid. Its usual cause is that
//! events of one arm are lost, not the hash. The test is the Bayes factor of a binomial with a beta prior around the
//! expected share against the expected share itself, `B(κp+a, κ(1−p)+b) / (B(κp, κ(1−p)) · pᵃ(1−p)ᵇ)`: Lindon & Malek,
//! "Anytime-valid inference for multinomial count data", NeurIPS 2022, section 2 (their Dirichlet prior κ·θ₀). The
//! average over several concentrations κ is an e-process too, and finds both gross and slight mismatches.
//!
//! **Requests instead of users.** Arms are sticky, so all requests of a user belong to the same arm, and the count of
//! requests overstates the evidence. If no user makes more than k requests, count each as 1/k of a user: raising each
//! user's factor L to a weight w in 0..=1 keeps `E[Lʷ] ≤ (E[L])ʷ ≤ 1` (Jensen), so the counts above may be fractions.

use super::bounded::log_mean_exp;

/// Concentrations κ of the prior around the expected share, from vague to narrow.
const CONCENTRATIONS: [f64; 4] = [10.0, 100.0, 1_000.0, 10_000.0];

/// Numbers of users (or fractions of users) in the arms.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Split {
    /// Users in the candidate's arm.
    pub model: f64,
    /// Users in the baseline's arm.
    pub rule: f64,
}

impl Split {
    /// Share of the candidate's arm; `None` without users.
    #[must_use]
    pub fn share(self) -> Option<f64> {
        let all = self.model + self.rule;
        (all > 0.0).then(|| self.model / all)
    }
}

/// `ln` of the evidence that the share is not `wanted` (0..=1). At 0 and 1 a single user in the wrong arm refutes it.
#[must_use]
pub fn log_evidence(split: Split, wanted: f64) -> f64 {
    let impossible = (wanted <= 0.0 && split.model > 0.0) || (wanted >= 1.0 && split.rule > 0.0);
    if impossible {
        return f64::INFINITY;
    }
    if wanted <= 0.0 || wanted >= 1.0 {
        return 0.0;
    }
    let logs = CONCENTRATIONS.iter().map(|concentration| log_bayes_factor(split, wanted, *concentration));
    log_mean_exp(logs, CONCENTRATIONS.len())
}

/// The Bayes factor for one concentration of the prior.
#[must_use]
pub fn log_bayes_factor(split: Split, wanted: f64, concentration: f64) -> f64 {
    let (a, b) = (concentration * wanted, concentration * (1.0 - wanted));
    log_beta(a + split.model, b + split.rule)
        - log_beta(a, b)
        - split.model * wanted.ln()
        - split.rule * (-wanted).ln_1p()
}

/// The smallest and the largest share that are not refuted, `required = ln(1/α)`.
#[must_use]
pub fn bounds(split: Split, required: f64) -> (f64, f64) {
    let Some(share) = split.share() else { return (0.0, 1.0) };
    let end = |outer: f64| {
        let (mut kept, mut refuted) = (share, outer);
        for _ in 0..40 {
            let middle = f64::midpoint(kept, refuted);
            if log_evidence(split, middle) >= required {
                refuted = middle;
            } else {
                kept = middle;
            }
        }
        refuted
    };
    (end(0.0), end(1.0))
}

fn log_beta(a: f64, b: f64) -> f64 {
    libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_mean_of_the_evidence_is_one_after_every_number_of_users(wanted in 0.02..0.98_f64, users in 1_u32..40) {
            // Over the binomial distribution of the users in the candidate's arm.
            let n = f64::from(users);
            let mean: f64 = (0..=users)
                .map(|k| {
                    let k = f64::from(k);
                    let chance = libm::lgamma(n + 1.0) - libm::lgamma(k + 1.0) - libm::lgamma(n - k + 1.0)
                        + k * wanted.ln()
                        + (n - k) * (1.0 - wanted).ln();
                    (chance + log_evidence(Split { model: k, rule: n - k }, wanted)).exp()
                })
                .sum();
            prop_assert!((mean - 1.0).abs() < 1e-6, "{mean}");
        }

        #[test]
        fn requests_of_one_user_count_less_than_users(wanted in 0.05..0.95_f64, weight in 0.01..1.0_f64) {
            let mean = wanted * log_evidence(Split { model: weight, rule: 0.0 }, wanted).exp()
                + (1.0 - wanted) * log_evidence(Split { model: 0.0, rule: weight }, wanted).exp();
            prop_assert!(mean <= 1.0 + 1e-9);
        }

        #[test]
        fn the_bounds_hold_the_share(model in 0_u32..3000, rule in 0_u32..3000) {
            let split = Split { model: model.into(), rule: rule.into() };
            let (low, high) = bounds(split, 4.0);
            prop_assert!(split.share().is_none_or(|share| low <= share && share <= high));
        }
    }

    #[test]
    fn at_zero_percent_one_user_on_the_candidate_is_a_mismatch() {
        assert_eq!(log_evidence(Split { model: 1.0, rule: 5.0 }, 0.0), f64::INFINITY);
        assert_eq!(log_evidence(Split { model: 0.0, rule: 5.0 }, 0.0), 0.0);
        assert_eq!(log_evidence(Split { model: 9.0, rule: 0.0 }, 1.0), 0.0);
    }

    #[test]
    fn eight_percent_is_not_ten() {
        let split = |users: f64| Split { model: users * 0.08, rule: users * 0.92 };
        assert!(log_evidence(split(300.0), 0.1) < 3.0);
        assert!(log_evidence(split(6000.0), 0.1) > 7.0);
    }
}
