//! Which gateways a command speaks to.

use anyhow::Context;
use clients::Admin;
use contract::ports::{self, Part};

/// Options of every command that speaks to gateways.
#[derive(Debug, clap::Args)]
pub(crate) struct Gateways {
    /// Envoy's admin interface, once for each gateway [default: the local one]
    #[arg(long = "gateway", value_name = "URL", env = "PERCH_GATEWAYS", value_delimiter = ',')]
    urls: Vec<String>,
}

impl Gateways {
    /// Where each gateway's admin interface is.
    pub(crate) fn urls(&self) -> anyhow::Result<Vec<String>> {
        if self.urls.is_empty() {
            return Ok(vec![local(Part::Admin)?]);
        }
        Ok(self.urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect())
    }

    /// Returns `true` if they are the one that `make up` starts on this machine, named or not.
    pub(crate) fn are_this_machines(&self) -> bool {
        let plain = |url: &str| url.trim_end_matches('/').replace("//localhost:", "//127.0.0.1:");
        self.urls.is_empty()
            || local(Part::Admin).is_ok_and(|local| self.urls.iter().all(|url| plain(url) == plain(&local)))
    }

    /// A client for each gateway, with its URL.
    pub(crate) fn clients(&self) -> anyhow::Result<Vec<(String, Admin)>> {
        self.urls()?
            .into_iter()
            .map(|url| {
                let admin = Admin::new(&url).with_context(|| format!("gateway {url}"))?;
                Ok((url, admin))
            })
            .collect()
    }
}

/// The URL of the part of this machine.
pub(crate) fn local(part: Part) -> anyhow::Result<String> {
    let address = ports::address(part, |name| std::env::var(name).ok())?;
    Ok(format!("http://{address}"))
}

/// What to do when a gateway does not answer.
pub(crate) const MEND: &str = "is Envoy running there (`make up` starts one here), and is this its admin address?";
