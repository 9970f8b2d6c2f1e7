//! The right to change aliases: the registry's lock file, waited for within bounds.
//!
//! The lock is an advisory one on `.lock`, shared with `models/train.py`. A process that holds it may be stopped for
//! days (a debugger, a frozen container), so that nothing here waits for it without a limit, and nothing is changed for
//! a client that has gone away: what was reported as failed must not come true later.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for the lock. Work under it takes milliseconds, or the load of one model.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(25);

/// Held while aliases change; released when dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// A change that did not get its turn.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process, or another request to this one, held the lock all the time.
    #[error(
        "{path} was held by something else for {waited:?}, so nothing was changed: another change is under way, or a \
         process that holds the lock is stopped (`fuser {path}` names it); end that process and try again"
    )]
    Held {
        /// The lock file.
        path: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The client that asked for the change has gone away.
    #[error("the client went away before its turn came, so nothing was changed")]
    Abandoned,
    /// The lock file cannot be opened.
    #[error(transparent)]
    Folder(#[from] io::Error),
}

/// The origin of a change: a client that may go away, or this program itself.
#[derive(Debug, Clone)]
pub struct Caller {
    /// `None` for this program itself, which does not go away.
    client: Option<Weak<()>>,
    patience: Duration,
}

/// A client that waits for a change; dropped when it goes away.
#[derive(Debug)]
pub struct Client {
    _there: Arc<()>,
}

impl Client {
    /// A client, and what the change asks whether it is still there.
    #[must_use]
    pub fn new() -> (Self, Caller) {
        let client = Arc::new(());
        let caller = Caller { client: Some(Arc::downgrade(&client)), patience: PATIENCE };
        (Self { _there: client }, caller)
    }
}

impl Caller {
    /// A caller without a client, which never goes away.
    #[must_use]
    pub const fn without_client() -> Self {
        Self { client: None, patience: PATIENCE }
    }

    /// The same with another patience than ten seconds.
    #[must_use]
    pub fn waiting(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Returns `Abandoned` once the client has gone away.
    ///
    /// # Errors
    /// [`LockError::Abandoned`].
    pub fn still_there(&self) -> Result<(), LockError> {
        match &self.client {
            Some(client) if client.strong_count() == 0 => Err(LockError::Abandoned),
            _ => Ok(()),
        }
    }

    /// Repeats `attempt` until it gives something, within the caller's patience. `held` names what is waited for.
    pub(super) fn wait<T>(
        &self,
        held: impl Fn() -> PathBuf,
        mut attempt: impl FnMut() -> io::Result<Option<T>>,
    ) -> Result<T, LockError> {
        let started = Instant::now();
        loop {
            self.still_there()?;
            if let Some(taken) = attempt()? {
                return Ok(taken);
            }
            if started.elapsed() >= self.patience {
                return Err(LockError::Held { path: held().display().to_string(), waited: self.patience });
            }
            thread::sleep(PAUSE.min(self.patience));
        }
    }
}

impl Lock {
    /// Takes the lock of the registry at `root` once nothing else holds it, within the caller's patience. Blocks.
    ///
    /// # Errors
    /// See [`LockError`].
    pub fn take(root: &Path, caller: &Caller) -> Result<Self, LockError> {
        fs::create_dir_all(root)?;
        let path = root.join(".lock");
        // Opened to write, since some network file systems lock nothing else; never truncated, it is somebody's.
        let file = File::options().write(true).create(true).truncate(false).open(&path)?;
        caller.wait(
            || path.clone(),
            || match file.try_lock() {
                Ok(()) => Ok(Some(())),
                Err(TryLockError::WouldBlock) => Ok(None),
                Err(TryLockError::Error(error)) => Err(error),
            },
        )?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_held_is_named_when_patience_ends_case_a11() {
        let root = tempfile::tempdir().unwrap();
        let held = Lock::take(root.path(), &Caller::without_client()).unwrap();
        let hasty = Caller::without_client().waiting(Duration::from_millis(1));
        let error = Lock::take(root.path(), &hasty).unwrap_err();
        assert!(matches!(error, LockError::Held { .. }) && error.to_string().contains(".lock was held"), "{error}");
        drop(held);
        Lock::take(root.path(), &hasty).unwrap();
    }

    #[test]
    fn a_client_that_goes_away_ends_the_wait_case_a11() {
        let root = tempfile::tempdir().unwrap();
        let _held = Lock::take(root.path(), &Caller::without_client()).unwrap();
        let (client, caller) = Client::new();
        let waiting = thread::spawn(move || Lock::take(root.path(), &caller.waiting(Duration::from_secs(3_600))));
        drop(client);
        assert!(matches!(waiting.join().unwrap(), Err(LockError::Abandoned)));
    }
}
