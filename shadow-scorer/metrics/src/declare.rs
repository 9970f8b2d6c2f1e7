//! Declares and registers metrics. Series that other programs read take name and help from [`contract::series`].

use std::cell::RefCell;

use contract::series::{self, Series};
use prometheus::proto::MetricType;
use prometheus::{
    Counter, CounterVec, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts,
    Registry,
};

/// A metric as it was declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredMetric {
    /// Its name, for a histogram without suffix.
    pub name: String,
    /// Its kind.
    pub kind: series::Kind,
    /// Its label names.
    pub labels: Vec<String>,
    /// Its help text.
    pub help: String,
}

/// Makes a metric and registers it in one step.
pub(crate) struct Declare {
    pub(crate) registry: Registry,
    /// All metrics, whereas a registry only knows those with a value.
    pub(crate) declared: RefCell<Vec<DeclaredMetric>>,
}

impl Declare {
    fn add<C: prometheus::core::Collector + Clone + 'static>(&self, collector: C) -> prometheus::Result<C> {
        self.registry.register(Box::new(collector.clone()))?;
        let labels = collector.desc().first().map(|desc| desc.variable_labels.clone()).unwrap_or_default();
        self.declared.borrow_mut().extend(collector.collect().into_iter().map(|family| DeclaredMetric {
            name: family.name().to_owned(),
            kind: match family.get_field_type() {
                MetricType::HISTOGRAM => series::Kind::Histogram,
                MetricType::COUNTER => series::Kind::Counter,
                _ => series::Kind::Gauge,
            },
            labels: labels.clone(),
            help: family.help().to_owned(),
        }));
        Ok(collector)
    }

    pub(crate) fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.add(IntCounter::new(name, help)?)
    }

    pub(crate) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        self.add(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    pub(crate) fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.add(IntGauge::new(name, help)?)
    }

    pub(crate) fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> prometheus::Result<Histogram> {
        self.add(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?)
    }

    pub(crate) fn counters_of(&self, name: &str) -> prometheus::Result<IntCounterVec> {
        let series = shared(name)?;
        self.counters(series.name, series.help, series.labels)
    }

    pub(crate) fn counter_of(&self, name: &str) -> prometheus::Result<IntCounter> {
        let series = shared(name)?;
        self.counter(series.name, series.help)
    }

    /// A counter of fractional values.
    pub(crate) fn sum_of(&self, name: &str) -> prometheus::Result<Counter> {
        let series = shared(name)?;
        self.add(Counter::new(series.name, series.help)?)
    }

    pub(crate) fn sums_of(&self, name: &str) -> prometheus::Result<CounterVec> {
        let series = shared(name)?;
        self.add(CounterVec::new(Opts::new(series.name, series.help), series.labels)?)
    }

    pub(crate) fn gauge_of(&self, name: &str) -> prometheus::Result<IntGauge> {
        let series = shared(name)?;
        self.gauge(series.name, series.help)
    }

    /// Without labels it is a gauge that can be absent.
    pub(crate) fn gauges_of(&self, name: &str) -> prometheus::Result<GaugeVec> {
        let series = shared(name)?;
        self.add(GaugeVec::new(Opts::new(series.name, series.help), series.labels)?)
    }

    /// Gauges each of which can be absent.
    pub(crate) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<GaugeVec> {
        self.add(GaugeVec::new(Opts::new(name, help), labels)?)
    }

    pub(crate) fn histogram_of(&self, name: &str, buckets: &[f64]) -> prometheus::Result<Histogram> {
        let series = shared(name)?;
        self.histogram(series.name, series.help, buckets)
    }

    pub(crate) fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> prometheus::Result<HistogramVec> {
        self.add(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?)
    }

    pub(crate) fn histograms_of(&self, name: &str, buckets: &[f64]) -> prometheus::Result<HistogramVec> {
        let series = shared(name)?;
        self.histograms(series.name, series.help, series.labels, buckets)
    }
}

fn shared(name: &str) -> prometheus::Result<&'static Series> {
    let found = series::SCORER.iter().find(|series| series.name == name);
    found.ok_or_else(|| prometheus::Error::Msg(format!("{name} is not in contract::series::SCORER")))
}
