//! The running system: counters from Prometheus or from the programs, the share from every gateway, evidence by user
//! from a scorer.

use std::time::Duration;

use clients::{Admin, ClientError, Prometheus, Scorer, error_chain};
use contract::evidence::Evidence;
use contract::share::{RUNTIME_KEY, Share};
use guard::snapshot::GatewayShare;

use super::scrape::Targets;
use super::{Source, SourceReading, prometheus};

/// Longest wait for one program.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Addresses of the programs, e.g. `http://127.0.0.1:9901`.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// Envoy's admin interfaces; at least one.
    pub gateways: Vec<String>,
    /// Scorers; the first one provides evidence by user.
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
    /// The system at `addresses`.
    ///
    /// # Errors
    /// When no HTTP client can be created.
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

    async fn share(&self, problems: &mut Vec<String>) -> GatewayShare {
        let mut shares = Vec::with_capacity(self.gateways.len());
        for (url, admin) in &self.gateways {
            match admin.runtime(RUNTIME_KEY).await {
                // Envoy falls back to its default, 0%, for a key that no layer sets and for a value that is not a share.
                Ok(text) => shares.push((url, text.as_deref().and_then(Share::from_runtime).unwrap_or(Share::OFF))),
                Err(error) => problems.push(error_chain(&error)),
            }
        }
        common_share(&shares, self.gateways.len())
    }

    async fn evidence(&self, since_ms: u64, problems: &mut Vec<String>) -> Option<Evidence> {
        let read = self.scorer.as_ref()?.evidence(since_ms).await;
        read.map_err(|error| problems.push(error_chain(&error))).ok()
    }
}

impl Source for System {
    async fn read(&mut self, since_ms: u64) -> SourceReading {
        let (mut data_gaps, mut problems) = (Vec::new(), Vec::new());
        let share = self.share(&mut problems).await;
        let samples = match &self.counters {
            Counters::Targets(targets) => targets.samples(&mut data_gaps).await,
            Counters::Prometheus(server) => prometheus::samples(server, &mut data_gaps).await.unwrap_or_else(|error| {
                data_gaps.push(error_chain(&error));
                Vec::new()
            }),
        };
        let evidence = self.evidence(since_ms, &mut problems).await;
        SourceReading { share, samples, evidence, data_gaps, problems }
    }
}

/// The common share of the gateways, if all of `wanted` gateways were read and hold the same.
fn common_share(shares: &[(&String, Share)], wanted: usize) -> GatewayShare {
    let Some((_, first)) = shares.first() else { return GatewayShare::Unknown };
    if shares.iter().any(|(_, share)| share != first) {
        let each: Vec<String> = shares.iter().map(|(url, share)| format!("{url} holds {share}")).collect();
        return GatewayShare::Differs(each.join(", "));
    }
    if shares.len() < wanted { GatewayShare::Unknown } else { GatewayShare::Known(*first) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_known_only_when_every_gateway_holds_it() {
        let (a, b) = ("a".to_owned(), "b".to_owned());
        let (ten, five) = (Share::percent(10), Share::percent(5));
        assert_eq!(common_share(&[(&a, ten), (&b, ten)], 2), GatewayShare::Known(ten));
        assert_eq!(common_share(&[(&a, ten)], 2), GatewayShare::Unknown);
        assert_eq!(common_share(&[], 0), GatewayShare::Unknown);
        assert_eq!(common_share(&[(&a, ten), (&b, five)], 2), GatewayShare::Differs("a holds 10%, b holds 5%".into()));
    }
}
