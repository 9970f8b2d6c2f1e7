//! The gateways: the share that they hold, now, and where a share is set.

use std::path::PathBuf;

use contract::switch::{RUNTIME_KEY, Share};
use stack::admin::Admin;

use crate::guard::in_words;
use crate::guard::observation::SeenShare;
use crate::guard::sink;
use crate::guard::source::system::agreed;

/// The gateways of the deployment.
#[derive(Debug)]
pub(super) struct Gateways {
    admins: Vec<(String, Admin)>,
    sink: sink::Gateways,
}

impl Gateways {
    pub(super) fn new(urls: &[String], links: Vec<PathBuf>) -> Result<Self, stack::Error> {
        let admin = |url: &String| {
            let url = url.trim_end_matches('/').to_owned();
            Ok((url.clone(), Admin::new(url)?))
        };
        let admins = urls.iter().map(admin).collect::<Result<_, stack::Error>>()?;
        Ok(Self { admins, sink: sink::Gateways::new(urls, links)? })
    }

    /// Where a share is set.
    pub(super) fn sink(&self) -> sink::Gateways {
        self.sink.clone()
    }

    /// The share that all of them hold.
    ///
    /// # Errors
    /// In words: one cannot be reached, or they differ.
    pub(super) async fn share(&self) -> Result<Share, String> {
        let mut shares = Vec::with_capacity(self.admins.len());
        for (url, admin) in &self.admins {
            let text = admin.runtime(RUNTIME_KEY).await.map_err(|error| format!("{url}: {}", in_words(&error)))?;
            // A key that no layer holds, or that is no share, means off to Envoy.
            shares.push((url, text.as_deref().and_then(Share::from_runtime).unwrap_or(Share::OFF)));
        }
        match agreed(&shares, self.admins.len()) {
            SeenShare::Is(share) => Ok(share),
            SeenShare::Differs(how) => Err(format!("the gateways differ: {how}")),
            SeenShare::Unknown => Err("no gateway is known".to_owned()),
        }
    }
}
