//! A hand on the share that is not the guard's: an operator's command, the console, an alert.
//!
//! Whoever moves the share holds the ledger meanwhile and says in it what was done, so one audit log tells everything,
//! and the guard knows whom it must not fight. A share that goes up or down is set only when every gateway can be asked
//! first: one that holds on some gateways only splits a user's answers. A rollback goes out to every gateway that can be
//! reached, and is written down before, so that a guard carries on what a broken gateway kept from being done.

use contract::switch::Share;

use super::ledger::{By, Held, Ledger, LedgerError, What};
use super::sink::{Gateways, Sink, SinkError};

/// Something that could not be done by hand.
#[derive(Debug, thiserror::Error)]
pub enum HandError {
    /// The audit log.
    #[error("the audit log")]
    Ledger(#[from] LedgerError),
    /// A gateway cannot be asked, so none was changed.
    #[error("no gateway was changed, since not every one can be asked: {}", .0.join("; "))]
    Unreachable(Vec<String>),
    /// The share does not hold everywhere.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

/// Somebody who moves the share.
#[derive(Debug, Clone)]
pub struct Hand {
    gateways: Gateways,
    ledger: Option<Ledger>,
    by: By,
}

impl Hand {
    /// `by`'s hand on `gateways`. Without a ledger nothing is written down, and a guard finds the change by itself.
    #[must_use]
    pub const fn new(gateways: Gateways, ledger: Option<Ledger>, by: By) -> Self {
        Self { gateways, ledger, by }
    }

    /// Sets the share on every gateway; what each of them held before.
    ///
    /// # Errors
    /// When the ledger cannot be held, a gateway cannot be asked (then none is changed), or the share does not hold
    /// everywhere in the end (which the ledger then says).
    pub async fn set(&mut self, now_ms: u64, share: Share, reason: &str) -> Result<Vec<Share>, HandError> {
        let mut held = self.hold().await?;
        let before = self.gateways.shares().await;
        let faults: Vec<String> = before.iter().filter_map(|share| share.as_ref().err().cloned()).collect();
        if !faults.is_empty() {
            return Err(HandError::Unreachable(faults));
        }
        let before: Vec<Share> = before.into_iter().filter_map(Result::ok).collect();
        self.put(now_ms, before.first().copied(), share, reason, held.as_mut()).await?;
        Ok(before)
    }

    /// To 0 on every gateway that can be reached, latched.
    ///
    /// # Errors
    /// When the ledger cannot be held or written (the gateways are told all the same), or a gateway was not reached; a
    /// running guard then goes on trying.
    pub async fn roll_back(&mut self, now_ms: u64, reason: &str) -> Result<(), HandError> {
        let mut written = Ok(());
        let mut held = self.hold().await.unwrap_or_else(|error| {
            written = Err(error);
            None
        });
        if let Some(held) = &mut held {
            written = written.and(held.append(now_ms, self.by.clone(), What::Rollback, reason).map(|_| ()));
        }
        let from = self.gateways.shares().await.into_iter().find_map(Result::ok);
        self.put(now_ms, from, Share::OFF, reason, held.as_mut()).await?;
        Ok(written?)
    }

    /// Holds the ledger, where there is one.
    async fn hold(&self) -> Result<Option<Held>, LedgerError> {
        match &self.ledger {
            Some(ledger) => ledger.hold().await.map(Some),
            None => Ok(None),
        }
    }

    async fn put(
        &mut self,
        now_ms: u64,
        from: Option<Share>,
        to: Share,
        reason: &str,
        held: Option<&mut Held>,
    ) -> Result<(), HandError> {
        let done = self.gateways.set(to).await;
        if let Some(held) = held {
            let (what, reason) = match &done {
                Ok(()) => (What::Set { from: from.map(Share::to_runtime), to: to.to_runtime() }, reason.to_owned()),
                Err(error) => (What::Refused { wanted: to.to_runtime() }, super::source::in_words(error)),
            };
            held.append(now_ms, self.by.clone(), what, reason)?;
        }
        Ok(done?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Gateway;
    use super::*;

    fn share(percent: u32) -> Share {
        Share::percent(percent)
    }

    fn hand(folder: &std::path::Path, gateways: &[&Gateway]) -> (Hand, Ledger) {
        let urls: Vec<String> = gateways.iter().map(|gateway| gateway.url.clone()).collect();
        let ledger = Ledger::in_folder(folder).unwrap();
        let by = By::Human("ada".into());
        (Hand::new(Gateways::new(&urls, Vec::new()).unwrap(), Some(ledger.clone()), by), ledger)
    }

    fn story(ledger: &Ledger) -> Vec<String> {
        let what = |what: &What| match what {
            What::Set { from, to } => format!("{}>{to}", from.as_deref().unwrap_or("?")),
            What::Refused { wanted } => format!("refused {wanted}"),
            other => format!("{other:?}"),
        };
        ledger.read().unwrap().iter().map(|entry| format!("{}: {}", what(&entry.what), entry.reason)).collect()
    }

    #[tokio::test]
    async fn a_share_set_by_hand_holds_everywhere_and_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (Gateway::start("5").await, Gateway::start("5").await);
        let (mut hand, ledger) = hand(folder.path(), &[&one, &two]);
        assert_eq!(hand.set(7, share(10), "the week looked good").await.unwrap(), [share(5), share(5)]);
        assert_eq!((one.share(), two.share()), ("10".into(), "10".into()));
        assert_eq!(story(&ledger), ["5>10: the week looked good"]);
    }

    #[tokio::test]
    async fn with_one_gateway_out_of_reach_none_is_moved_up() {
        let folder = tempfile::tempdir().unwrap();
        let (one, gone) = (Gateway::start("5").await, Gateway::gone());
        let (mut hand, ledger) = hand(folder.path(), &[&one, &gone]);
        let error = hand.set(7, share(10), "").await.unwrap_err();
        assert!(error.to_string().contains(&gone.url), "{error}");
        assert_eq!(one.share(), "5");
        assert!(story(&ledger).is_empty());
    }

    #[tokio::test]
    async fn a_rollback_reaches_whom_it_can_and_is_an_order_for_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let (one, gone) = (Gateway::start("50").await, Gateway::gone());
        let (mut hand, ledger) = hand(folder.path(), &[&gone, &one]);
        let error = hand.roll_back(7, "wrong labels").await.unwrap_err();
        assert!(error.to_string().contains(&gone.url), "{error}");
        assert_eq!(one.share(), "0");
        let story = story(&ledger);
        assert_eq!(story[0], "Rollback: wrong labels");
        assert!(story[1].starts_with("refused 0") && story[1].contains(&gone.url), "{story:?}");
    }

    #[tokio::test]
    async fn a_rollback_does_not_wait_for_a_ledger_that_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let one = Gateway::start("50").await;
        let (mut hand, ledger) = hand(folder.path(), &[&one]);
        std::fs::create_dir(folder.path().join("ledger.lock")).unwrap();
        assert!(matches!(hand.roll_back(7, "wrong labels").await, Err(HandError::Ledger(_))));
        assert_eq!(one.share(), "0");
        assert!(story(&ledger).is_empty());
    }
}
