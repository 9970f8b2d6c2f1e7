//! The running system: counters from Prometheus or from the programs, the share from every gateway, evidence by user from
//! a scorer.

use std::time::Duration;

use contract::evidence::{self, Evidence};
use contract::share::{RUNTIME_KEY, Share};
use stack::admin::Admin;

use super::super::observation::SeenShare;
use super::prometheus::Prometheus;
use super::scrape::Targets;
use super::{Reading, Source, SourceError, get, in_words};

/// How long a look waits for any one part.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest evidence that is read, in bytes.
const LIMIT: usize = 64 * 1024;

/// Addresses of the parts, e.g. `http://127.0.0.1:9901`.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// Envoy's admin interfaces; at least one.
    pub gateways: Vec<String>,
    /// Scorers; the first is asked for evidence by user.
    pub scorers: Vec<String>,
    /// Prometheus, where there is one.
    pub prometheus: Option<String>,
}

/// The running system.
#[derive(Debug, Clone)]
pub struct System {
    http: reqwest::Client,
    gateways: Vec<(String, Admin)>,
    scorer: Option<String>,
    counters: Counters,
}

#[derive(Debug, Clone)]
enum Counters {
    Prometheus(Prometheus),
    Targets(Targets),
}

impl System {
    /// A system at `addresses`.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(addresses: &Addresses) -> Result<Self, stack::Error> {
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .no_proxy()
            .build()
            .map_err(|error| stack::Error::Asking { doing: "making a client".into(), why: error.to_string() })?;
        let trimmed = |urls: &[String]| urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect::<Vec<_>>();
        let (gateways, scorers) = (trimmed(&addresses.gateways), trimmed(&addresses.scorers));
        let counters = match &addresses.prometheus {
            Some(url) => Counters::Prometheus(Prometheus::new(http.clone(), url)),
            None => Counters::Targets(Targets::new(http.clone(), &gateways, &scorers)),
        };
        let admins = gateways.into_iter().map(|url| Ok((url.clone(), Admin::new(url)?)));
        Ok(Self {
            http,
            gateways: admins.collect::<Result<_, stack::Error>>()?,
            scorer: scorers.first().cloned(),
            counters,
        })
    }

    async fn share(&self, troubles: &mut Vec<String>) -> SeenShare {
        let mut shares = Vec::with_capacity(self.gateways.len());
        for (url, admin) in &self.gateways {
            match admin.runtime(RUNTIME_KEY).await {
                // A key that no layer holds, or that is no share, means off to Envoy.
                Ok(text) => shares.push((url, text.as_deref().and_then(Share::from_runtime).unwrap_or(Share::OFF))),
                Err(error) => troubles.push(in_words(&error)),
            }
        }
        agreed(&shares, self.gateways.len())
    }

    async fn evidence(&self, since_ms: u64, troubles: &mut Vec<String>) -> Option<Evidence> {
        let url = format!("{}{}?{}={since_ms}", self.scorer.as_ref()?, evidence::PATH, evidence::SINCE);
        let read = async {
            let text = get(&self.http, &url, LIMIT).await?;
            let wrong = |what: String| SourceError::Answer { url: url.clone(), what };
            let evidence: Evidence = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
            if evidence.version == evidence::VERSION {
                Ok(evidence)
            } else {
                Err(wrong(format!("evidence of version {}, {} is read", evidence.version, evidence::VERSION)))
            }
        };
        read.await.map_err(|error| troubles.push(in_words(&error))).ok()
    }
}

impl Source for System {
    async fn look(&mut self, since_ms: u64) -> Reading {
        let (mut doubts, mut troubles) = (Vec::new(), Vec::new());
        let share = self.share(&mut troubles).await;
        let samples = match &self.counters {
            Counters::Targets(targets) => targets.samples(&mut doubts).await,
            Counters::Prometheus(prometheus) => prometheus.samples(&mut doubts).await.unwrap_or_else(|error| {
                doubts.push(in_words(&error));
                Vec::new()
            }),
        };
        let evidence = self.evidence(since_ms, &mut troubles).await;
        Reading { share, samples, evidence, doubts, troubles }
    }
}

/// One share if every one of `wanted` gateways holds it.
fn agreed(shares: &[(&String, Share)], wanted: usize) -> SeenShare {
    let Some((_, first)) = shares.first() else { return SeenShare::Unknown };
    if shares.iter().any(|(_, share)| share != first) {
        let each: Vec<String> = shares.iter().map(|(url, share)| format!("{url} holds {share}")).collect();
        return SeenShare::Differs(each.join(", "));
    }
    if shares.len() < wanted { SeenShare::Unknown } else { SeenShare::Is(*first) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_known_only_when_every_gateway_says_so() {
        let (a, b) = ("a".to_owned(), "b".to_owned());
        let (ten, five) = (Share::percent(10), Share::percent(5));
        assert_eq!(agreed(&[(&a, ten), (&b, ten)], 2), SeenShare::Is(ten));
        assert_eq!(agreed(&[(&a, ten)], 2), SeenShare::Unknown);
        assert_eq!(agreed(&[], 0), SeenShare::Unknown);
        assert_eq!(agreed(&[(&a, ten), (&b, five)], 2), SeenShare::Differs("a holds 10%, b holds 5%".into()));
    }
}
