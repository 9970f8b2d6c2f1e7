//! One module for each command, and what they share: the deployment of this checkout.

pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod down;
pub(crate) mod render;
pub(crate) mod soak;
pub(crate) mod status;
pub(crate) mod up;

use anyhow::Context as _;
use contract::share::{self, Share};
use stack::ports::Ports;
use stack::{Builder, Error};

/// The deployment that `up`, `down`, `status` and `render` mean: the contract's ports, `.perch/`, production's checks
/// on the scorer, and the share that the start variable asks for.
pub(crate) fn deployment() -> Result<Builder, Error> {
    let builder = Builder::new()?;
    let state = builder.checkout().state();
    let registry = builder.checkout().file("models/registry");
    let workers = std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
    Ok(builder
        .ports(Ports::contract()?)
        .dir(state)
        .registry(registry)
        .store(store()?)
        .share(start_share()?)
        .concurrency(workers)
        .scorer_checks(true)
        .monitoring(true)
        .guard(true))
}

/// As [`deployment`], in a folder of its own with a copy of the champion. The folder is emptied first: logs, series and
/// alerts of an earlier run would be taken for this one's.
fn isolated(name: &str) -> anyhow::Result<Builder> {
    let builder = deployment()?;
    let dir = builder.checkout().state().join(name);
    if dir.exists() {
        std::fs::remove_dir_all(&dir).with_context(|| format!("clearing {}", dir.display()))?;
    }
    let registry = dir.join("registry");
    demo::models::copy_champion(&builder.checkout().file("models/registry"), &registry)?;
    Ok(builder.dir(dir).registry(registry).share(Share::OFF))
}

fn start_share() -> Result<Share, Error> {
    let text = std::env::var(share::START_VARIABLE).unwrap_or_default();
    Share::from_variable(&text).map_err(|error| Error::Setting(format!("{}: {error}", share::START_VARIABLE)))
}

/// The store that the deployment uses, as its programs would take it from their own variable.
pub(crate) fn store() -> Result<String, Error> {
    let default = || {
        Builder::new()
            .map(|builder| format!("sqlite://{}", builder.checkout().state().join("data/perch.sqlite").display()))
    };
    match std::env::var("PERCH_STORE") {
        Ok(url) if !url.is_empty() => Ok(url),
        _ => default(),
    }
}
