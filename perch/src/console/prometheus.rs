//! What the console asks Prometheus: lines over time, single figures, alerts.

use std::collections::{BTreeMap, BTreeSet};

use contract::alerts::is_news;
use reqwest::Url;
use serde::Deserialize;

use super::chart::Span;
use crate::guard::source::{SourceError, get};

/// Largest answer that is read, in bytes.
const LIMIT: usize = 4 * 1024 * 1024;

/// Seconds since 1970 and value, in order of time; only finite values.
pub(super) type Points = Vec<(f64, f64)>;

/// A Prometheus server.
#[derive(Debug)]
pub(super) struct Prometheus {
    http: reqwest::Client,
    url: String,
}

/// An alert whose condition holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alert {
    /// Its name.
    pub(super) name: String,
    /// Does it fire, or does it still wait?
    pub(super) firing: bool,
    /// In a sentence.
    pub(super) summary: String,
}

#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

#[derive(Deserialize)]
struct Lines {
    result: Vec<LineOf>,
}

#[derive(Deserialize)]
struct LineOf {
    values: Vec<(f64, String)>,
}

#[derive(Deserialize)]
struct Figures {
    result: Vec<FigureOf>,
}

#[derive(Deserialize)]
struct FigureOf {
    value: (f64, String),
}

#[derive(Deserialize)]
struct Alerts {
    alerts: Vec<AlertOf>,
}

#[derive(Deserialize)]
struct AlertOf {
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    state: String,
}

impl Prometheus {
    pub(super) fn new(http: reqwest::Client, url: &str) -> Self {
        Self { http, url: url.trim_end_matches('/').to_owned() }
    }

    /// The one line of `query`; empty when there is none.
    pub(super) async fn line(&self, query: &str, span: Span) -> Result<Points, SourceError> {
        let (from, to, step) = (span.from.to_string(), span.to.to_string(), span.step.to_string());
        let asked = [("query", query), ("start", &from), ("end", &to), ("step", &step)];
        let answer: Answer<Lines> = self.ask("/api/v1/query_range", &asked).await?;
        let points = answer.data.result.into_iter().next().map(|line| line.values).unwrap_or_default();
        Ok(points.into_iter().filter_map(|(at, value)| Some((at, finite(&value)?))).collect())
    }

    /// The one figure of `query` now; `None` when there is none.
    pub(super) async fn figure(&self, query: &str) -> Result<Option<f64>, SourceError> {
        let answer: Answer<Figures> = self.ask("/api/v1/query", &[("query", query)]).await?;
        Ok(answer.data.result.first().and_then(|figure| finite(&figure.value.1)))
    }

    /// The alerts whose condition holds and that are not inhibited, those that fire first.
    pub(super) async fn alerts(&self) -> Result<Vec<Alert>, SourceError> {
        let answer: Answer<Alerts> = self.ask("/api/v1/alerts", &[]).await?;
        let all = answer.data.alerts;
        let fires: BTreeSet<String> = all
            .iter()
            .filter(|alert| alert.state == "firing")
            .filter_map(|alert| alert.labels.get("alertname").cloned())
            .collect();
        let news = |of: &AlertOf| {
            let label = |name: &str| of.labels.get(name).map_or("", String::as_str);
            is_news(label("alertname"), label("severity"), fires.iter().map(String::as_str))
        };
        let alert = |mut of: AlertOf| {
            let summary = of.annotations.remove("summary").unwrap_or_default();
            Some(Alert { name: of.labels.remove("alertname")?, firing: of.state == "firing", summary })
        };
        let mut alerts: Vec<Alert> = all.into_iter().filter(news).filter_map(alert).collect();
        alerts.sort_by(|a, b| b.firing.cmp(&a.firing).then_with(|| a.name.cmp(&b.name)));
        alerts.dedup();
        Ok(alerts)
    }

    async fn ask<T: for<'de> Deserialize<'de>>(&self, path: &str, asked: &[(&str, &str)]) -> Result<T, SourceError> {
        let wrong = |what: String| SourceError::Response { url: self.url.clone(), what };
        let url = Url::parse_with_params(&format!("{}{path}", self.url), asked)
            .map_err(|error| wrong(format!("nothing, since its address is wrong: {error}")))?;
        let text = get(&self.http, url.as_str(), LIMIT).await?;
        serde_json::from_str(&text).map_err(|error| wrong(format!("something else than it should: {error}")))
    }
}

fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite())
}
