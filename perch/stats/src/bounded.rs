//! Evidence that the mean of values in 0..=1 is below (above) a threshold, by betting, from count, sum and sum of
//! squares alone.
//!
//! # The game
//! Against "the mean is at least m", bet a constant fraction on low values: a unit with value x multiplies the
//! wealth by `1 + λ(x − m)`, `−1/(1−m) < λ < 0`. If the hypothesis is true, even if the units are not independent and
//! only `E[xᵢ | past] ≥ m`, the wealth is a nonnegative supermartingale that starts at 1: Waudby-Smith & Ramdas,
//! "Estimating means of bounded random variables by betting", JRSS-B 86 (2024), Proposition 2 and equation (22). A
//! mixture over several λ is one too (their section B.2, "diversified" bets; Orabona & Jun, IEEE Trans. Inf. Theory 70
//! (2024)) and does nearly as well as the best of them.
//!
//! # From sums alone
//! The wealth needs each x, but counters give only n = Σ1, S = Σx and Q = Σx². So each bet is replaced by a lower bound
//! whose logarithm is quadratic in x; a lower bound of a supermartingale refutes nothing wrongly. With `c = |λ|(1−m)`,
//! the part of the wealth at stake, `0 < c < 1`:
//!
//! **Ends.** `ln(1 + λ(x−m)) ≥ (1−x)·f₀ + x·f₁ + a·x(1−x)` with `f₁ = ln(1−c)`, `f₀ = ln(1 + c·m/(1−m))`,
//! `r = exp(f₁−f₀)`, `a = r − 1 − ln r`. It is exact at 0 and 1, so nothing is lost on one item per request.
//! *Proof.* Let f be the left side and g the difference left − right: g(0) = g(1) = 0. f″ = −λ²/(1+λ(x−m))² falls as x
//! grows (λ < 0), so |f″| is least at 0, and a = f′(0) − (f₁−f₀) makes g′(0) = 0. g″ = f″ + 2a is falling: g is convex,
//! then concave. Where it is convex, g ≥ 0 since g(0) = g′(0) = 0; then it is concave between a point with g ≥ 0 and
//! g(1) = 0, so g ≥ 0 again. ∎
//!
//! **Mean.** `ln(1 + ξ) ≥ ξ + ξ²·(ln(1−c) + c)/c²` for `ξ = λ(x−m) ≥ −c`: Fan, Grama & Liu, EJP 20 (2015), Lemma 4.1,
//! as used in Howard et al., Ann. Stat. 49 (2021), Theorem 4. It is the better one when values lie close together (many
//! items per request).
//!
//! Half of the wealth goes to each, over stakes c from almost all down to 0.2% in a geometric grid. "Above m" is
//! "below 1 − m" of the complements.
//!
//! # Confidence sequence
//! A mean is excluded when the wealth against it has reached `1/α`: `lower..=upper` at level `1 − 2α` for both ends.

use super::moments::Moments;

/// Largest stake. At 1 a single worst value would lose everything for good.
const LARGEST_STAKE: f64 = 0.98;
/// From one stake to the next smaller one; a bet off by the root of it still grows at 95% of the best rate.
const STAKE_RATIO: f64 = 2.0;
/// Number of stakes.
const STAKES: u32 = 10;
/// Smallest distance of a threshold from 0 and 1, where a bet's odds would be infinite.
const EDGE: f64 = 1e-9;
/// Number of points of the first search for a bound, and the factor by which they approach 1.
const SCAN: i32 = 16;
const SCAN_RATIO: f64 = 0.45;

/// The claim that the evidence is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The mean is below the threshold.
    Below,
    /// The mean is above the threshold.
    Above,
}

/// The logarithm of one bet's wealth as a linear form of count, sum and squares.
#[derive(Debug, Clone, Copy)]
struct Bet {
    per_unit: f64,
    per_sum: f64,
    per_square: f64,
}

impl Bet {
    fn log_wealth(self, moments: Moments) -> f64 {
        self.per_unit * moments.count + self.per_sum * moments.sum + self.per_square * moments.squares
    }
}

/// The mixture of bets for one threshold and side.
#[derive(Debug, Clone)]
pub struct Bets {
    side: Direction,
    bets: Vec<Bet>,
}

impl Bets {
    /// Bets for the claim that the mean is on `side` of `threshold` (0..=1).
    #[must_use]
    pub fn new(side: Direction, threshold: f64) -> Self {
        let threshold = match side {
            Direction::Below => threshold,
            Direction::Above => 1.0 - threshold,
        };
        let m = threshold.clamp(EDGE, 1.0 - EDGE);
        let bets = stakes().flat_map(|stake| [ends(m, stake), mean(m, stake)]).collect();
        Self { side, bets }
    }

    /// Logarithm of the evidence. Ever reaching `ln(1/α)` while the claim is false has probability at most α.
    #[must_use]
    pub fn log_evidence(&self, moments: Moments) -> f64 {
        let moments = self.turned(moments);
        let logs = || self.bets.iter().map(|bet| bet.log_wealth(moments));
        log_mean_exp(logs(), self.bets.len())
    }

    /// Returns `true` if [`Bets::log_evidence`] has reached `required`; fast if it is far below.
    #[must_use]
    pub fn reaches(&self, moments: Moments, required: f64) -> bool {
        self.ceiling(moments) >= required && self.log_evidence(moments) >= required
    }

    /// An upper bound of the log evidence: a mean of bets is at most the best of them.
    #[must_use]
    pub fn ceiling(&self, moments: Moments) -> f64 {
        let moments = self.turned(moments);
        self.bets.iter().map(|bet| bet.log_wealth(moments)).fold(f64::NEG_INFINITY, f64::max)
    }

    /// The half that is exact on single items.
    #[cfg(test)]
    pub(super) fn log_evidence_of_ends(&self, moments: Moments) -> f64 {
        let moments = self.turned(moments);
        let ends = self.bets.iter().step_by(2).map(|bet| bet.log_wealth(moments));
        log_mean_exp(ends, self.bets.len() / 2)
    }

    fn turned(&self, moments: Moments) -> Moments {
        match self.side {
            Direction::Below => moments,
            Direction::Above => moments.mirrored(),
        }
    }
}

/// The largest mean that is not refuted; the true mean exceeds it with probability at most α, `required = ln(1/α)`.
#[must_use]
pub fn upper_bound(moments: Moments, required: f64) -> f64 {
    let Some(mean) = moments.mean() else { return 1.0 };
    let refuted = |m: f64| Bets::new(Direction::Below, m).reaches(moments, required);
    // From near 1 down to the mean, evenly in ln(1 − m): the first value that is not refuted bounds the result from
    // below, the one before it from above.
    let room = (1.0 - mean).max(0.0);
    let mut outside = 1.0;
    for i in (0..=SCAN).rev() {
        let m = 1.0 - room * SCAN_RATIO.powi(i);
        if !refuted(m) {
            return if outside == 1.0 { 1.0 } else { bisect(m, outside, refuted) };
        }
        outside = m;
    }
    mean
}

/// The smallest mean that is not refuted, as [`upper_bound`].
#[must_use]
pub fn lower_bound(moments: Moments, required: f64) -> f64 {
    1.0 - upper_bound(moments.mirrored(), required)
}

fn bisect(mut inside: f64, mut outside: f64, refuted: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..26 {
        let middle = f64::midpoint(inside, outside);
        if refuted(middle) {
            outside = middle;
        } else {
            inside = middle;
        }
    }
    outside
}

fn stakes() -> impl Iterator<Item = f64> {
    (0..STAKES).scan(LARGEST_STAKE, |stake, _| {
        let this = *stake;
        *stake /= STAKE_RATIO;
        Some(this)
    })
}

/// The bound that is exact at both ends.
fn ends(m: f64, stake: f64) -> Bet {
    let at_one = (-stake).ln_1p();
    let at_zero = (stake * m / (1.0 - m)).ln_1p();
    let log_ratio = at_one - at_zero;
    let inside = log_ratio.exp_m1() - log_ratio;
    Bet { per_unit: at_zero, per_sum: log_ratio + inside, per_square: -inside }
}

/// The bound that is exact at the threshold.
fn mean(m: f64, stake: f64) -> Bet {
    let bet = -stake / (1.0 - m);
    let curve = -((-stake).ln_1p() + stake) / (stake * stake) * bet * bet;
    Bet { per_unit: -bet * m - curve * m * m, per_sum: bet + 2.0 * curve * m, per_square: -curve }
}

/// `ln` of the mean of `exp(logs)`.
pub(super) fn log_mean_exp(logs: impl Iterator<Item = f64> + Clone, count: usize) -> f64 {
    let largest = logs.clone().fold(f64::NEG_INFINITY, f64::max);
    if !largest.is_finite() {
        return largest;
    }
    #[allow(clippy::cast_precision_loss)]
    let count = count as f64;
    largest + (logs.map(|log| (log - largest).exp()).sum::<f64>() / count).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[f64]) -> Moments {
        let mut moments = Moments::NONE;
        values.iter().for_each(|value| moments.push(*value));
        moments
    }

    proptest! {
        #[test]
        fn each_bound_is_below_the_wealth_that_it_replaces(
            m in 0.001..0.999_f64, stake in 0.001..0.98_f64, x in 0.0..=1.0_f64,
        ) {
            let wealth = (1.0 - stake / (1.0 - m) * (x - m)).ln();
            let one = of(&[x]);
            prop_assert!(ends(m, stake).log_wealth(one) <= wealth + 1e-9);
            prop_assert!(mean(m, stake).log_wealth(one) <= wealth + 1e-9);
        }

        #[test]
        fn nothing_is_lost_on_single_items(m in 0.01..0.99_f64, stake in 0.001..0.98_f64, agrees: bool) {
            let x = f64::from(u8::from(agrees));
            let wealth = (1.0 - stake / (1.0 - m) * (x - m)).ln();
            prop_assert!((ends(m, stake).log_wealth(of(&[x])) - wealth).abs() < 1e-9);
        }

        #[test]
        fn the_bounds_hold_the_mean_and_close_in(values in proptest::collection::vec(0.0..=1.0, 1..60)) {
            let once = of(&values);
            let mut often = Moments::NONE;
            (0..50).for_each(|_| often = often.plus(once));
            let mean = once.mean().unwrap();
            let width = |moments| {
                let (lower, upper) = (lower_bound(moments, 3.0), upper_bound(moments, 3.0));
                assert!(lower <= mean + 1e-9 && mean <= upper + 1e-9, "{lower} {mean} {upper}");
                upper - lower
            };
            prop_assert!(width(often) <= width(once) + 1e-9);
        }

        #[test]
        fn a_threshold_is_reached_exactly_when_the_bound_is_past_it(
            agree in 0_u32..400, differ in 1_u32..100, threshold in 0.05..0.95_f64,
        ) {
            let (agree, differ) = (f64::from(agree), f64::from(differ));
            let moments = Moments { count: agree + differ, sum: agree, squares: agree };
            let reached = Bets::new(Direction::Below, threshold).reaches(moments, 4.0);
            let bound = upper_bound(moments, 4.0);
            prop_assert!(reached == (bound < threshold) || (bound - threshold).abs() < 1e-6, "{bound} {threshold}");
        }
    }

    #[test]
    fn without_data_the_bounds_are_zero_and_one() {
        assert_eq!((lower_bound(Moments::NONE, 3.0), upper_bound(Moments::NONE, 3.0)), (0.0, 1.0));
        assert!(Bets::new(Direction::Below, 0.5).log_evidence(Moments::NONE).abs() < 1e-12);
    }

    #[test]
    fn above_is_below_of_the_complements() {
        let moments = of(&[0.2, 0.4, 0.0, 1.0]);
        let above = Bets::new(Direction::Above, 0.1).log_evidence(moments);
        let below = Bets::new(Direction::Below, 0.9).log_evidence(moments.mirrored());
        assert!((above - below).abs() < 1e-12);
    }

    #[test]
    fn a_mean_of_one_proves_little_with_few_units_and_much_with_many() {
        let agreeing = |n: u32| Moments { count: n.into(), sum: n.into(), squares: n.into() };
        let required = 20_f64.ln();
        assert!(lower_bound(agreeing(3), required) < 0.2);
        assert!(lower_bound(agreeing(10_000), required) > 0.999);
    }
}
