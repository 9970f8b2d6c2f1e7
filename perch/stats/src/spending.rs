//! One error rate shared by many tests: each test gets a part of α, the parts add up to at most 1, and so (union bound)
//! the probability of any false alarm is at most α.
//!
//! The guard knows which tests it plans (one for each step of a rollout) but not how many more it will need (a scorer
//! restarts, an operator resumes, agreement may change at any moment). Those share a part of their own as
//! `1/((k+1)(k+2))`, which adds up to 1 for any number of them and costs only `2·ln k` more evidence at the k-th.
//! Planned tests share the other part evenly, if each step is as likely to find a fault as any other, or in the same
//! falling way, if a fault is most likely there from the first step on.

use serde::{Deserialize, Serialize};

/// Allocates the parts of one error rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spending {
    /// Part of the error rate for planned tests, 0..1.
    planned_part: f64,
    /// Number of planned tests that share it evenly; `None` for the falling way.
    evenly: Option<u32>,
    planned_used: u32,
    spare_used: u32,
}

impl Spending {
    /// `planned` tests share `planned_part` (0..1) of the error rate evenly.
    #[must_use]
    pub fn even(planned: u32, planned_part: f64) -> Self {
        Self { planned_part, evenly: Some(planned.max(1)), planned_used: 0, spare_used: 0 }
    }

    /// Any number of planned tests share `planned_part` (0..1) of the error rate, the first ones most of it.
    #[must_use]
    pub const fn falling(planned_part: f64) -> Self {
        Self { planned_part, evenly: None, planned_used: 0, spare_used: 0 }
    }

    /// The price of the next planned test: the logarithm of the evidence that it requires beyond that of a test with
    /// the whole error rate. After the last of the even parts, the price of an unplanned test.
    pub fn planned(&mut self) -> f64 {
        let part = match self.evenly {
            Some(planned) if self.planned_used >= planned => return self.spare(),
            Some(planned) => 1.0 / f64::from(planned),
            None => falling(self.planned_used),
        };
        self.planned_used = self.planned_used.saturating_add(1);
        -(self.planned_part * part).ln()
    }

    /// The price of the next unplanned test.
    pub fn spare(&mut self) -> f64 {
        let part = falling(self.spare_used);
        self.spare_used = self.spare_used.saturating_add(1);
        -((1.0 - self.planned_part) * part).ln()
    }
}

fn falling(used: u32) -> f64 {
    let k = f64::from(used);
    1.0 / ((k + 1.0) * (k + 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_never_add_up_to_more_than_the_whole() {
        for mut spending in [Spending::even(6, 0.9), Spending::falling(0.6)] {
            let mut spent = 0.0;
            for i in 0..100_000 {
                let cost = if i % 100 == 0 { spending.planned() } else { spending.spare() };
                assert!(cost > 0.0);
                spent += (-cost).exp();
            }
            assert!(spent <= 1.0, "{spent}");
            assert!(spent > 0.99, "{spent}");
        }
    }
}
