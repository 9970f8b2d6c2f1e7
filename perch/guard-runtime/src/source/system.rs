//! The running system: counters from Prometheus or from the programs, the share from every gateway, evidence by user from
//! a scorer.

use std::time::Duration;

use clients::{Admin, ClientError, Prometheus, Scorer, in_words};
use contract::evidence::Evidence;
use contract::share::{RUNTIME_KEY, Share};
use guard::observation::SeenShare;

use super::scrape::Targets;
use super::{Reading, Source, prometheus};

/// How long a look waits for any one part.
const TIMEOUT: Duration = Duration::from_secs(5);

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
    gateways: Vec<(String, Admin)>,
    scorer: Option<Scorer>,
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
    pub fn new(addresses: &Addresses) -> Result<Self, ClientError> {
        let trimmed = |urls: &[String]| urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect::<Vec<_>>();
        let (gateways, scorers) = (trimmed(&addresses.gateways), trimmed(&addresses.scorers));
        let counters = match &addresses.prometheus {
            Some(url) => Counters::Prometheus(Prometheus::new(url)?),
            None => Counters::Targets(Targets::new(TIMEOUT, &gateways, &scorers)?),
        };
        let scorer = scorers.first().map(|url| Scorer::new(url, TIMEOUT)).transpose()?;
        let admins = gateways.into_iter().map(|url| {
            let admin = Admin::new(&url)?;
            Ok((url, admin))
        });
        Ok(Self { gateways: admins.collect::<Result<_, ClientError>>()?, scorer, counters })
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
        let read = self.scorer.as_ref()?.evidence(since_ms).await;
        read.map_err(|error| troubles.push(in_words(&error))).ok()
    }
}

impl Source for System {
    async fn look(&mut self, since_ms: u64) -> Reading {
        let (mut doubts, mut troubles) = (Vec::new(), Vec::new());
        let share = self.share(&mut troubles).await;
        let samples = match &self.counters {
            Counters::Targets(targets) => targets.samples(&mut doubts).await,
            Counters::Prometheus(server) => prometheus::samples(server, &mut doubts).await.unwrap_or_else(|error| {
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
