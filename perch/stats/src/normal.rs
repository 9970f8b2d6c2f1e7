//! A difference with an estimated variance: evidence and bounds from the normal mixture.
//!
//! For an estimate d of a difference δ with variance V, and a normal prior of variance τ² on δ, `r = τ²/V`:
//!
//! - Two sides: the mixture likelihood ratio against δ = δ₀ is `√(1/(1+r)) · exp(z²/2 · r/(1+r))`, `z = (d−δ₀)/√V`, so
//!   δ lies within `√(V·(1+r)/r·(ln(1+r) + 2·ln(1/α)))` of d. Howard et al., Ann. Stat. 49 (2021), equation (14);
//!   Robbins, Ann. Math. Stat. 41 (1970).
//! - One side, the prior cut to δ > δ₀: `2·√(1/(1+r)) · exp(z²/2 · r/(1+r)) · Φ(z·√(r/(1+r)))`, Howard et al.,
//!   Proposition 6.
//!
//! With a variance that is estimated, and data that are not normal, both hold in the limit: Waudby-Smith, Arbour,
//! Sinha, Kennedy & Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences", Ann. Stat. 52
//! (2024), Theorem 2.2 and, for one side, appendix B.1. That is why a comparison requires a minimum number of users,
//! and why `make guard-trials` measures how often it errs at the sample sizes of a rollout.

/// `ln` of the evidence for δ > δ₀ from `z = (d − δ₀)/√V` and `r = τ²/V`.
#[must_use]
pub fn log_evidence_above(z: f64, r: f64) -> f64 {
    let shrink = r / (1.0 + r);
    let below = 0.5 * libm::erfc(-z * (shrink / 2.0).sqrt());
    std::f64::consts::LN_2 - 0.5 * r.ln_1p() + 0.5 * z * z * shrink + below.ln()
}

/// How far δ may lie from the estimate on either side; `required = ln(1/α)`, `r` as above.
#[must_use]
pub fn half_width(variance: f64, r: f64, required: f64) -> f64 {
    (variance * (1.0 + r) / r * (r.ln_1p() + 2.0 * required)).sqrt()
}

/// How far δ may lie from the estimate on one side; `required = ln(1/α)`, `r` as above.
#[must_use]
pub fn one_sided_width(variance: f64, r: f64, required: f64) -> f64 {
    let (mut kept, mut refuted) = (-40.0, 40.0 + (8.0 * required * (1.0 + 1.0 / r)).sqrt());
    for _ in 0..60 {
        let z = f64::midpoint(kept, refuted);
        if log_evidence_above(z, r) >= required {
            refuted = z;
        } else {
            kept = z;
        }
    }
    refuted * variance.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_width_is_where_the_evidence_reaches_what_is_required(
            variance in 1e-6..1.0_f64, r in 0.01..1e4_f64, required in 1.0..20.0_f64,
        ) {
            let width = one_sided_width(variance, r, required);
            let z = width / variance.sqrt();
            prop_assert!((log_evidence_above(z, r) - required).abs() < 1e-6);
            prop_assert!(width < half_width(variance, r, required));
        }

        #[test]
        fn evidence_grows_with_the_distance(z in -8.0..8.0_f64, r in 0.01..1e4_f64) {
            prop_assert!(log_evidence_above(z + 0.1, r) > log_evidence_above(z, r));
        }
    }

    #[test]
    fn evidence_has_mean_one_without_a_difference() {
        // Numerically, over z normal: Σ e(z)·φ(z)·dz.
        for r in [0.1, 3.0, 50.0] {
            let mean: f64 = (-80_000..80_000)
                .map(|i| {
                    let z = f64::from(i) / 1000.0;
                    (log_evidence_above(z, r) - 0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt() / 1000.0
                })
                .sum();
            assert!((mean - 1.0).abs() < 0.01, "{r}: {mean}");
        }
    }
}
