//! The deployment: how the guard stands, what was said, what the gateways hold, and a hand on them.

use contract::switch::Share;

use super::Console;
use crate::guard::audit_log::{Actor, AuditLogError, Entry};
use crate::guard::manual_override::ManualOverride;
use crate::guard::status::{GuardStatus, GuardStatusError};

impl Console {
    /// How the guard that leads stands, whichever program it is in.
    pub(super) fn standing(&self, now_ms: u64) -> Result<GuardStatus, GuardStatusError> {
        GuardStatus::read(&self.0.settings.folder, now_ms)
    }

    /// The ledger's entries, the newest first.
    pub(super) fn entries(&self) -> Result<Vec<Entry>, AuditLogError> {
        let mut entries = self.0.ledger.read()?;
        entries.reverse();
        Ok(entries)
    }

    /// The share that all gateways hold.
    ///
    /// # Errors
    /// In words: one cannot be reached, or they differ.
    pub(super) async fn share(&self) -> Result<Share, String> {
        let shares: Vec<Share> = self.0.gateways.shares().await.into_iter().collect::<Result<_, String>>()?;
        match shares.split_first() {
            Some((first, others)) if others.iter().all(|other| other == first) => Ok(*first),
            Some(_) => Err("the gateways hold different shares".to_owned()),
            None => Err("no gateway is known".to_owned()),
        }
    }

    /// Somebody's hand on the share.
    pub(super) fn hand(&self, by: Actor) -> ManualOverride {
        ManualOverride::new(self.0.gateways.clone(), Some(self.0.ledger.clone()), by)
    }
}
