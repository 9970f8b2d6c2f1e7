//! A stack laid out on disk, before anything runs: its settings, ports, directory and salt, and where each part is.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use contract::bucket::{Bucket, Salt};
use contract::ports::Part;
use contract::share::RUNTIME_LAYER;
use tempfile::TempDir;

use crate::builder::{Builder, Upstream};
use crate::checkout::Checkout;
use crate::error::Error;
use crate::part;
use crate::plugin;
use crate::ports::Ports;

/// Where everything of a stack is.
#[derive(Debug)]
pub struct Layout {
    pub(crate) settings: Builder,
    pub(crate) ports: Ports,
    pub(crate) dir: Dir,
    pub(crate) salt: String,
}

/// The stack's directory.
#[derive(Debug)]
pub(crate) enum Dir {
    Given(PathBuf),
    Own(TempDir),
}

impl Dir {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Own(dir) => dir.path(),
        }
    }
}

impl Layout {
    /// Makes the directory, chooses ports and salt.
    pub(crate) fn prepare(settings: Builder) -> Result<Self, Error> {
        let dir = match &settings.dir {
            Some(path) => {
                fs::create_dir_all(path).map_err(Error::io(format!("creating {}", path.display())))?;
                Dir::Given(path.clone())
            }
            None => {
                Dir::Own(tempfile::Builder::new().prefix("perch-").tempdir().map_err(Error::io("making a directory"))?)
            }
        };
        let run = dir.path().join("run");
        fs::create_dir_all(&run).map_err(Error::io(format!("creating {}", run.display())))?;
        make_runtime(&run.join("runtime/current"))?;
        let ports = match settings.ports.clone() {
            Some(ports) => ports,
            None => Ports::free()?,
        };
        let salt = match settings.salt.clone() {
            Some(salt) => salt,
            None => plugin::salt(&dir.path().join("salt"))?,
        };
        Ok(Self { settings, ports, dir, salt })
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
        self.settings.registry.clone().unwrap_or_else(|| self.dir().join("registry"))
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

    /// The store's URL: the one given, or a SQLite file in the stack's directory.
    pub(crate) fn store(&self) -> String {
        let default = || format!("sqlite://{}", self.dir().join("data/perch.sqlite").display());
        self.settings.store.clone().unwrap_or_else(default)
    }

    /// Returns `true` if the gateway loads the native module.
    #[must_use]
    pub fn native(&self) -> bool {
        self.module() == filter::config::Module::Native
    }

    /// The parts that this stack starts itself, in the order of their start.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        if self.settings.rules == Upstream::Own {
            parts.push(Part::Rules);
        }
        if self.settings.scorer == Upstream::Own {
            parts.push(Part::Scorer);
        }
        if self.settings.gateway {
            parts.push(Part::Gateway);
        }
        if self.settings.monitoring {
            parts.extend(monitoring(&self.settings.checkout));
        }
        if self.settings.guard {
            parts.push(Part::Console);
        }
        parts
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

    /// The whole log of one part.
    #[must_use]
    pub fn log(&self, part: Part) -> String {
        let path = self.run().join(format!("{}.log", part::file_name(part)));
        fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}

/// Prometheus and Alertmanager, where the repository has a configuration for them.
fn monitoring(checkout: &Checkout) -> Vec<Part> {
    let mut parts = Vec::new();
    if checkout.file("prometheus/alertmanager.yml.j2").is_file() {
        parts.push(Part::Alertmanager);
    }
    if checkout.file("prometheus/prometheus.yml.j2").is_file() {
        parts.push(Part::Prometheus);
    }
    parts
}

/// The disk layer must exist when Envoy starts: an empty directory behind a symlink, so that a change is a new
/// directory and a rename of the link, which is also what a ConfigMap mount does.
fn make_runtime(link: &Path) -> Result<(), Error> {
    if link.exists() {
        return Ok(());
    }
    let doing = format!("making the runtime's disk layer {}", link.display());
    let Some(parent) = link.parent() else { return Err(Error::Setting(format!("{doing}: it has no parent"))) };
    let layer = format!("{RUNTIME_LAYER}0");
    fs::create_dir_all(parent.join(&layer).join("perch")).map_err(Error::io(doing.clone()))?;
    std::os::unix::fs::symlink(layer, link).map_err(Error::io(doing))
}
