//! Reads a running stack: processes, the share and metrics of its Envoy, its logs.

use clients::{Admin, Scrape};
use contract::ports::Part;
use contract::share::{self, Share};

use crate::error::Error;
use crate::part;
use crate::stack::Stack;

impl Stack {
    /// The process id of a part that this stack started.
    #[must_use]
    pub fn pid(&self, part: Part) -> Option<u32> {
        self.running.get(part::file_name(part)).map(|(_, process)| process.pid())
    }

    /// Envoy's admin interface.
    #[must_use]
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Sets the share, in the admin layer of Envoy's runtime.
    ///
    /// # Errors
    /// When Envoy does not take it.
    pub async fn set_share(&self, share: Share) -> Result<(), Error> {
        Ok(self.admin.set_runtime(share::RUNTIME_KEY, &share.to_runtime()).await?)
    }

    /// The share that Envoy holds; `None` for a value that is not a share, which Envoy treats as off.
    ///
    /// # Errors
    /// When Envoy does not respond.
    pub async fn share(&self) -> Result<Option<Share>, Error> {
        Ok(self.admin.runtime(share::RUNTIME_KEY).await?.as_deref().and_then(Share::from_runtime))
    }

    /// Envoy's metrics.
    ///
    /// # Errors
    /// When Envoy does not respond.
    pub async fn scrape(&self) -> Result<Scrape, Error> {
        Ok(self.admin.scrape().await?)
    }

    /// The last lines of every part's log, for a test that fails.
    #[must_use]
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for (name, (_, process)) in &self.running {
            text.push_str(&format!("--- {name} ({})\n{}\n", process.log().display(), process.tail()));
        }
        text
    }
}
