//! Accept rates of two arms, with the user as unit.
//!
//! A rate over all feedback is a ratio of sums over users, Σa/Σk, and feedback of one user is not independent. Its
//! variance by the delta method is `Σ(a − p·k)² / (Σk)² · n/(n−1)` over n users: Deng, Knoblich & Lu, "Applying the
//! delta method in metric analytics", KDD 2018, section 2; with the sums of [`Clusters`] it is
//! known without the users themselves. It is never less than the variance of independent feedback, since the first few
//! may all agree.

use serde::{Deserialize, Serialize};

use super::normal;

/// Sums over users, each of whom gave `k` feedbacks of which `a` were accepts: all that a ratio of sums and its
/// variance by user need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clusters {
    /// Users with at least one feedback.
    pub users: u64,
    /// Σ k.
    pub given: u64,
    /// Σ a.
    pub accepted: u64,
    /// Σ k².
    pub given_squared: u64,
    /// Σ a².
    pub accepted_squared: u64,
    /// Σ k·a.
    pub given_accepted: u64,
}

impl Clusters {
    /// Adds a user with `given` feedbacks, `accepted` of them accepts. Nothing is added when `given` is 0.
    pub fn add(&mut self, given: u64, accepted: u64) {
        if given == 0 {
            return;
        }
        let accepted = accepted.min(given);
        self.users = self.users.saturating_add(1);
        self.given = self.given.saturating_add(given);
        self.accepted = self.accepted.saturating_add(accepted);
        self.given_squared = self.given_squared.saturating_add(given.saturating_mul(given));
        self.accepted_squared = self.accepted_squared.saturating_add(accepted.saturating_mul(accepted));
        self.given_accepted = self.given_accepted.saturating_add(given.saturating_mul(accepted));
    }
}

/// A rate with its variance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Σa/Σk.
    pub value: f64,
    /// Variance of the rate.
    pub variance: f64,
    /// Number of users with feedback.
    pub users: f64,
}

/// The accept rate of an arm; `None` below two users.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn rate(clusters: &Clusters) -> Option<Rate> {
    if clusters.users < 2 {
        return None;
    }
    let users = clusters.users as f64;
    let given = clusters.given as f64;
    let accepted = clusters.accepted as f64;
    let value = accepted / given;
    let spread = clusters.accepted_squared as f64 - 2.0 * value * clusters.given_accepted as f64
        + value * value * clusters.given_squared as f64;
    let by_user = spread / (given * given) * users / (users - 1.0);
    // Laplace's rule keeps the floor above 0 when all feedback agrees.
    let careful = (accepted + 1.0) / (given + 2.0);
    Some(Rate { value, variance: by_user.max(careful * (1.0 - careful) / given), users })
}

/// Accept rate of the candidate's responses minus that of the baseline's responses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// Accept rate of the baseline's responses.
    pub rule: Rate,
    /// Accept rate of the candidate's responses.
    pub model: Rate,
    /// Standard deviation of the prior on the difference: about the size of a relevant difference.
    pub prior: f64,
}

impl Difference {
    /// The difference; `None` while an arm has fewer than two users with feedback.
    #[must_use]
    pub fn of(rule: &Clusters, model: &Clusters, prior: f64) -> Option<Self> {
        Some(Self { rule: rate(rule)?, model: rate(model)?, prior })
    }

    /// Candidate minus baseline, −1..=1.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.model.value - self.rule.value
    }

    /// Number of users in the smaller arm.
    #[must_use]
    pub fn users(&self) -> f64 {
        self.rule.users.min(self.model.users)
    }

    /// `ln` of the evidence that the difference is below `threshold`.
    #[must_use]
    pub fn log_evidence_below(&self, threshold: f64) -> f64 {
        normal::log_evidence_above((threshold - self.value()) / self.variance().sqrt(), self.ratio())
    }

    /// The largest difference that is not refuted; `required = ln(1/α)`.
    #[must_use]
    pub fn upper_bound(&self, required: f64) -> f64 {
        self.value() + normal::one_sided_width(self.variance(), self.ratio(), required)
    }

    /// The smallest difference that is not refuted; `required = ln(1/α)`.
    #[must_use]
    pub fn lower_bound(&self, required: f64) -> f64 {
        self.value() - normal::one_sided_width(self.variance(), self.ratio(), required)
    }

    fn variance(&self) -> f64 {
        self.rule.variance + self.model.variance
    }

    fn ratio(&self) -> f64 {
        self.prior * self.prior / self.variance()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(each: u64, of: &[(u64, u64)]) -> Clusters {
        let mut clusters = Clusters::default();
        for (given, accepted) in of {
            (0..each).for_each(|_| clusters.add(*given, *accepted));
        }
        clusters
    }

    #[test]
    fn a_users_habit_widens_the_rate() {
        // The same totals: in one case every user accepts half, in the other half of the users accept everything.
        let mixed = rate(&users(100, &[(10, 5), (10, 5)])).unwrap();
        let habits = rate(&users(100, &[(10, 10), (10, 0)])).unwrap();
        assert_eq!(mixed.value, habits.value);
        assert!(habits.variance > 9.0 * mixed.variance, "{habits:?} {mixed:?}");
        // 200 users with one vote each.
        assert!((habits.variance - 0.25 / 199.0).abs() < 1e-12);
    }

    #[test]
    fn a_few_users_that_agree_prove_nothing() {
        let (rule, model) = (users(1, &[(1, 1), (1, 1)]), users(1, &[(1, 0), (1, 0)]));
        let difference = Difference::of(&rule, &model, 0.05).unwrap();
        assert_eq!(difference.value(), -1.0);
        assert!(difference.log_evidence_below(0.0) < 2.0);
        assert_eq!(Difference::of(&Clusters::default(), &Clusters::default(), 0.05), None);
    }

    #[test]
    fn the_bound_is_past_the_threshold_when_the_evidence_suffices() {
        let (rule, model) = (users(500, &[(3, 2), (2, 1)]), users(400, &[(3, 1), (2, 1)]));
        let difference = Difference::of(&rule, &model, 0.05).unwrap();
        let upper = difference.upper_bound(5.0);
        assert!(difference.log_evidence_below(upper + 1e-6) > 5.0 && difference.log_evidence_below(upper - 1e-6) < 5.0);
        assert!(difference.lower_bound(5.0) < difference.value() && difference.value() < upper);
    }
}
