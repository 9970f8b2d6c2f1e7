//! Manual overrides: changes of the share by an operator's command, the console or an alert instead of the guard.
//!
//! An override holds the lock of the audit log and records there what it did, so that the audit log is complete and the
//! guard never works against an operator. A share is set only after every gateway could be read: a share that holds on
//! some gateways only would give one user both arms. A rollback goes to every gateway that can be reached and is
//! recorded first, so that a guard completes it on gateways that failed.
//!
//! The share is raised only when there is disk space to record that. Lowering it and switching it off need no disk. A
//! change that could not be recorded is an error that names what was done.

use contract::share::Share;

use super::audit_log::{Actor, AuditLog, AuditLogError, BETA, Entry, Event, LockedAuditLog, ROLLBACK};
use super::sink::{Gateways, Sink, SinkError};

/// An override that failed, in part or as a whole.
#[derive(Debug, thiserror::Error)]
pub enum OverrideError {
    /// The audit log failed, and nothing was changed.
    #[error("nothing was changed: cannot use the audit log")]
    AuditLog(#[from] AuditLogError),
    /// The audit log cannot be written, and no gateway was changed.
    #[error("no gateway was changed: the change cannot be recorded in the audit log")]
    AuditLogUnavailable(#[source] AuditLogError),
    /// The change was made, but could not be recorded.
    #[error("{done}, but the audit log has no entry for it, so the guard will treat it as an external change")]
    NotRecorded {
        /// The change, as a sentence.
        done: String,
        /// Why it was not recorded.
        source: AuditLogError,
    },
    /// A gateway cannot be read, and no gateway was changed.
    #[error("no gateway was changed: cannot read the share of every gateway: {}", .0.join("; "))]
    Unreachable(Vec<String>),
    /// The share was not set on every gateway.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// An override with the same idempotency key was made before.
    #[error("this was done before (audit log entry {0})")]
    AlreadyDone(u64),
    /// An operator has acted since the alert behind this override began.
    #[error("superseded by a later operator action (audit log entry {0})")]
    Superseded(u64),
}

/// A change of the share outside the rollout plan.
#[derive(Debug, Clone)]
pub struct ManualOverride {
    gateways: Gateways,
    audit_log: Option<AuditLog>,
    actor: Actor,
    key: Option<String>,
    since_ms: Option<u64>,
}

impl ManualOverride {
    /// An override by `actor` on `gateways`. Without an audit log nothing is recorded, and the guard treats the change
    /// as an external one.
    #[must_use]
    pub const fn new(gateways: Gateways, audit_log: Option<AuditLog>, actor: Actor) -> Self {
        Self { gateways, audit_log, actor, key: None, since_ms: None }
    }

    /// The next change is made at most once for this key.
    #[must_use]
    pub fn with_idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The next change is rejected if an operator has put users on the candidate, or resumed the guard, after
    /// `since_ms` (milliseconds since 1970), when the alert behind the change began.
    #[must_use]
    pub const fn valid_since(mut self, since_ms: u64) -> Self {
        self.since_ms = Some(since_ms);
        self
    }

    /// Sets the share on every gateway. Returns the share that each of them held before.
    ///
    /// # Errors
    /// When the audit log cannot be locked, a gateway cannot be read (then none is changed, except for a share of 0),
    /// or the share does not hold on every gateway afterwards (which the audit log then records).
    pub async fn set(&mut self, now_ms: u64, share: Share, reason: &str) -> Result<Vec<Share>, OverrideError> {
        let (mut held, unusable) = match self.lock_audit_log().await {
            Ok(held) => (held, None),
            Err(error) if share == Share::OFF => (None, Some(error)),
            Err(error) => return Err(OverrideError::AuditLogUnavailable(error)),
        };
        self.check_allowed(now_ms, held.as_mut(), &share.to_runtime())?;
        let before = self.gateways.shares().await;
        let faults: Vec<String> = before.iter().filter_map(|share| share.as_ref().err().cloned()).collect();
        // As in a rollback, a share of 0 goes to every gateway that can be reached.
        if !faults.is_empty() && share != Share::OFF {
            return Err(OverrideError::Unreachable(faults));
        }
        let before: Vec<Share> = before.into_iter().filter_map(Result::ok).collect();
        if before.iter().any(|before| before.fraction() < share.fraction())
            && let Some(held) = &held
        {
            held.check_space().map_err(OverrideError::AuditLogUnavailable)?;
        }
        self.set_and_record(now_ms, before.first().copied(), share, reason, held.as_mut()).await?;
        unusable.map_or(Ok(before), |source| Err(not_recorded(share, source)))
    }

    /// Sets the beta cohort's share on every gateway. Returns the share that each of them held before.
    ///
    /// # Errors
    /// When the audit log cannot be locked or written, a gateway cannot be read, or the share does not hold everywhere.
    pub async fn set_beta(&self, now_ms: u64, share: Share, reason: &str) -> Result<Vec<Share>, OverrideError> {
        let mut held = self.lock_audit_log().await.map_err(OverrideError::AuditLogUnavailable)?;
        if let Some(held) = &held {
            held.check_space().map_err(OverrideError::AuditLogUnavailable)?;
        }
        let done = self.gateways.set_beta(share).await;
        if let Some(held) = held.as_mut() {
            let (event, reason) = match &done {
                Ok(before) => {
                    let from = before.first().copied().map(Share::to_runtime);
                    (Event::BetaShareSet { from, to: share.to_runtime() }, reason.to_owned())
                }
                Err(error) => (
                    Event::Rejected { requested: format!("{BETA}{}", share.to_runtime()) },
                    clients::error_chain(error),
                ),
            };
            if let (Err(source), Ok(_)) = (held.append(now_ms, self.actor.clone(), event, reason), &done) {
                let done = format!("the beta cohort's share is {share} on every gateway");
                return Err(OverrideError::NotRecorded { done, source });
            }
        }
        Ok(done?)
    }

    /// Sets the share to 0 on every gateway that can be reached, and latches the guard.
    ///
    /// # Errors
    /// When the audit log cannot be locked or written (the gateways are changed anyway), or a gateway was not
    /// reached; a running guard then keeps trying.
    pub async fn roll_back(&mut self, now_ms: u64, reason: &str) -> Result<(), OverrideError> {
        let mut written = Ok(());
        let mut held = self.lock_audit_log().await.unwrap_or_else(|error| {
            written = Err(error);
            None
        });
        self.check_allowed(now_ms, held.as_mut(), ROLLBACK)?;
        if let Some(held) = &mut held {
            written = written.and(self.write(now_ms, held, Event::Rollback, reason));
        }
        let from = self.gateways.shares().await.into_iter().find_map(Result::ok);
        self.set_and_record(now_ms, from, Share::OFF, reason, held.as_mut()).await?;
        written.map_err(|source| not_recorded(Share::OFF, source))
    }

    /// Records a command, which the guard carries out at its next evaluation.
    ///
    /// # Errors
    /// When the audit log cannot be locked or written.
    pub async fn submit_command(&mut self, now_ms: u64, command: Event, reason: &str) -> Result<(), OverrideError> {
        let mut held = self.lock_audit_log().await?;
        self.check_allowed(now_ms, held.as_mut(), &command.describe())?;
        Ok(held.as_mut().map_or(Ok(()), |held| self.write(now_ms, held, command, reason))?)
    }

    /// Locks the audit log, where there is one.
    async fn lock_audit_log(&self) -> Result<Option<LockedAuditLog>, AuditLogError> {
        match &self.audit_log {
            Some(audit_log) => audit_log.lock().await.map(Some),
            None => Ok(None),
        }
    }

    /// Checks that the audit log has no entry that forbids the change.
    fn check_allowed(
        &mut self,
        now_ms: u64,
        held: Option<&mut LockedAuditLog>,
        requested: &str,
    ) -> Result<(), OverrideError> {
        let Some(held) = held else { return Ok(()) };
        if let Some(entry) = self.key.as_deref().and_then(|key| held.find_by_key(key)) {
            return Err(OverrideError::AlreadyDone(entry.number));
        }
        let superseding = |since| held.entries().iter().rev().find(|entry| puts_users_back(entry, since));
        if let Some(number) = self.since_ms.and_then(superseding).map(|entry| entry.number) {
            let error = OverrideError::Superseded(number);
            self.write(now_ms, held, Event::Rejected { requested: requested.to_owned() }, &error.to_string())?;
            return Err(error);
        }
        Ok(())
    }

    /// Records an event; the first one carries the idempotency key.
    fn write(
        &mut self,
        now_ms: u64,
        held: &mut LockedAuditLog,
        event: Event,
        reason: &str,
    ) -> Result<(), AuditLogError> {
        match self.key.take() {
            Some(key) => held.append_with_key(now_ms, self.actor.clone(), event, reason, &key),
            None => held.append(now_ms, self.actor.clone(), event, reason),
        }
        .map(|_| ())
    }

    async fn set_and_record(
        &mut self,
        now_ms: u64,
        from: Option<Share>,
        to: Share,
        reason: &str,
        held: Option<&mut LockedAuditLog>,
    ) -> Result<(), OverrideError> {
        let done = self.gateways.set(to).await;
        if let Some(held) = held {
            let (event, reason) = match &done {
                Ok(()) => {
                    (Event::ShareSet { from: from.map(Share::to_runtime), to: to.to_runtime() }, reason.to_owned())
                }
                Err(error) => (Event::Rejected { requested: to.to_runtime() }, clients::error_chain(error)),
            };
            if let (Err(source), Ok(())) = (self.write(now_ms, held, event, &reason), &done) {
                return Err(not_recorded(to, source));
            }
        }
        Ok(done?)
    }
}

fn not_recorded(share: Share, source: AuditLogError) -> OverrideError {
    OverrideError::NotRecorded { done: format!("the share is {share} on every gateway"), source }
}

/// Returns `true` if an operator put users on the candidate, or resumed the guard, after `since_ms`.
fn puts_users_back(entry: &Entry, since_ms: u64) -> bool {
    let is_operator = matches!(entry.actor, Actor::Operator(_));
    let on = |share: &str| Share::from_runtime(share).is_some_and(|share| share != Share::OFF);
    let goes_on = match &entry.event {
        Event::ShareSet { to, .. } => is_operator && on(to),
        Event::ExternalChange { to, .. } => on(to),
        Event::Resume => is_operator,
        _ => false,
    };
    goes_on && entry.at_ms > since_ms
}

#[cfg(test)]
mod tests {
    use super::super::testing::FakeGateway;
    use super::*;

    fn share(percent: u32) -> Share {
        Share::percent(percent)
    }

    fn manual_override(folder: &std::path::Path, gateways: &[&FakeGateway]) -> (ManualOverride, AuditLog) {
        let urls: Vec<String> = gateways.iter().map(|gateway| gateway.url.clone()).collect();
        let audit_log = AuditLog::in_folder(folder).unwrap();
        let by = Actor::Operator("ada".into());
        (ManualOverride::new(Gateways::new(&urls, Vec::new()).unwrap(), Some(audit_log.clone()), by), audit_log)
    }

    fn audit_entries(audit_log: &AuditLog) -> Vec<String> {
        let describe = |event: &Event| match event {
            Event::ShareSet { from, to } => format!("{}>{to}", from.as_deref().unwrap_or("?")),
            Event::Rejected { requested } => format!("rejected {requested}"),
            other => format!("{other:?}"),
        };
        audit_log.read().unwrap().iter().map(|entry| format!("{}: {}", describe(&entry.event), entry.reason)).collect()
    }

    #[tokio::test]
    async fn an_override_holds_on_every_gateway_and_is_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (FakeGateway::start("5").await, FakeGateway::start("5").await);
        let (mut manual_override, audit_log) = manual_override(folder.path(), &[&one, &two]);
        assert_eq!(manual_override.set(7, share(10), "the week looked good").await.unwrap(), [share(5), share(5)]);
        assert_eq!((one.share(), two.share()), ("10".into(), "10".into()));
        assert_eq!(audit_entries(&audit_log), ["5>10: the week looked good"]);
    }

    #[tokio::test]
    async fn with_one_gateway_unreachable_no_share_is_raised() {
        let folder = tempfile::tempdir().unwrap();
        let (one, gone) = (FakeGateway::start("5").await, FakeGateway::unreachable());
        let (mut manual_override, audit_log) = manual_override(folder.path(), &[&one, &gone]);
        let error = manual_override.set(7, share(10), "").await.unwrap_err();
        assert!(error.to_string().contains(&gone.url), "{error}");
        assert_eq!(one.share(), "5");
        assert!(audit_entries(&audit_log).is_empty());
    }

    #[tokio::test]
    async fn a_beta_share_that_was_not_set_is_recorded_as_the_beta_cohorts() {
        let folder = tempfile::tempdir().unwrap();
        let (manual_override, audit_log) = manual_override(folder.path(), &[&FakeGateway::unreachable()]);
        manual_override.set_beta(7, share(10), "").await.unwrap_err();
        let [entry] = audit_log.read().unwrap().try_into().unwrap();
        assert!(entry.describe().starts_with("ada could not set the beta cohort's share to 10%: "), "{entry:?}");
    }

    #[tokio::test]
    async fn off_reaches_every_reachable_gateway() {
        let folder = tempfile::tempdir().unwrap();
        let (one, gone) = (FakeGateway::start("50").await, FakeGateway::unreachable());
        let (mut manual_override, _) = manual_override(folder.path(), &[&gone, &one]);
        let error = manual_override.set(7, Share::OFF, "").await.unwrap_err();
        assert!(error.to_string().contains(&gone.url), "{error}");
        assert_eq!(one.share(), "0");
    }

    #[tokio::test]
    async fn a_rollback_reaches_every_reachable_gateway_and_is_a_command_for_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let (one, gone) = (FakeGateway::start("50").await, FakeGateway::unreachable());
        let (mut manual_override, audit_log) = manual_override(folder.path(), &[&gone, &one]);
        let error = manual_override.roll_back(7, "wrong labels").await.unwrap_err();
        assert!(error.to_string().contains(&gone.url), "{error}");
        assert_eq!(one.share(), "0");
        let audit_entries = audit_entries(&audit_log);
        assert_eq!(audit_entries[0], "Rollback: wrong labels");
        assert!(
            audit_entries[1].starts_with("rejected 0") && audit_entries[1].contains(&gone.url),
            "{audit_entries:?}"
        );
    }

    #[tokio::test]
    async fn an_override_with_a_key_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let one = FakeGateway::start("5").await;
        let (manual_override, audit_log) = manual_override(folder.path(), &[&one]);
        manual_override.clone().with_idempotency_key("form 1").set(7, share(10), "").await.unwrap();
        let again = manual_override.clone().with_idempotency_key("form 1").set(8, share(50), "").await;
        assert!(matches!(again, Err(OverrideError::AlreadyDone(1))), "{again:?}");
        let command = manual_override.clone().with_idempotency_key("form 1").submit_command(9, Event::Pause, "").await;
        assert!(matches!(command, Err(OverrideError::AlreadyDone(1))), "{command:?}");
        manual_override.clone().with_idempotency_key("form 2").roll_back(10, "").await.unwrap();
        assert_eq!(audit_entries(&audit_log), ["5>10: ", "Rollback: ", "10>0: "]);
    }

    #[tokio::test]
    async fn an_alert_that_began_before_an_operators_action_is_superseded() {
        let folder = tempfile::tempdir().unwrap();
        let one = FakeGateway::start("0").await;
        let (mut manual_override, audit_log) = manual_override(folder.path(), &[&one]);
        manual_override.set(7, share(10), "").await.unwrap();
        let old = manual_override.clone().with_idempotency_key("alert 1").valid_since(6).roll_back(8, "").await;
        assert!(matches!(old, Err(OverrideError::Superseded(1))), "{old:?}");
        let repeated = manual_override.clone().with_idempotency_key("alert 1").valid_since(6).roll_back(9, "").await;
        assert!(matches!(repeated, Err(OverrideError::AlreadyDone(2))), "{repeated:?}");
        assert_eq!(one.share(), "10");
        manual_override.valid_since(7).roll_back(10, "").await.unwrap();
        assert_eq!(one.share(), "0");
        assert_eq!(
            audit_entries(&audit_log)[1],
            "rejected rollback: superseded by a later operator action (audit log entry 1)"
        );
    }

    #[tokio::test]
    async fn a_rollback_does_not_wait_for_an_audit_log_that_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let one = FakeGateway::start("50").await;
        let (mut manual_override, audit_log) = manual_override(folder.path(), &[&one]);
        std::fs::create_dir(folder.path().join("audit_log.lock")).unwrap();
        let error = manual_override.roll_back(7, "wrong labels").await.unwrap_err();
        assert!(matches!(error, OverrideError::NotRecorded { .. }));
        assert!(error.to_string().starts_with("the share is 0% on every gateway, but"), "case 6c: {error}");
        assert_eq!(one.share(), "0");
        assert!(audit_entries(&audit_log).is_empty());
    }

    #[tokio::test]
    async fn case_6c_without_disk_space_the_share_is_lowered_and_not_raised() {
        let folder = tempfile::tempdir().unwrap();
        let one = FakeGateway::start("10").await;
        let (mut manual_override, audit_log) = manual_override(folder.path(), &[&one]);
        // A file cannot be created where a folder is.
        std::fs::create_dir(folder.path().join("audit_log.probe")).unwrap();
        let error = manual_override.set(7, share(50), "").await.unwrap_err();
        assert!(error.to_string().starts_with("no gateway was changed"), "{error}");
        assert_eq!(one.share(), "10");
        manual_override.set(8, share(5), "less").await.unwrap();
        std::fs::remove_dir(folder.path().join("audit_log.probe")).unwrap();
        manual_override.set(9, share(50), "there is space again").await.unwrap();
        assert_eq!(audit_entries(&audit_log), ["10>5: less", "5>50: there is space again"]);
    }
}
