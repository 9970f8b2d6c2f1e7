//! The deployment: the guard's status, the audit log, the gateways' share, and manual overrides.

use contract::share::Share;
use guard_runtime::audit_log::{Actor, AuditLogError, Entry};
use guard_runtime::manual_override::ManualOverride;
use guard_runtime::status::{GuardStatus, GuardStatusError};

use super::Console;

impl Console {
    /// The status of the leading guard, whichever program it runs in.
    pub(super) fn status(&self, now_ms: u64) -> Result<GuardStatus, GuardStatusError> {
        GuardStatus::read(&self.0.settings.folder, now_ms)
    }

    /// The entries of the audit log, the newest first.
    pub(super) fn entries(&self) -> Result<Vec<Entry>, AuditLogError> {
        let mut entries = self.0.audit_log.read()?;
        entries.reverse();
        Ok(entries)
    }

    /// The share that all gateways hold.
    ///
    /// # Errors
    /// When a gateway cannot be reached, or they differ.
    pub(super) async fn share(&self) -> Result<Share, String> {
        let shares: Vec<Share> = self.0.gateways.shares().await.into_iter().collect::<Result<_, String>>()?;
        match shares.split_first() {
            Some((first, others)) if others.iter().all(|other| other == first) => Ok(*first),
            Some(_) => Err("the gateways hold different shares".to_owned()),
            None => Err("no gateway is configured".to_owned()),
        }
    }

    /// A manual override of the share.
    pub(super) fn manual_override(&self, by: Actor) -> ManualOverride {
        ManualOverride::new(self.0.gateways.clone(), Some(self.0.audit_log.clone()), by)
    }
}
