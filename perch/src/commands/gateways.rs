//! The gateways that a command calls.

use anyhow::Context;
use clients::Admin;
use contract::ports::{self, Part};

/// Options of every command that calls gateways.
#[derive(Debug, clap::Args)]
pub(crate) struct Gateways {
    /// URL of a gateway's Envoy admin interface; repeat it for each gateway [default: the local one]
    #[arg(long = "gateway", value_name = "URL", env = "PERCH_GATEWAYS", value_delimiter = ',')]
    urls: Vec<String>,
}

impl Gateways {
    /// The URLs of the gateways' admin interfaces.
    pub(crate) fn urls(&self) -> anyhow::Result<Vec<String>> {
        if self.urls.is_empty() {
            return Ok(vec![local(Part::Admin)?]);
        }
        Ok(self.urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect())
    }

    /// Returns `true` if they are the one gateway that `make up` starts on this machine.
    pub(crate) fn are_local(&self) -> bool {
        let plain = |url: &str| url.trim_end_matches('/').replace("//localhost:", "//127.0.0.1:");
        self.urls.is_empty()
            || local(Part::Admin).is_ok_and(|local| self.urls.iter().all(|url| plain(url) == plain(&local)))
    }

    /// A client for each gateway, with its URL.
    pub(crate) fn clients(&self) -> anyhow::Result<Vec<(String, Admin)>> {
        self.urls()?
            .into_iter()
            .map(|url| {
                let admin = Admin::new(&url).with_context(|| format!("creating a client for gateway {url}"))?;
                Ok((url, admin))
            })
            .collect()
    }
}

/// The URL of a part of this machine's deployment.
pub(crate) fn local(part: Part) -> anyhow::Result<String> {
    let address = ports::address(part, |name| std::env::var(name).ok())?;
    Ok(format!("http://{address}"))
}

/// The fix for a gateway that does not respond.
pub(crate) const UNREACHABLE_FIX: &str =
    "start Envoy there (`make up` starts one here), or correct its admin address (--gateway URL)";

/// Context of a failed call to the gateway at `url`.
pub(crate) fn unreachable(url: &str) -> String {
    format!("calling gateway {url}; {UNREACHABLE_FIX}")
}
