//! Many tests, one error rate: each test gets a part of α, the parts add up to at most one, and so do (union bound) the
//! chances of a false alarm.
//!
//! The guard knows how many tests it plans (one for each step of a ramp) but not how many it will need (a scorer
//! restarts, an operator resumes, agreement may change at any moment). So planned tests share one part evenly, and the
//! others share the rest as `1/((k+1)(k+2))`, which adds up to 1 for any number of them and costs only `2·ln k` more
//! evidence at the k-th.

use serde::{Deserialize, Serialize};

/// Hands out the parts of one error rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spending {
    /// Part of the error rate for planned tests, 0..1.
    planned_part: f64,
    /// How many tests are planned.
    planned: u32,
    planned_used: u32,
    spare_used: u32,
}

impl Spending {
    /// `planned` tests share `planned_part` (0..1) of the error rate.
    #[must_use]
    pub fn new(planned: u32, planned_part: f64) -> Self {
        Self { planned_part, planned: planned.max(1), planned_used: 0, spare_used: 0 }
    }

    /// The next planned test: how much more evidence it needs than one that had the whole rate, as a logarithm. Once the
    /// planned ones are used up, a spare one.
    pub fn planned(&mut self) -> f64 {
        if self.planned_used >= self.planned {
            return self.spare();
        }
        self.planned_used += 1;
        -(self.planned_part / f64::from(self.planned)).ln()
    }

    /// The next test that was not planned.
    pub fn spare(&mut self) -> f64 {
        let k = f64::from(self.spare_used);
        self.spare_used = self.spare_used.saturating_add(1);
        -((1.0 - self.planned_part) / ((k + 1.0) * (k + 2.0))).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_never_add_up_to_more_than_the_whole() {
        let mut spending = Spending::new(6, 0.9);
        let mut spent = 0.0;
        for i in 0..100_000 {
            let cost = if i % 1000 == 0 { spending.planned() } else { spending.spare() };
            assert!(cost > 0.0);
            spent += (-cost).exp();
        }
        assert!(spent <= 1.0, "{spent}");
        assert!(spent > 0.99, "{spent}");
    }
}
