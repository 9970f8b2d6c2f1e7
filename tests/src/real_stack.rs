//! A complete Perch deployment for one test: the real Envoy with the filter, rules backend, scorer and model, on free ports
//! and with a store of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use http::Request;
use stack::checkout::Checkout;
use stack::{Builder, Part, Scrape, Signal, Stack};
use tempfile::TempDir;

use crate::channel_body::ChannelBody;
use crate::client::{Client, ClientResponse, Protocol};
use crate::eventually::eventually;
use crate::scripted_stack::wait_for_shares;

/// Users of the small store, enough for a few thousand transactions.
const USERS: u32 = 200;
/// In a stack's directory.
const REGISTRY: &str = "registry";
/// Every store has transactions with the ids 1 to this.
pub const TRANSACTIONS: i64 = 2_000;

/// A running deployment.
pub struct RealStack {
    /// Its parts.
    pub stack: Stack,
    // Dropped after the stack, whose programs have files open in it.
    dir: TempDir,
}

impl RealStack {
    /// Starts with what `change` makes of the defaults: a fresh store, a copy of the trained registry, share 0.
    ///
    /// # Errors
    /// When something is missing (the error says how to make it) or does not start.
    pub async fn start(change: impl FnOnce(Builder) -> Builder) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("perch-real-").tempdir()?;
        let builder = change(builder(dir.path())?);
        let stack = builder.start().await?;
        wait_for_shares(&stack).await?;
        Ok(Self { stack, dir })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.stack.gateway()
    }

    /// The folder of its models, a copy that a test may change.
    #[must_use]
    pub fn registry(&self) -> PathBuf {
        self.dir.path().join(REGISTRY)
    }

    /// One request over HTTP/1.1 on a connection of its own.
    ///
    /// # Errors
    /// When the response is not whole.
    pub async fn send(&self, request: Request<ChannelBody>) -> anyhow::Result<ClientResponse> {
        Client::once(self.address(), Protocol::H1, request).await
    }

    /// One request straight to a part.
    ///
    /// # Errors
    /// When the response is not whole.
    pub async fn send_to(&self, part: Part, request: Request<ChannelBody>) -> anyhow::Result<ClientResponse> {
        let url = self.stack.url(part);
        let address = url.strip_prefix("http://").unwrap_or(&url).parse().with_context(|| url.clone())?;
        Client::once(address, Protocol::H1, request).await
    }

    /// Suspends a part, as on a machine that hangs, and waits until none of its threads runs any more.
    ///
    /// # Errors
    /// When the part does not run.
    pub async fn suspend(&mut self, part: Part) -> anyhow::Result<()> {
        self.stack.signal(part, Signal::STOP);
        let pid = self.stack.pid(part).context("it does not run")?;
        eventually("the part is suspended", || async {
            for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
                let stat = std::fs::read_to_string(thread?.path().join("stat"))?;
                let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
                ensure!(state == Some('T'), "a thread is {state:?}");
            }
            Ok(())
        })
        .await
    }

    /// Envoy's metrics now.
    ///
    /// # Errors
    /// When Envoy does not respond.
    pub async fn scrape(&self) -> anyhow::Result<Scrape> {
        Ok(self.stack.scrape().await?)
    }
}

impl Drop for RealStack {
    /// The test harness shows it only where a test fails.
    #[allow(clippy::print_stdout)]
    fn drop(&mut self) {
        println!("{}", self.stack.logs());
    }
}

/// A stack to be, with a seeded store and a copy of the registry in `dir`.
///
/// # Errors
/// When no model was trained, or the store cannot be seeded.
pub fn builder(dir: &Path) -> anyhow::Result<Builder> {
    let store = format!("sqlite://{}", dir.join("perch.sqlite").display());
    seed(&store)?;
    let builder = Stack::builder()?;
    let registry = registry(builder.checkout(), dir)?;
    Ok(builder.store(store).registry(registry))
}

/// Makes the small demo in the store at `url`.
///
/// # Errors
/// When it cannot be written.
pub fn seed(url: &str) -> anyhow::Result<()> {
    let program = Checkout::find()?.program("rules-backend");
    let output = Command::new(&program)
        .args(["seed", "--users", &USERS.to_string(), "--store", url])
        .output()
        .with_context(|| format!("{} is missing: `cargo build` makes it", program.display()))?;
    ensure!(output.status.success(), "seeding {url}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A copy of the trained registry in `dir`, for a test to change.
fn registry(checkout: &Checkout, dir: &Path) -> anyhow::Result<PathBuf> {
    let trained = checkout.file("models/registry");
    let champion = trained.join("champion");
    ensure!(champion.is_file(), "{} is missing: `make ml-train` trains and deploys a model", champion.display());
    let copy = dir.join(REGISTRY);
    copy_all(&trained, &copy)?;
    Ok(copy)
}

fn copy_all(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &to.join(entry.file_name()))?;
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
