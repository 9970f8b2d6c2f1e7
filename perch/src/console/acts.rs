//! What an operator does at the console, and what an alert asks for: written to the ledger, and carried out while the
//! ledger is held, so that it has one place in the story.

use contract::switch::Share;

use super::Console;
use crate::guard::in_words;
use crate::guard::ledger::{By, Held, LedgerError, What};
use crate::guard::sink::{Sink as _, SinkError};

/// What can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// To 0 %, latched.
    Rollback,
}

/// Something that was not done, or not everywhere.
#[derive(Debug, thiserror::Error)]
pub(super) enum ActError {
    /// The ledger cannot be used; nothing was done.
    #[error("nothing was done")]
    Ledger(#[from] LedgerError),
    /// The gateways do not all hold the share.
    #[error("it was written down, but does not hold everywhere")]
    Sink(#[from] SinkError),
}

impl Console {
    /// Does it in a ledger that is held and has no entry for `key`.
    pub(super) async fn act_in(
        &self,
        held: &mut Held,
        now_ms: u64,
        by: By,
        act: &Act,
        reason: &str,
        key: &str,
    ) -> Result<u64, ActError> {
        let order = match act {
            Act::Rollback => What::Rollback,
        };
        let number = held.append_keyed(now_ms, by.clone(), order, reason, key)?;
        if *act == Act::Rollback {
            // At once, rather than at the guard's next look. If it fails, the guard tries again at each.
            self.set(held, now_ms, by, Share::OFF, reason, None).await?;
        }
        Ok(number)
    }

    /// Sets the share and writes down what came of it.
    async fn set(
        &self,
        held: &mut Held,
        now_ms: u64,
        by: By,
        share: Share,
        reason: &str,
        key: Option<&str>,
    ) -> Result<u64, ActError> {
        let from = self.0.gateways.share().await.ok().map(Share::to_runtime);
        let done = self.0.gateways.sink().set(share).await;
        let (what, reason) = match &done {
            Ok(()) => (What::Set { from, to: share.to_runtime() }, reason.to_owned()),
            Err(error) => (What::Refused { wanted: share.to_runtime() }, in_words(error)),
        };
        let number = match key {
            Some(key) => held.append_keyed(now_ms, by, what, reason, key)?,
            None => held.append(now_ms, by, what, reason)?,
        };
        done?;
        Ok(number)
    }
}
