//! Counters from the programs themselves: Envoy's admin interface and the scorers' `/metrics`.
//!
//! A page is read line by line and only the guard's own samples are kept, so it may be of any size: an Envoy of some
//! thousand clusters shows tens of megabytes. A line with bytes that are not UTF-8 is somebody else's.

use std::collections::BTreeSet;
use std::time::Duration;

use clients::{ClientError, Sample, Scrape, in_words};

use super::INSTANCE;
use super::reading::is_read;

/// What Envoy is asked to show: the counters of Perch's filter, by their names inside Envoy.
const GATEWAY_PATH: &str = "/stats/prometheus?filter=(wasm%7Cdynamicmodules)custom";
/// Longest line, in bytes; a longer one is left out.
const LINE_BYTES: usize = 64 * 1024;
/// Most samples that one program may show.
const MOST_SAMPLES: usize = 50_000;

/// Programs that are scraped, by the address of their exposition.
#[derive(Debug, Clone)]
pub struct Targets {
    http: reqwest::Client,
    urls: BTreeSet<String>,
}

impl Targets {
    /// Envoy's admin interfaces at `gateways` and scorers at `scorers`, e.g. `http://127.0.0.1:9901`. One that is named
    /// twice is read once; each may take `timeout`.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(timeout: Duration, gateways: &[String], scorers: &[String]) -> Result<Self, ClientError> {
        let http = reqwest::Client::builder().timeout(timeout).no_proxy().build().map_err(ClientError::Setup)?;
        let gateways = gateways.iter().map(|url| format!("{url}{GATEWAY_PATH}"));
        let scorers = scorers.iter().map(|url| format!("{url}/metrics"));
        Ok(Self { http, urls: gateways.chain(scorers).collect() })
    }

    /// The samples that the guard reads, of every target that answers; which one does not, in `doubts`.
    pub async fn samples(&self, doubts: &mut Vec<String>) -> Vec<Sample> {
        let mut all = Vec::new();
        for url in &self.urls {
            match self.of(url).await {
                Ok(samples) => all.extend(samples),
                Err(error) => doubts.push(in_words(&error)),
            }
        }
        all
    }

    async fn of(&self, url: &str) -> Result<Vec<Sample>, ClientError> {
        let asking = |source: reqwest::Error| ClientError::Request { url: url.to_owned(), source };
        let wrong = |what: String| ClientError::Response { url: url.to_owned(), what };
        let mut response = self.http.get(url).send().await.map_err(asking)?;
        if !response.status().is_success() {
            return Err(wrong(response.status().to_string()));
        }
        let mut lines = Lines::default();
        while let Some(part) = response.chunk().await.map_err(asking)? {
            lines.take(&part);
            if lines.samples.len() > MOST_SAMPLES {
                return Err(wrong(format!("with more than {MOST_SAMPLES} samples of Perch's")));
            }
        }
        let mut samples = lines.end();
        if samples.is_empty() {
            return Err(wrong("without any sample of Perch's: is this its address?".to_owned()));
        }
        for sample in &mut samples {
            sample.labels.insert(INSTANCE.to_owned(), url.to_owned());
        }
        Ok(samples)
    }
}

/// A page that comes in pieces.
#[derive(Debug, Default)]
struct Lines {
    line: Vec<u8>,
    /// The line is longer than is kept.
    overlong: bool,
    samples: Vec<Sample>,
}

impl Lines {
    fn take(&mut self, part: &[u8]) {
        let mut pieces = part.split(|&byte| byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            if self.line.len() + piece.len() > LINE_BYTES {
                self.overlong = true;
                self.line.clear();
            }
            if !self.overlong {
                self.line.extend_from_slice(piece);
            }
            if pieces.peek().is_some() {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let overlong = std::mem::take(&mut self.overlong);
        let name_end = line.iter().position(|byte| matches!(byte, b'{' | b' ')).unwrap_or(0);
        let name = line.get(..name_end).and_then(|name| std::str::from_utf8(name).ok());
        if !overlong && name.is_some_and(is_read) {
            self.samples.extend(Scrape::parse(&String::from_utf8_lossy(&line)).samples().iter().cloned());
        }
    }

    fn end(mut self) -> Vec<Sample> {
        self.end_line();
        self.samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_however_the_page_is_cut() {
        let page =
            b"# HELP lm_suggest_source_total x\nother{a=\"\xff\"} 7\nlm_suggest_source_total{source=\"rule\"} 5\n\
            lm_suggest_source_total{source=\"model\"} 2";
        for size in 1..page.len() {
            let mut lines = Lines::default();
            page.chunks(size).for_each(|part| lines.take(part));
            let values: Vec<f64> = lines.end().iter().map(|sample| sample.value).collect();
            assert_eq!(values, [5.0, 2.0], "in pieces of {size}");
        }
    }

    #[test]
    fn a_line_without_end_takes_no_memory_and_does_not_hide_the_next() {
        let mut lines = Lines::default();
        for _ in 0..100 {
            lines.take(&[b'x'; LINE_BYTES]);
            assert!(lines.line.len() <= LINE_BYTES);
        }
        lines.take(b"\nlm_suggest_source_total{source=\"rule\"} 5\n");
        assert_eq!(lines.end().len(), 1);
    }
}
