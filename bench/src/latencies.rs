//! Latencies of many requests, as histograms.

use anyhow::Result;
use hdrhistogram::Histogram;

/// Significant digits of every latency: a percentile is at most a thousandth above the one that was measured, and exact
/// below 2 µs. The machine's own noise is ten times that.
pub(crate) const DIGITS: u8 = 3;

/// The latencies that clients measured, in ns.
#[derive(Debug, Clone)]
pub(crate) struct Latencies {
    pub(crate) all: Histogram<u64>,
    /// Of baseline responses.
    pub(crate) baseline: Histogram<u64>,
    /// Of candidate responses.
    pub(crate) candidate: Histogram<u64>,
    /// How long the clients ran.
    pub(crate) seconds: f64,
}

impl Latencies {
    /// # Errors
    /// Never: the number of digits is one that the histogram allows.
    pub(crate) fn new() -> Result<Self> {
        let histogram = Histogram::new(DIGITS)?;
        Ok(Self { all: histogram.clone(), baseline: histogram.clone(), candidate: histogram, seconds: 0.0 })
    }

    /// Adds a phase: for each response its latency in ns, and whether it was the candidate's.
    ///
    /// # Errors
    /// When a latency does not fit into the histogram.
    pub(crate) fn record(&mut self, samples: &[(u64, bool)], seconds: f64) -> Result<()> {
        for (ns, is_candidate) in samples {
            self.all.record(*ns)?;
            let arm = if *is_candidate { &mut self.candidate } else { &mut self.baseline };
            arm.record(*ns)?;
        }
        self.seconds += seconds;
        Ok(())
    }

    /// Adds the latencies of another phase.
    ///
    /// # Errors
    /// When they do not fit into the histogram.
    pub(crate) fn add(&mut self, other: &Self) -> Result<()> {
        self.all.add(&other.all)?;
        self.baseline.add(&other.baseline)?;
        self.candidate.add(&other.candidate)?;
        self.seconds += other.seconds;
        Ok(())
    }

    /// Responses.
    pub(crate) fn count(&self) -> u64 {
        self.all.len()
    }

    /// Responses a second.
    pub(crate) fn rate(&self) -> f64 {
        self.count() as f64 / self.seconds
    }
}

/// The latency in µs that `share` (0 to 1) of `latencies` do not exceed; NaN where there is none.
pub(crate) fn percentile(latencies: &Histogram<u64>, quantile: f64) -> f64 {
    if latencies.is_empty() { f64::NAN } else { latencies.value_at_quantile(quantile) as f64 / 1e3 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let mut latencies = Latencies::new().unwrap();
        assert!(percentile(&latencies.all, 0.5).is_nan());
        let samples: Vec<(u64, bool)> = (1..=1000).map(|ns| (ns, ns % 2 == 0)).collect();
        latencies.record(&samples, 2.0).unwrap();
        let of = |share: f64| (percentile(&latencies.all, share) * 1e3).round() as u64;
        assert_eq!([0.5, 0.99, 0.999, 1.0].map(of), [500, 990, 999, 1000]);
        assert_eq!((percentile(&latencies.candidate, 1.0), latencies.rate()), (1.0, 500.0));
    }

    #[test]
    fn a_percentile_is_a_thousandth_too_high_at_most() {
        let mut latencies = Latencies::new().unwrap();
        for ns in [2_500, 77_777, 1_234_567, 250_000_001, 30_000_000_007] {
            let mut other = Latencies::new().unwrap();
            other.record(&[(ns, false)], 1.0).unwrap();
            let measured = percentile(&other.baseline, 0.99) * 1e3 / ns as f64;
            assert!((1.0 - 1e-9..1.001).contains(&measured), "{ns} ns: {measured}");
            latencies.add(&other).unwrap();
        }
        assert_eq!((latencies.count(), latencies.seconds), (5, 5.0));
    }
}
