//! Moving models: deploying by the policy, going back, judging. What cannot be done leaves what serves.

use std::io;
use std::sync::{Arc, MutexGuard};

use super::outcome::{ChangeError, ChangeOutcome};
use super::{DiskState, Registry};
use crate::folder::Alias;
use crate::loaded::LoadedModel;
use crate::lock::{Caller, Lock, LockError};
use crate::policy::{self, Decision};

impl Registry {
    /// Makes `version` the champion, the champion the previous one, and removes versions that are no longer kept.
    /// Blocks.
    ///
    /// # Errors
    /// When it fails a check, the policy says no and it is not `forced`, it had no turn, the caller went away, or the
    /// folder cannot be written; the champion stays.
    pub fn deploy(&self, version: &str, forced: bool, caller: &Caller) -> Result<ChangeOutcome, ChangeError> {
        let (lock, mut disk) = self.turn(caller)?;
        let loaded = self.checked(&mut disk, version)?;
        let champion = self.champion().map(|champion| champion.manifest.metrics.val_f1_macro);
        match policy::judge(&loaded.manifest.metrics, loaded.manifest.classes.len(), champion) {
            Decision::Keep(reason) if !forced => Err(ChangeError::Policy { version: version.to_owned(), reason }),
            _ => {
                caller.still_there()?;
                let champion = self.folder.alias(Alias::Champion).map_err(|source| self.fault(source))?;
                let write = || -> io::Result<()> {
                    // In this order: stopped in between, "previous" names the champion that still is one.
                    if let Some(champion) = champion.filter(|champion| champion != version) {
                        self.folder.set_alias(&lock, Alias::Previous, Some(&champion))?;
                    }
                    self.folder.set_rolled_back_to(&lock, None)?;
                    self.folder.set_alias(&lock, Alias::Champion, Some(version))
                };
                write().map_err(|source| self.fault(source))?;
                Ok(self.promoted(&mut disk, &lock, loaded))
            }
        }
    }

    /// Makes the previous champion the champion again, and the champion the previous one. Blocks.
    ///
    /// Repeated, it changes nothing more: what a rollback took away comes back by a deployment only.
    ///
    /// # Errors
    /// When there is no previous one, it fails a check, it had no turn, the caller went away, or the folder cannot be
    /// written; the champion stays.
    pub fn roll_back(&self, caller: &Caller) -> Result<ChangeOutcome, ChangeError> {
        let (lock, mut disk) = self.turn(caller)?;
        let read = |alias| self.folder.alias(alias).map_err(|source| self.fault(source));
        let (champion, previous) = (read(Alias::Champion)?, read(Alias::Previous)?);
        let done = self.folder.rolled_back_to().map_err(|source| self.fault(source))?;
        let goal = match &champion {
            Some(champion) if done.as_ref() == Some(champion) => champion.clone(),
            _ => previous.clone().ok_or(ChangeError::NoPrevious)?,
        };
        let loaded = self.checked(&mut disk, &goal)?;
        caller.still_there()?;
        if champion.as_ref() != Some(&goal) {
            let write = || -> io::Result<()> {
                // In this order: stopped in between, a repetition finds either everything or nothing to do.
                self.folder.set_rolled_back_to(&lock, Some(&goal))?;
                self.folder.set_alias(&lock, Alias::Champion, Some(&goal))?;
                self.folder.set_alias(&lock, Alias::Previous, champion.as_deref().or(previous.as_deref()))
            };
            write().map_err(|source| self.fault(source))?;
        }
        Ok(self.promoted(&mut disk, &lock, loaded))
    }

    /// Lets `version` be judged on the observations beside the champion; `None` ends that. Blocks.
    ///
    /// # Errors
    /// When it fails a check, it had no turn, the caller went away, or the folder cannot be written; the challenger
    /// stays.
    pub fn challenge(&self, version: Option<&str>, caller: &Caller) -> Result<(), ChangeError> {
        let (lock, mut disk) = self.turn(caller)?;
        let loaded = version.map(|version| self.checked(&mut disk, version)).transpose()?;
        caller.still_there()?;
        self.folder.set_alias(&lock, Alias::Challenger, version).map_err(|source| self.fault(source))?;
        self.challenger.store(loaded);
        if let Some(names) = &mut disk.names {
            names.challenger = Ok(version.map(str::to_owned));
        }
        self.settle(Alias::Challenger);
        Ok(())
    }

    /// The lock first: while it is waited for, looking at the aliases goes on.
    fn turn(&self, caller: &Caller) -> Result<(Lock, MutexGuard<'_, DiskState>), ChangeError> {
        let lock = Lock::take(self.folder.root(), caller).map_err(|error| match error {
            LockError::Folder(source) => self.fault(source),
            error => error.into(),
        })?;
        let disk = self.changing(caller)?;
        Ok((lock, disk))
    }

    /// Takes `loaded`, which the alias names by now. What fails from here on is logged and no error: the change has
    /// happened.
    fn promoted(&self, disk: &mut DiskState, lock: &Lock, loaded: Arc<LoadedModel>) -> ChangeOutcome {
        let version = loaded.manifest.version.clone();
        let tidy = || -> io::Result<Vec<String>> {
            if self.folder.alias(Alias::Challenger)?.as_ref() == Some(&version) {
                self.folder.set_alias(lock, Alias::Challenger, None)?;
            }
            self.folder.prune(lock)
        };
        let removed = tidy().unwrap_or_else(|error| {
            tracing::warn!(version, %error, "registry_not_pruned");
            Vec::new()
        });
        self.take(Alias::Champion, loaded);
        if let Some(names) = &mut disk.names {
            names.champion = Ok(Some(version.clone()));
        }
        if self.challenger().is_some_and(|challenger| challenger.version() == version) {
            self.challenger.store(None);
            if let Some(names) = &mut disk.names {
                names.challenger = Ok(None);
            }
        }
        self.settle(Alias::Champion);
        ChangeOutcome { champion: version, previous: self.folder.alias(Alias::Previous).ok().flatten(), removed }
    }

    fn checked(&self, disk: &mut DiskState, version: &str) -> Result<Arc<LoadedModel>, ChangeError> {
        self.load(disk, version).map_err(|refusal| {
            self.metrics.model_refusals.with_label_values(&[refusal.reason()]).inc();
            ChangeError::Refused { version: version.to_owned(), refusal }
        })
    }

    fn fault(&self, source: io::Error) -> ChangeError {
        ChangeError::Folder { folder: self.folder.root().display().to_string(), source }
    }
}
