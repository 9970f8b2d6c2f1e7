//! Describes a stack before it is started. Tests take the defaults (free ports, a directory of their own, gone when
//! dropped); `stack up` takes the contract's ports and leaves the parts running.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use contract::ports::Part;
use contract::share::Share;
use serde_json::{Value, json};

use crate::checkout::Checkout;
use crate::error::Error;
use crate::ports::Ports;

/// What a cluster of the gateway leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// Our own program, which the stack starts.
    Own,
    /// A server that listens there already, e.g. a scripted upstream.
    External(SocketAddr),
    /// Nothing: connections are refused.
    Refused,
}

/// Builds a [`Stack`](crate::Stack); see the methods for the defaults.
#[derive(Debug, Clone)]
#[must_use]
pub struct Builder {
    pub(crate) checkout: Checkout,
    pub(crate) ports: Option<Ports>,
    pub(crate) dir: Option<PathBuf>,
    pub(crate) rules: Upstream,
    pub(crate) scorer: Upstream,
    pub(crate) gateway: bool,
    pub(crate) filter: bool,
    pub(crate) module: Option<PathBuf>,
    pub(crate) plugin: Value,
    pub(crate) salt: Option<String>,
    pub(crate) share: Share,
    pub(crate) concurrency: u32,
    pub(crate) scorer_checks: bool,
    pub(crate) access_log: bool,
    pub(crate) store: Option<String>,
    pub(crate) registry: Option<PathBuf>,
    pub(crate) environment: Vec<(Part, String, String)>,
    pub(crate) monitoring: bool,
    pub(crate) guard: bool,
    pub(crate) config: Option<EditConfig>,
}

/// A change of the rendered configuration's text.
#[derive(Clone)]
pub(crate) struct EditConfig(pub(crate) Arc<dyn Fn(String) -> String + Send + Sync>);

impl std::fmt::Debug for EditConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EditConfig")
    }
}

impl Builder {
    /// On free ports, in a directory of its own, our own rules backend and scorer, share 0, one Envoy worker, no health
    /// checks or outlier detection on the scorer (tests of single faults want each request to reach it), an access log.
    ///
    /// # Errors
    /// When no repository is found.
    pub fn new() -> Result<Self, Error> {
        Ok(Self {
            checkout: Checkout::find()?,
            ports: None,
            dir: None,
            rules: Upstream::Own,
            scorer: Upstream::Own,
            gateway: true,
            filter: true,
            module: None,
            plugin: json!({}),
            salt: None,
            share: Share::OFF,
            concurrency: 1,
            scorer_checks: false,
            access_log: true,
            store: None,
            registry: None,
            environment: Vec::new(),
            monitoring: false,
            guard: false,
            config: None,
        })
    }

    /// The repository and its programs.
    #[must_use]
    pub fn checkout(&self) -> &Checkout {
        &self.checkout
    }

    /// These ports instead of free ones.
    pub fn ports(mut self, ports: Ports) -> Self {
        self.ports = Some(ports);
        self
    }

    /// Logs, pids, configurations and, by default, store and registry go there, and stay.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// The application is the server at `address`, instead of the rules backend.
    pub fn rules_at(mut self, address: SocketAddr) -> Self {
        self.rules = Upstream::External(address);
        self
    }

    /// The scorer is the server at `address`, instead of our own program.
    pub fn scorer_at(mut self, address: SocketAddr) -> Self {
        self.scorer = Upstream::External(address);
        self
    }

    /// No scorer: connections to it are refused.
    pub fn no_scorer(mut self) -> Self {
        self.scorer = Upstream::Refused;
        self
    }

    /// No Envoy: only the upstreams.
    pub fn no_gateway(mut self) -> Self {
        self.gateway = false;
        self
    }

    /// Envoy without Perch's filters: a plain proxy on the same routes.
    pub fn no_filter(mut self) -> Self {
        self.filter = false;
        self
    }

    /// Another module than the built filter.
    pub fn module(mut self, module: impl Into<PathBuf>) -> Self {
        self.module = Some(module.into());
        self
    }

    /// Changes the filter's configuration: a JSON merge patch on top of what was set before.
    pub fn filter_config(mut self, patch: &Value) -> Self {
        crate::plugin::merge(&mut self.plugin, patch);
        self
    }

    /// This salt, instead of one that is made and kept in the directory.
    pub fn salt(mut self, salt: impl Into<String>) -> Self {
        self.salt = Some(salt.into());
        self
    }

    /// The share at start.
    pub fn share(mut self, share: Share) -> Self {
        self.share = share;
        self
    }

    /// Envoy's worker threads, at least 1.
    pub fn concurrency(mut self, workers: u32) -> Self {
        self.concurrency = workers.max(1);
        self
    }

    /// Health checks and outlier detection on the scorer, as in production.
    pub fn scorer_checks(mut self, on: bool) -> Self {
        self.scorer_checks = on;
        self
    }

    /// Writes the access log, or not.
    pub fn access_log(mut self, on: bool) -> Self {
        self.access_log = on;
        self
    }

    /// The store, e.g. `sqlite:///path/perch.sqlite`.
    pub fn store(mut self, url: impl Into<String>) -> Self {
        self.store = Some(url.into());
        self
    }

    /// The model registry's folder.
    pub fn registry(mut self, dir: impl Into<PathBuf>) -> Self {
        self.registry = Some(dir.into());
        self
    }

    /// An environment variable for one of our programs, e.g. to change a scorer's setting.
    pub fn env(mut self, part: Part, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((part, key.into(), value.into()));
        self
    }

    /// Prometheus and Alertmanager too, where the repository has their configuration.
    pub fn monitoring(mut self, on: bool) -> Self {
        self.monitoring = on;
        self
    }

    /// The guard with its console, too; it reads Prometheus where that is started.
    pub fn guard(mut self, on: bool) -> Self {
        self.guard = on;
        self
    }

    /// Edits Envoy's rendered configuration before it is used, for what no setting covers.
    pub fn edit_config(mut self, edit: impl Fn(String) -> String + Send + Sync + 'static) -> Self {
        self.config = Some(EditConfig(Arc::new(edit)));
        self
    }
}
