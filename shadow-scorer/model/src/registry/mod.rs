//! The models in memory: the champion, the challenger, and what was refused.
//!
//! Readers take the champion by one atomic load and keep it for the whole response, so that a response and the version
//! in its header never belong to two models. A new version is loaded and checked beside the old one and then swapped in;
//! what fails a check is refused with a reason and the old one stays. Changes happen one at a time: within
//! the program behind a mutex, between programs behind the folder's lock. Both are waited for within bounds
//! ([`Caller`]), the lock before the mutex, so that the aliases are still checked while a change waits for the lock.
//!
//! An alias counts as acted upon by the name that was loaded, never by what its file says afterwards: one that moves
//! during a load is found by the next check.

mod change;
mod outcome;
mod retry;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::{Instant, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use scorer_features::Schema;
use scorer_metrics::{self as metrics, Metrics};

pub use self::outcome::{ChangeError, ChangeOutcome, RefusedVersion};
use self::retry::{Retry, Stamp, stamp};
use super::folder::{Alias, Folder};
use super::loaded::LoadedModel;
use super::lock::{Caller, LockError};
use super::refusal::Refusal;

/// The registry in memory. Shared behind an `Arc`.
#[derive(Debug)]
pub struct Registry {
    folder: Folder,
    schema: Arc<Schema>,
    metrics: Arc<Metrics>,
    champion: ArcSwapOption<LoadedModel>,
    challenger: ArcSwapOption<LoadedModel>,
    refused: ArcSwap<Vec<RefusedVersion>>,
    change: Mutex<DiskState>,
}

/// State of the folder as it was last read. Its mutex is also the right to change anything.
#[derive(Debug, Default)]
struct DiskState {
    /// What the aliases named when they were last acted upon; `None` before the first time.
    names: Option<Names>,
    /// Content of each version when it was first loaded.
    fingerprints: HashMap<String, String>,
    retry: Retry,
}

/// What an alias names, `None` for nothing; or why it cannot be read.
type Named = Result<Option<String>, String>;

/// What the aliases name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Names {
    champion: Named,
    challenger: Named,
}

/// How much of what the aliases name is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    /// All of it.
    Everything,
    /// What is not in memory yet.
    News,
}

impl Registry {
    /// A registry at `folder` for models of the feature schema `schema`. Nothing is loaded yet: see [`Self::reload`].
    #[must_use]
    pub fn new(folder: Folder, schema: Arc<Schema>, metrics: Arc<Metrics>) -> Self {
        Self {
            folder,
            schema,
            metrics,
            champion: ArcSwapOption::empty(),
            challenger: ArcSwapOption::empty(),
            refused: ArcSwap::default(),
            change: Mutex::default(),
        }
    }

    /// The model that serves, if there is one. Keep it for the whole response.
    #[must_use]
    pub fn champion(&self) -> Option<Arc<LoadedModel>> {
        self.champion.load_full()
    }

    /// The model that is compared with the champion, if there is one.
    #[must_use]
    pub fn challenger(&self) -> Option<Arc<LoadedModel>> {
        self.challenger.load_full()
    }

    /// What is refused at present: at most one per alias.
    #[must_use]
    pub fn refused(&self) -> Arc<Vec<RefusedVersion>> {
        self.refused.load_full()
    }

    /// The folder on disk.
    #[must_use]
    pub const fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Loads what the aliases name, even if the names did not change. What is refused is in [`Self::refused`] then, and
    /// the last good model stays. Blocks: reads and checks files.
    ///
    /// # Errors
    /// When another change was under way for too long; nothing was loaded then.
    pub fn reload(&self, caller: &Caller) -> Result<(), ChangeError> {
        let mut disk = self.changing(caller)?;
        let names = self.names();
        self.load_aliases(&mut disk, names, Load::Everything, Instant::now());
        Ok(())
    }

    /// As [`Self::reload`], if an alias moved since it was last acted upon, or what was refused should be tried again.
    /// Returns `true` if that was so.
    pub fn reload_if_moved(&self) -> bool {
        self.check_aliases(Instant::now())
    }

    fn check_aliases(&self, now: Instant) -> bool {
        // A change that is under way takes care of the aliases itself; the next check finds what came after it.
        let Ok(mut disk) = self.changing(&Caller::without_client()) else { return false };
        let names = self.names();
        if disk.names.as_ref() == Some(&names) && !disk.retry.is_due(now, |version| self.stamp(version)) {
            return false;
        }
        self.load_aliases(&mut disk, names, Load::News, now);
        true
    }

    fn stamp(&self, version: &str) -> Option<Stamp> {
        Some(stamp(&self.folder.version(version).ok()?))
    }

    fn load(&self, disk: &mut DiskState, version: &str) -> Result<Arc<LoadedModel>, Refusal> {
        let loaded = LoadedModel::load(&self.folder.version(version)?, &self.schema)?;
        match disk.fingerprints.get(version) {
            Some(first) if *first != loaded.fingerprint => return Err(Refusal::Changed(version.to_owned())),
            Some(_) => {}
            None => {
                disk.fingerprints.insert(version.to_owned(), loaded.fingerprint.clone());
            }
        }
        Ok(Arc::new(loaded))
    }

    fn load_aliases(&self, disk: &mut DiskState, names: Names, load: Load, now: Instant) {
        // Taken before the files are read: what changes meanwhile is a reason to try again.
        let named = [&names.champion, &names.challenger].into_iter().filter_map(|named| named.clone().ok().flatten());
        let stamps: Vec<_> = named.filter_map(|version| Some((version.clone(), self.stamp(&version)?))).collect();
        // A challenger that is the champion is none.
        let same = matches!(&names.champion, Ok(Some(_))) && names.champion == names.challenger;
        let challenger = if same { &Ok(None) } else { &names.challenger };
        let before = self.refused();
        let mut refused = Vec::new();
        refused.extend(self.load_alias(disk, Alias::Champion, &names.champion, load, &before));
        refused.extend(self.load_alias(disk, Alias::Challenger, challenger, load, &before));
        let again = refused == *before;
        let stamps =
            stamps.into_iter().filter(|(version, _)| refused.iter().any(|refused| refused.version == *version));
        disk.retry.plan(now, &refused, stamps.collect(), again);
        disk.names = Some(names);
        self.refused.store(Arc::new(refused));
        self.show();
    }

    fn load_alias(
        &self,
        disk: &mut DiskState,
        alias: Alias,
        named: &Named,
        load: Load,
        before: &[RefusedVersion],
    ) -> Option<RefusedVersion> {
        let (version, refusal) = match named {
            Ok(Some(version)) => {
                let slot = self.slot(alias).load();
                if load == Load::News && slot.as_ref().is_some_and(|loaded| loaded.version() == version) {
                    return None;
                }
                match self.load(disk, version) {
                    Ok(loaded) => {
                        self.take(alias, loaded);
                        return None;
                    }
                    Err(refusal) => (version.clone(), refusal),
                }
            }
            Ok(None) => {
                // A champion serves on without its alias: a registry that cannot be reached must not take it away.
                if alias == Alias::Challenger {
                    self.challenger.store(None);
                }
                return None;
            }
            Err(reason) => {
                let source = io::Error::other(reason.clone());
                (String::new(), Refusal::Missing { file: alias.as_str(), source })
            }
        };
        let (reason, message) = (refusal.reason(), refusal.to_string());
        // The same refusal as before is one refusal, however often it was tried.
        let known = before.iter().find(|one| (one.alias, &one.version, &one.message) == (alias, &version, &message));
        if let Some(known) = known {
            return Some(known.clone());
        }
        self.metrics.model_refusals.with_label_values(&[reason]).inc();
        let serving = self.champion().map_or_else(|| "none".to_owned(), |champion| champion.version().to_owned());
        tracing::error!(alias = alias.as_str(), version, reason, serving, error = message, "model_refused");
        Some(RefusedVersion { alias, version, reason, message, at: SystemTime::now() })
    }

    const fn slot(&self, alias: Alias) -> &ArcSwapOption<LoadedModel> {
        match alias {
            Alias::Challenger => &self.challenger,
            Alias::Champion | Alias::Previous => &self.champion,
        }
    }

    fn take(&self, alias: Alias, loaded: Arc<LoadedModel>) {
        let before = self.slot(alias).swap(Some(loaded.clone()));
        self.metrics.model_loads.with_label_values(&[alias.as_str()]).inc();
        if before.is_none_or(|before| before.version() != loaded.version()) {
            tracing::info!(alias = alias.as_str(), version = loaded.version(), "model_loaded");
        }
    }

    /// Takes what was refused under `alias` off the list: a change has settled what it names.
    fn settle(&self, alias: Alias) {
        let left = self.refused().iter().filter(|refused| refused.alias != alias).cloned().collect();
        self.refused.store(Arc::new(left));
        self.show();
    }

    /// Lets the gauges say what is loaded.
    fn show(&self) {
        let champion = self.champion();
        let challenger = self.challenger();
        self.metrics.model_available.set(i64::from(champion.is_some()));
        self.metrics.model_info.reset();
        for (alias, model) in [(Alias::Champion, &champion), (Alias::Challenger, &challenger)] {
            if let Some(model) = model {
                self.metrics.model_info.with_label_values(&[alias.as_str(), model.version()]).set(1.0);
            }
        }
        if let Some(champion) = champion {
            metrics::set(&self.metrics.model_f1, champion.manifest.metrics.val_f1_macro);
        }
    }

    fn names(&self) -> Names {
        let named = |alias| self.folder.alias(alias).map_err(|error| error.to_string());
        Names { champion: named(Alias::Champion), challenger: named(Alias::Challenger) }
    }

    /// The right to change what is loaded, once nothing else has it.
    fn changing(&self, caller: &Caller) -> Result<MutexGuard<'_, DiskState>, LockError> {
        let attempt = || match self.change.try_lock() {
            Ok(disk) => Ok(Some(disk)),
            // What is behind the mutex is valid after every statement, so a panic in between leaves it usable.
            Err(TryLockError::Poisoned(poisoned)) => Ok(Some(poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => Ok(None),
        };
        caller.wait(|| self.folder.root().to_path_buf(), attempt)
    }
}

#[cfg(test)]
mod tests;
