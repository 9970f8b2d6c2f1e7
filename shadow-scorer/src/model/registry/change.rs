//! Moving models: deploying by the policy, going back, judging. What cannot be done leaves what serves.

use std::io;
use std::sync::Arc;

use super::{Registry, Seen};
use crate::model::folder::{Alias, Lock};
use crate::model::loaded::Loaded;
use crate::model::policy::{self, Decision};
use crate::model::refusal::Refusal;

/// A change that did not happen. What served goes on.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The model failed its checks.
    #[error("version {version} is refused: {refusal}")]
    Refused {
        /// The version.
        version: String,
        /// Why.
        #[source]
        refusal: Refusal,
    },
    /// The deploy policy says no.
    #[error("version {version} is not deployed: {reason}; force it to deploy it all the same")]
    Policy {
        /// The version.
        version: String,
        /// Why.
        reason: String,
    },
    /// There is nothing to go back to.
    #[error("there is no previous version to go back to: the alias \"previous\" names none")]
    NoPrevious,
    /// The folder cannot be read or written.
    #[error("the registry {folder} cannot be changed: {source}")]
    Folder {
        /// Its path.
        folder: String,
        /// What the system said.
        source: io::Error,
    },
}

/// What a change led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Who serves now.
    pub champion: String,
    /// Where going back would go.
    pub previous: Option<String>,
    /// Versions that were removed, as only the last few are kept.
    pub removed: Vec<String>,
}

impl Registry {
    /// Makes `version` the champion, the champion the previous one, and removes versions that are no longer kept.
    /// Blocks.
    ///
    /// # Errors
    /// When it fails a check, the policy says no and it is not `forced`, or the folder cannot be written; the champion
    /// stays.
    pub fn deploy(&self, version: &str, forced: bool) -> Result<Changed, ChangeError> {
        let mut seen = self.changing();
        let lock = self.folder.lock().map_err(|source| self.fault(source))?;
        let loaded = self.checked(&mut seen, version)?;
        let champion = self.champion().map(|champion| champion.manifest.metrics.val_f1_macro);
        match policy::decide(loaded.manifest.metrics.val_f1_macro, champion) {
            Decision::Keep(reason) if !forced => Err(ChangeError::Policy { version: version.to_owned(), reason }),
            _ => self.promote(&mut seen, &lock, loaded),
        }
    }

    /// Makes the previous champion the champion again, and the champion the previous one. Blocks.
    ///
    /// # Errors
    /// When there is none, it fails a check, or the folder cannot be written; the champion stays.
    pub fn roll_back(&self) -> Result<Changed, ChangeError> {
        let mut seen = self.changing();
        let lock = self.folder.lock().map_err(|source| self.fault(source))?;
        let previous = self.folder.alias(Alias::Previous).map_err(|source| self.fault(source))?;
        let loaded = self.checked(&mut seen, &previous.ok_or(ChangeError::NoPrevious)?)?;
        self.promote(&mut seen, &lock, loaded)
    }

    /// Lets `version` be judged on the observations beside the champion; `None` ends that. Blocks.
    ///
    /// # Errors
    /// When it fails a check or the folder cannot be written; the challenger stays.
    pub fn challenge(&self, version: Option<&str>) -> Result<(), ChangeError> {
        let mut seen = self.changing();
        let lock = self.folder.lock().map_err(|source| self.fault(source))?;
        let loaded = version.map(|version| self.checked(&mut seen, version)).transpose()?;
        self.folder.set_alias(&lock, Alias::Challenger, version).map_err(|source| self.fault(source))?;
        self.challenger.store(loaded);
        self.settle(&mut seen);
        Ok(())
    }

    fn promote(&self, seen: &mut Seen, lock: &Lock, loaded: Arc<Loaded>) -> Result<Changed, ChangeError> {
        let version = &loaded.manifest.version.clone();
        let write = || -> io::Result<Vec<String>> {
            let champion = self.folder.alias(Alias::Champion)?;
            // In this order: stopped in between, "previous" names the champion that still is one.
            if let Some(champion) = champion.filter(|champion| champion != version) {
                self.folder.set_alias(lock, Alias::Previous, Some(&champion))?;
            }
            self.folder.set_alias(lock, Alias::Champion, Some(version))?;
            if self.folder.alias(Alias::Challenger)?.as_deref() == Some(version) {
                self.folder.set_alias(lock, Alias::Challenger, None)?;
            }
            self.folder.prune(lock)
        };
        let removed = write().map_err(|source| self.fault(source))?;
        self.take(Alias::Champion, loaded);
        if self.challenger().is_some_and(|challenger| challenger.version() == version) {
            self.challenger.store(None);
        }
        self.settle(seen);
        let previous = self.folder.alias(Alias::Previous).map_err(|source| self.fault(source))?;
        Ok(Changed { champion: version.to_owned(), previous, removed })
    }

    fn checked(&self, seen: &mut Seen, version: &str) -> Result<Arc<Loaded>, ChangeError> {
        self.load(seen, version).map_err(|refusal| {
            self.metrics.model_refusals.with_label_values(&[refusal.reason()]).inc();
            ChangeError::Refused { version: version.to_owned(), refusal }
        })
    }

    fn fault(&self, source: io::Error) -> ChangeError {
        ChangeError::Folder { folder: self.folder.root().display().to_string(), source }
    }
}
