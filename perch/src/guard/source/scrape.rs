//! Counters from the programs themselves: Envoy's admin interface and the scorers' `/metrics`.

use stack::scrape::{Sample, Scrape};

use super::reading::is_read;
use super::{INSTANCE, SourceError, get, in_words};

/// Largest exposition that is read, in bytes.
const LIMIT: usize = 16 * 1024 * 1024;

/// Programs that are scraped, by the address of their exposition.
#[derive(Debug, Clone)]
pub struct Targets {
    http: reqwest::Client,
    urls: Vec<String>,
}

impl Targets {
    /// Envoy's admin interfaces at `gateways` and scorers at `scorers`, e.g. `http://127.0.0.1:9901`.
    #[must_use]
    pub fn new(http: reqwest::Client, gateways: &[String], scorers: &[String]) -> Self {
        let gateways = gateways.iter().map(|url| format!("{url}/stats/prometheus"));
        let scorers = scorers.iter().map(|url| format!("{url}/metrics"));
        Self { http, urls: gateways.chain(scorers).collect() }
    }

    /// The samples that the guard reads, of every target that answers.
    pub async fn samples(&self, troubles: &mut Vec<String>) -> Vec<Sample> {
        let mut all = Vec::new();
        for url in &self.urls {
            match self.of(url).await {
                Ok(samples) => all.extend(samples),
                Err(error) => troubles.push(in_words(&error)),
            }
        }
        all
    }

    async fn of(&self, url: &str) -> Result<Vec<Sample>, SourceError> {
        let text = get(&self.http, url, LIMIT).await?;
        let scrape = Scrape::parse(&text);
        let samples = scrape.samples().iter().filter(|sample| is_read(&sample.name)).cloned();
        Ok(samples
            .map(|mut sample| {
                sample.labels.insert(INSTANCE.to_owned(), url.to_owned());
                sample
            })
            .collect())
    }
}
