//! Deterministic chance: the same seed gives the same throws on every machine.
//!
//! SplitMix64. It is not secret and need not be: it writes demo data.

/// A stream of throws.
#[derive(Debug, Clone)]
pub(super) struct Dice {
    state: u64,
}

impl Dice {
    /// The stream number `stream` of `seed`; streams do not depend on each other, so that a user's data stays the same
    /// whatever the number of users.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut dice = Self { state: seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95) };
        dice.next();
        dice
    }

    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0.0..1.0.
    #[allow(clippy::cast_precision_loss)] // 53 bits fit
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True once in `1 / share` throws.
    pub(super) fn chance(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// 0..n; 0 for an `n` of 0.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        // The bias of a remainder is below 2^-40 for the small numbers thrown here.
        if n == 0 { 0 } else { self.next() % n }
    }

    /// `low..=high`.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = u64::try_from(high.saturating_sub(low)).unwrap_or(0).saturating_add(1);
        low.saturating_add(i64::try_from(self.below(span)).unwrap_or(0))
    }

    /// One of `from`; `None` only of nothing.
    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let at = usize::try_from(self.below(from.len() as u64)).unwrap_or(0);
        from.get(at)
    }

    /// The place drawn by weight.
    pub(super) fn weighted(&mut self, weights: impl Iterator<Item = f64> + Clone) -> usize {
        let mut left = self.unit() * weights.clone().sum::<f64>();
        let mut last = 0;
        for (place, weight) in weights.enumerate() {
            last = place;
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
        last
    }

    /// Around 0 with deviation 1: twelve throws added up, good to three deviations, which demo data never passes.
    pub(super) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throws_are_frozen() {
        let mut dice = Dice::new(42, 7);
        let again: Vec<u64> = (0..3).map(|_| dice.below(1_000)).collect();
        let mut dice = Dice::new(42, 7);
        assert_eq!(again, (0..3).map(|_| dice.below(1_000)).collect::<Vec<_>>());
        assert_ne!(Dice::new(42, 8).next(), Dice::new(42, 7).next());
    }

    #[test]
    fn weights_are_kept() {
        let mut dice = Dice::new(1, 1);
        let second = (0..10_000).filter(|_| dice.weighted([1.0, 3.0].into_iter()) == 1).count();
        assert!((7_300..7_700).contains(&second), "{second}");
    }
}
