//! The scorer that a command calls.

use std::time::Duration;

use clients::Scorer;
use contract::ports::Part;

use super::gateways::local;

/// Timeout of a request: a change of the model loads and checks one.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Option of every command that calls the scorer.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ScorerUrl {
    /// URL of the shadow-scorer; of several, the first is called [default: the local one]
    #[arg(id = "scorer_urls", long = "scorer", value_name = "URL", env = "PERCH_SCORERS", value_delimiter = ',')]
    urls: Vec<String>,
}

impl ScorerUrl {
    /// A client for the scorer.
    pub(crate) fn client(&self) -> anyhow::Result<Scorer> {
        let url = match self.urls.first() {
            Some(url) => url.clone(),
            None => local(Part::Scorer)?,
        };
        Ok(Scorer::new(&url, TIMEOUT)?)
    }
}
