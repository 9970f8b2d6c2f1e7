//! The models in memory: who serves, who is judged, and what was refused.
//!
//! Readers take the champion by one atomic load and keep it for the whole answer, so that an answer and the version in
//! its header never belong to two models. A new version is loaded and checked beside the old one and then swapped in;
//! what fails a check is refused with a reason and the old one goes on. Changes happen one at a time: within
//! the program behind a mutex, between programs behind the folder's lock.

mod change;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arc_swap::{ArcSwap, ArcSwapOption};

pub use self::change::{ChangeError, Changed};
use super::folder::{Alias, Folder};
use super::loaded::Loaded;
use super::manifest::FeatureSchema;
use super::refusal::Refusal;
use crate::metrics::{self, Metrics};

/// A model that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The alias that named it.
    pub alias: Alias,
    /// The version.
    pub version: String,
    /// [`Refusal::reason`].
    pub reason: &'static str,
    /// The reason in words.
    pub message: String,
    /// When.
    pub at: SystemTime,
}

/// The registry in memory. Shared behind an `Arc`.
#[derive(Debug)]
pub struct Registry {
    folder: Folder,
    wanted: FeatureSchema,
    metrics: Arc<Metrics>,
    champion: ArcSwapOption<Loaded>,
    challenger: ArcSwapOption<Loaded>,
    refused: ArcSwap<Vec<Refused>>,
    change: Mutex<Seen>,
}

/// What was seen on disk; also the right to change anything.
#[derive(Debug, Default)]
struct Seen {
    /// Aliases at the last look.
    aliases: Vec<Option<String>>,
    /// Content of each version when it was first loaded.
    fingerprints: HashMap<String, String>,
}

impl Registry {
    /// A registry at `folder` for models of the feature schema `wanted`. Nothing is loaded yet: see [`Self::reload`].
    #[must_use]
    pub fn new(folder: Folder, wanted: FeatureSchema, metrics: Arc<Metrics>) -> Self {
        Self {
            folder,
            wanted,
            metrics,
            champion: ArcSwapOption::empty(),
            challenger: ArcSwapOption::empty(),
            refused: ArcSwap::default(),
            change: Mutex::default(),
        }
    }

    /// The model that answers, if there is one. Keep it for the whole answer.
    #[must_use]
    pub fn champion(&self) -> Option<Arc<Loaded>> {
        self.champion.load_full()
    }

    /// The model that is judged, if there is one.
    #[must_use]
    pub fn challenger(&self) -> Option<Arc<Loaded>> {
        self.challenger.load_full()
    }

    /// What is refused at present: at most one per alias.
    #[must_use]
    pub fn refused(&self) -> Arc<Vec<Refused>> {
        self.refused.load_full()
    }

    /// The folder on disk.
    #[must_use]
    pub const fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Loads what the aliases name, even if the names did not change. What is refused is in [`Self::refused`] then, and
    /// the last good model goes on. Blocks: reads and checks files.
    pub fn reload(&self) {
        let mut seen = self.changing();
        self.load_aliases(&mut seen);
    }

    /// As [`Self::reload`], if an alias changed since the last look. Did one?
    pub fn reload_if_moved(&self) -> bool {
        let mut seen = self.changing();
        if self.aliases() == seen.aliases {
            return false;
        }
        self.load_aliases(&mut seen);
        true
    }

    fn load(&self, seen: &mut Seen, version: &str) -> Result<Arc<Loaded>, Refusal> {
        let loaded = Loaded::load(&self.folder.version(version)?, &self.wanted)?;
        match seen.fingerprints.get(version) {
            Some(first) if *first != loaded.fingerprint => return Err(Refusal::Changed(version.to_owned())),
            Some(_) => {}
            None => {
                seen.fingerprints.insert(version.to_owned(), loaded.fingerprint.clone());
            }
        }
        Ok(Arc::new(loaded))
    }

    fn load_aliases(&self, seen: &mut Seen) {
        let champion = self.folder.alias(Alias::Champion);
        let challenger = self.folder.alias(Alias::Challenger);
        let same = matches!((&champion, &challenger), (Ok(Some(a)), Ok(Some(b))) if a == b);
        let mut refused = Vec::new();
        refused.extend(self.load_alias(seen, Alias::Champion, champion));
        refused.extend(self.load_alias(seen, Alias::Challenger, if same { Ok(None) } else { challenger }));
        self.refused.store(Arc::new(refused));
        self.settle(seen);
    }

    fn load_alias(&self, seen: &mut Seen, alias: Alias, named: io::Result<Option<String>>) -> Option<Refused> {
        let (version, refusal) = match named {
            Ok(Some(version)) => match self.load(seen, &version) {
                Ok(loaded) => {
                    self.take(alias, loaded);
                    return None;
                }
                Err(refusal) => (version, refusal),
            },
            Ok(None) => {
                // A champion serves on without its alias: a registry that cannot be reached must not take it away.
                if alias == Alias::Challenger {
                    self.challenger.store(None);
                }
                return None;
            }
            Err(source) => (String::new(), Refusal::Missing { file: alias.as_str(), source }),
        };
        let reason = refusal.reason();
        self.metrics.model_refusals.with_label_values(&[reason]).inc();
        let serving = self.champion().map_or_else(|| "none".to_owned(), |champion| champion.version().to_owned());
        log::error!("{} {version:?} is refused: {refusal}. Serving on: {serving}", alias.as_str());
        Some(Refused { alias, version, reason, message: refusal.to_string(), at: SystemTime::now() })
    }

    fn take(&self, alias: Alias, loaded: Arc<Loaded>) {
        let slot = if alias == Alias::Champion { &self.champion } else { &self.challenger };
        let before = slot.swap(Some(loaded.clone()));
        self.metrics.model_loads.with_label_values(&[alias.as_str()]).inc();
        if before.is_none_or(|before| before.version() != loaded.version()) {
            log::info!("{} is now {}", alias.as_str(), loaded.version());
        }
    }

    /// Notes what the aliases are, and lets the gauges say what is loaded.
    fn settle(&self, seen: &mut Seen) {
        seen.aliases = self.aliases();
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

    fn aliases(&self) -> Vec<Option<String>> {
        [Alias::Champion, Alias::Challenger].iter().map(|alias| self.folder.alias(*alias).ok().flatten()).collect()
    }

    fn changing(&self) -> MutexGuard<'_, Seen> {
        // What is behind the mutex is valid after every statement, so a panic in between leaves it usable.
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
