//! Which scorer a command speaks to.

use std::time::Duration;

use clients::Scorer;
use contract::ports::Part;

use super::gateways::local;

/// Longest wait for an answer: a change of models loads and checks one.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Option of every command that speaks to the scorer.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct At {
    /// The shadow-scorer; of several the first is asked [default: the local one]
    #[arg(id = "scorer_urls", long = "scorer", value_name = "URL", env = "PERCH_SCORERS", value_delimiter = ',')]
    urls: Vec<String>,
}

impl At {
    /// A client for it.
    pub(crate) fn client(&self) -> anyhow::Result<Scorer> {
        let url = match self.urls.first() {
            Some(url) => url.clone(),
            None => local(Part::Scorer)?,
        };
        Ok(Scorer::new(&url, TIMEOUT)?)
    }
}
