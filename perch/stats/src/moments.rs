//! Count, sum and sum of squares of values in 0..=1: all that [`super::bounded`] needs of a stream, and all that
//! cumulative counters can tell. Being sums, they can be taken apart again: what was counted since a moment is a
//! difference, so a look that was missed costs nothing.

use serde::{Deserialize, Serialize};

/// Sums over units (requests, or looks), each of which has a value in 0..=1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// Units.
    pub count: f64,
    /// Σ x.
    pub sum: f64,
    /// Σ x².
    pub squares: f64,
}

impl Moments {
    /// Nothing yet.
    pub const NONE: Self = Self { count: 0.0, sum: 0.0, squares: 0.0 };

    /// Adds one unit; a value outside 0..=1 is taken to its nearer end, one that is no number is left out.
    pub fn push(&mut self, value: f64) {
        if value.is_nan() {
            return;
        }
        let value = value.clamp(0.0, 1.0);
        self.count += 1.0;
        self.sum += value;
        self.squares += value * value;
    }

    /// What was counted since `earlier`, made consistent: counters that are read one after another can be a unit apart,
    /// so the sum is held within the count and the squares within what the two allow.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        let count = (self.count - earlier.count).max(0.0);
        let sum = (self.sum - earlier.sum).max(0.0).min(count);
        let least = if count > 0.0 { sum * sum / count } else { 0.0 };
        Self { count, sum, squares: (self.squares - earlier.squares).max(least).min(sum) }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { count: self.count + other.count, sum: self.sum + other.sum, squares: self.squares + other.squares }
    }

    /// The mean; `None` without units.
    #[must_use]
    pub fn mean(self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum / self.count)
    }

    /// The same stream with 1 − x for x.
    #[must_use]
    pub fn mirrored(self) -> Self {
        Self { count: self.count, sum: self.count - self.sum, squares: self.count - 2.0 * self.sum + self.squares }
    }
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
        fn what_came_since_is_what_came_since(
            before in proptest::collection::vec(0.0..=1.0, 0..30),
            after in proptest::collection::vec(0.0..=1.0, 0..30),
        ) {
            let (first, second) = (of(&before), of(&after));
            let since = first.plus(second).since(first);
            prop_assert!((since.count - second.count).abs() < 1e-9);
            prop_assert!((since.sum - second.sum).abs() < 1e-9);
            prop_assert!((since.squares - second.squares).abs() < 1e-9);
        }

        #[test]
        fn mirrored_is_the_stream_of_complements(values in proptest::collection::vec(0.0..=1.0, 0..30)) {
            let complements: Vec<f64> = values.iter().map(|x| 1.0 - x).collect();
            let (mirrored, expected) = (of(&values).mirrored(), of(&complements));
            prop_assert!((mirrored.sum - expected.sum).abs() < 1e-9);
            prop_assert!((mirrored.squares - expected.squares).abs() < 1e-9);
        }

        #[test]
        fn torn_reads_stay_possible(count in -5.0..50.0, sum in -5.0..60.0, squares in -5.0..60.0) {
            let since = Moments { count, sum, squares }.since(Moments::NONE);
            prop_assert!(since.count >= 0.0 && since.sum >= 0.0 && since.sum <= since.count);
            prop_assert!(since.squares <= since.sum && since.squares * since.count >= since.sum * since.sum - 1e-9);
        }
    }

    #[test]
    fn no_number_is_no_unit() {
        assert_eq!(of(&[f64::NAN, 2.0]), of(&[1.0]));
        assert_eq!(Moments::NONE.mean(), None);
    }
}
