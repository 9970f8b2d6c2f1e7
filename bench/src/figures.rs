//! Medians, spreads, ratios.

use serde_json::{Value, json};

/// A figure's values, one for each round.
#[derive(Debug, Default, Clone)]
pub(crate) struct Rounds(Vec<f64>);

impl Rounds {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) const fn count(&self) -> usize {
        self.0.len()
    }

    /// NaN where there is no value.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let middle = sorted.len() / 2;
        if sorted.len() % 2 == 1 { at(middle) } else { f64::midpoint(at(middle.wrapping_sub(1)), at(middle)) }
    }

    pub(crate) fn least(&self) -> f64 {
        self.0.iter().copied().reduce(f64::min).unwrap_or(f64::NAN)
    }

    pub(crate) fn most(&self) -> f64 {
        self.0.iter().copied().reduce(f64::max).unwrap_or(f64::NAN)
    }

    /// Round by round this over `other`: what the machine does to both in a round cancels out.
    pub(crate) fn over(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(mine, theirs)| mine / theirs).collect())
    }

    /// Round by round this less `other`.
    pub(crate) fn less(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(mine, theirs)| mine - theirs).collect())
    }

    /// `{"median", "least", "most"}`, each rounded.
    pub(crate) fn json(&self) -> Value {
        json!({ "median": rounded(self.median()), "least": rounded(self.least()), "most": rounded(self.most()) })
    }
}

/// To four significant digits, more than the measurements have.
pub(crate) fn rounded(value: f64) -> f64 {
    if !value.is_finite() || value == 0.0 {
        return value;
    }
    let scale = 10_f64.powi(3 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let rounds = |values: &[f64]| Rounds(values.to_vec());
        assert!((rounds(&[4.0, 1.0, 2.0, 3.0]).median() - 2.5).abs() < 1e-12);
        assert!((rounds(&[3.0, 1.0, 2.0]).median() - 2.0).abs() < 1e-12);
        assert!(rounds(&[]).median().is_nan());
        assert!((rounds(&[2.0, 9.0]).over(&rounds(&[1.0, 3.0])).median() - 2.5).abs() < 1e-12);
        assert!((rounds(&[2.0, 9.0]).less(&rounds(&[1.0, 3.0])).median() - 3.5).abs() < 1e-12);
    }

    #[test]
    fn four_digits_are_kept() {
        assert!((rounded(123_456.0) - 123_500.0).abs() < 1e-9);
        assert!((rounded(0.001_234_56) - 0.001_235).abs() < 1e-12);
    }
}
