//! Reads a stack: where its parts are, the share and metrics of its Envoy, its logs.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use contract::bucket::{Bucket, Salt};
use contract::ports::Part;
use contract::share::{self, Share};

use crate::admin::Admin;
use crate::builder::Upstream;
use crate::checkout::Checkout;
use crate::error::Error;
use crate::launch;
use crate::scrape::Scrape;
use crate::stack::Stack;

impl Stack {
    /// The process id of a part that this stack started.
    #[must_use]
    pub fn pid(&self, part: Part) -> Option<u32> {
        self.running.get(launch::file_name(part)).map(|(_, process)| process.pid())
    }

    /// `http://host:port` of the gateway.
    #[must_use]
    pub fn gateway_url(&self) -> String {
        self.ports.url(Part::Gateway)
    }

    /// `http://host:port` of a part.
    #[must_use]
    pub fn url(&self, part: Part) -> String {
        match (part, self.settings.rules, self.settings.scorer) {
            (Part::Rules, Upstream::External(address), _) | (Part::Scorer, _, Upstream::External(address)) => {
                format!("http://{address}")
            }
            _ => self.ports.url(part),
        }
    }

    /// One of the workspace's programs, e.g. `perch`.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.checkout().program(name)
    }

    /// The model registry's folder.
    #[must_use]
    pub fn registry(&self) -> PathBuf {
        launch::registry(self)
    }

    /// Where the guard keeps its state and the audit log.
    #[must_use]
    pub fn guard_folder(&self) -> PathBuf {
        self.dir().join("guard")
    }

    /// The file with the operator's token, without which console and scorer change nothing; made once, like the salt.
    ///
    /// # Errors
    /// When it cannot be made or read, or others can read it.
    pub fn console_token(&self) -> Result<PathBuf, Error> {
        let file = self.dir().join(contract::token::OPERATOR_FILE);
        crate::secret::read_or_create(&file)?;
        Ok(file)
    }

    /// Where the gateway listens.
    #[must_use]
    pub fn gateway(&self) -> SocketAddr {
        self.ports.address(Part::Gateway)
    }

    /// Envoy's admin interface.
    #[must_use]
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Returns `true` if the gateway loads the native module.
    #[must_use]
    pub fn native(&self) -> bool {
        self.module() == filter::config::Module::Native
    }

    /// Sets the share, in the admin layer of Envoy's runtime.
    ///
    /// # Errors
    /// When Envoy does not take it.
    pub async fn set_share(&self, share: Share) -> Result<(), Error> {
        self.admin.set_runtime(share::RUNTIME_KEY, &share.to_runtime()).await
    }

    /// The share that Envoy holds; `None` for a value that is not a share, which Envoy treats as off.
    ///
    /// # Errors
    /// When Envoy does not answer.
    pub async fn share(&self) -> Result<Option<Share>, Error> {
        Ok(self.admin.runtime(share::RUNTIME_KEY).await?.as_deref().and_then(Share::from_runtime))
    }

    /// Envoy's metrics.
    ///
    /// # Errors
    /// When Envoy does not answer.
    pub async fn scrape(&self) -> Result<Scrape, Error> {
        self.admin.scrape().await
    }

    /// The pseudonym that the filter gives `identity` in this deployment.
    ///
    /// # Errors
    /// When the salt is too short.
    pub fn bucket(&self, identity: &str) -> Result<Bucket, Error> {
        let salt = Salt::new(self.salt.as_bytes()).map_err(|error| Error::Setting(error.to_string()))?;
        Ok(Bucket::of(identity.as_bytes(), &salt))
    }

    /// Envoy's worker threads.
    #[must_use]
    pub fn concurrency(&self) -> u32 {
        self.settings.concurrency
    }

    /// The directory with logs, pids, configurations and data.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Logs, pids, rendered configurations and the runtime's disk layer.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    /// The repository and its programs.
    #[must_use]
    pub fn checkout(&self) -> &Checkout {
        &self.settings.checkout
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

    /// The whole log of one part.
    #[must_use]
    pub fn log(&self, part: Part) -> String {
        let path = self.run().join(format!("{}.log", launch::file_name(part)));
        fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}
