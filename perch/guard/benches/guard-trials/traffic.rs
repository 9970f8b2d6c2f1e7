//! Simulated traffic: requests of several items that are not independent, from users who have habits.

use crate::random::{Random, mix, unit};

/// How many items a request has, and how often.
const ITEMS: [(u32, f64); 5] = [(1, 0.5), (2, 0.2), (3, 0.15), (5, 0.1), (10, 0.05)];
/// Correlation of the items of a request, and of the feedbacks of a user.
const CORRELATION: f64 = 0.4;

/// The distribution of a request's agreement: items share a chance of agreement that varies from request to request
/// (beta-binomial).
pub(crate) struct Agreement {
    /// Value and probability up to and including it.
    steps: Vec<(f64, f64)>,
    pub(crate) mean: f64,
    pub(crate) variance: f64,
}

impl Agreement {
    pub(crate) fn of_mean(mean: f64) -> Self {
        let weight = 1.0 / CORRELATION - 1.0;
        let (a, b) = (mean * weight, (1.0 - mean) * weight);
        let mut values: Vec<(f64, f64)> = Vec::new();
        for (items, often) in ITEMS {
            for agree in 0..=items {
                let (n, k) = (f64::from(items), f64::from(agree));
                let log = libm::lgamma(n + 1.0) - libm::lgamma(k + 1.0) - libm::lgamma(n - k + 1.0)
                    + log_beta(k + a, n - k + b)
                    - log_beta(a, b);
                values.push((k / n, often * log.exp()));
            }
        }
        let variance = values.iter().map(|(value, chance)| chance * (value - mean) * (value - mean)).sum();
        // The likeliest first: most draws end at once.
        values.sort_by(|x, y| y.1.total_cmp(&x.1));
        let mut sum = 0.0;
        let steps = values
            .into_iter()
            .map(|(value, chance)| {
                sum += chance;
                (value, sum)
            })
            .collect();
        Self { steps, mean, variance }
    }

    pub(crate) fn draw(&self, random: &mut Random) -> f64 {
        let point = random.unit();
        self.steps.iter().find(|(_, up_to)| point < *up_to).map_or(1.0, |(value, _)| *value)
    }
}

fn log_beta(a: f64, b: f64) -> f64 {
    libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b)
}

/// Users with habits: each accepts with a chance of their own. Who a user is hangs on the trial's seed alone, so that
/// nothing is kept.
pub(crate) struct Habits {
    /// Quantiles of the users' chances to accept, evenly spaced.
    quantiles: Vec<f64>,
}

const QUANTILES: usize = 4096;

impl Habits {
    /// Beta-distributed with this mean; by summing its density.
    pub(crate) fn of_mean(mean: f64) -> Self {
        let weight = 1.0 / CORRELATION - 1.0;
        let (a, b) = (mean * weight, (1.0 - mean) * weight);
        const GRID: usize = 200_000;
        let density = |x: f64| ((a - 1.0) * x.ln() + (b - 1.0) * (-x).ln_1p() - log_beta(a, b)).exp();
        let points = (0..GRID).map(|i| (i as f64 + 0.5) / GRID as f64);
        let total: f64 = points.clone().map(density).sum();
        let (mut quantiles, mut sum) = (Vec::with_capacity(QUANTILES), 0.0);
        for x in points {
            sum += density(x) / total;
            while quantiles.len() < QUANTILES && sum >= (quantiles.len() as f64 + 0.5) / QUANTILES as f64 {
                quantiles.push(x);
            }
        }
        quantiles.resize(QUANTILES, 1.0);
        Self { quantiles }
    }

    pub(crate) fn accepts(&self, trial: u64, user: usize, random: &mut Random) -> bool {
        let slot = mix(trial ^ mix(user as u64 ^ 0xaccc)) as usize % QUANTILES;
        random.chance(self.quantiles.get(slot).copied().unwrap_or(0.5))
    }
}

/// Where the switch puts a user, in 0..1.
pub(crate) fn position(trial: u64, user: usize) -> f64 {
    unit(mix(trial ^ mix(user as u64 ^ 0x0a53)))
}
