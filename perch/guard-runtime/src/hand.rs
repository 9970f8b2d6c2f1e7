//! A hand on the share that is not the guard's: an operator's command, the console, an alert.
//!
//! Whoever moves the share holds the ledger meanwhile and says in it what was done, so one audit log tells everything,
//! and the guard knows whom it must not fight. A share that goes up or down is set only when every gateway can be asked
//! first: one that holds on some gateways only splits a user's answers. A rollback goes out to every gateway that can be
//! reached, and is written down before, so that a guard carries on what a broken gateway kept from being done.
//!
//! The share goes up only when there is room to write that down. Down, and off, needs no disk. What could not be written
//! all the same is an error that says what was done.

use contract::share::Share;

use super::ledger::{By, Entry, Held, Ledger, LedgerError, What};
use super::sink::{Gateways, Sink, SinkError};

/// Something that could not be done by hand.
#[derive(Debug, thiserror::Error)]
pub enum HandError {
    /// The audit log.
    #[error("the audit log")]
    Ledger(#[from] LedgerError),
    /// The audit log cannot be used, so no gateway was changed.
    #[error("no gateway was changed, since the audit log cannot be written")]
    NoLog(#[source] LedgerError),
    /// It was done, but could not be written down.
    #[error("{done}, but that is not in the audit log, so a guard takes it for a change by hand")]
    Unwritten {
        /// What was done.
        done: String,
        /// Why it was not written.
        source: LedgerError,
    },
    /// A gateway cannot be asked, so none was changed.
    #[error("no gateway was changed, since not every one can be asked: {}", .0.join("; "))]
    Unreachable(Vec<String>),
    /// The share does not hold everywhere.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// It was asked for before, with the same key.
    #[error("this has been done already (entry {0})")]
    Done(u64),
    /// An operator has spoken since the thing began that this is about.
    #[error("an operator has spoken since it began (entry {0})")]
    Overruled(u64),
}

/// Somebody who moves the share.
#[derive(Debug, Clone)]
pub struct Hand {
    gateways: Gateways,
    ledger: Option<Ledger>,
    by: By,
    key: Option<String>,
    since_ms: Option<u64>,
}

impl Hand {
    /// `by`'s hand on `gateways`. Without a ledger nothing is written down, and a guard finds the change by itself.
    #[must_use]
    pub const fn new(gateways: Gateways, ledger: Option<Ledger>, by: By) -> Self {
        Self { gateways, ledger, by, key: None, since_ms: None }
    }

    /// What it does next is done once, however often it is asked for with this key.
    #[must_use]
    pub fn once(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// What it does next is about something that began then, in milliseconds since 1970: an operator who has put users on
    /// the model since, or let the guard go on, knew better, and nothing is done.
    #[must_use]
    pub const fn about(mut self, since_ms: u64) -> Self {
        self.since_ms = Some(since_ms);
        self
    }

    /// Sets the share on every gateway; what each of them held before.
    ///
    /// # Errors
    /// When the ledger cannot be held, a gateway cannot be asked (then none is changed, but for a share of 0), or the share
    /// does not hold everywhere in the end (which the ledger then says).
    pub async fn set(&mut self, now_ms: u64, share: Share, reason: &str) -> Result<Vec<Share>, HandError> {
        let (mut held, unusable) = match self.hold().await {
            Ok(held) => (held, None),
            Err(error) if share == Share::OFF => (None, Some(error)),
            Err(error) => return Err(HandError::NoLog(error)),
        };
        self.may(now_ms, held.as_mut(), &share.to_runtime())?;
        let before = self.gateways.shares().await;
        let faults: Vec<String> = before.iter().filter_map(|share| share.as_ref().err().cloned()).collect();
        // Off goes to every gateway that can be reached, as a rollback does.
        if !faults.is_empty() && share != Share::OFF {
            return Err(HandError::Unreachable(faults));
        }
        let before: Vec<Share> = before.into_iter().filter_map(Result::ok).collect();
        if before.iter().any(|before| before.fraction() < share.fraction())
            && let Some(held) = &held
        {
            held.check_room().map_err(HandError::NoLog)?;
        }
        self.put(now_ms, before.first().copied(), share, reason, held.as_mut()).await?;
        unusable.map_or(Ok(before), |source| Err(unwritten(share, source)))
    }

    /// Sets the beta cohort's own share on every gateway; what each of them held before.
    ///
    /// # Errors
    /// When the ledger cannot be held or written, a gateway cannot be asked, or the share does not hold everywhere.
    pub async fn set_beta(&self, now_ms: u64, share: Share, reason: &str) -> Result<Vec<Share>, HandError> {
        let mut held = self.hold().await.map_err(HandError::NoLog)?;
        if let Some(held) = &held {
            held.check_room().map_err(HandError::NoLog)?;
        }
        let done = self.gateways.set_beta(share).await;
        if let Some(held) = held.as_mut() {
            let (what, reason) = match &done {
                Ok(before) => {
                    let from = before.first().copied().map(Share::to_runtime);
                    (What::Beta { from, to: share.to_runtime() }, reason.to_owned())
                }
                Err(error) => (What::Refused { wanted: share.to_runtime() }, clients::in_words(error)),
            };
            if let (Err(source), Ok(_)) = (held.append(now_ms, self.by.clone(), what, reason), &done) {
                let done = format!("the beta cohort's share is {share} on every gateway");
                return Err(HandError::Unwritten { done, source });
            }
        }
        Ok(done?)
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
        self.may(now_ms, held.as_mut(), "rollback")?;
        if let Some(held) = &mut held {
            written = written.and(self.write(now_ms, held, What::Rollback, reason));
        }
        let from = self.gateways.shares().await.into_iter().find_map(Result::ok);
        self.put(now_ms, from, Share::OFF, reason, held.as_mut()).await?;
        written.map_err(|source| unwritten(Share::OFF, source))
    }

    /// Writes an order to the guard down, which carries it out at its next look.
    ///
    /// # Errors
    /// When the ledger cannot be held or written.
    pub async fn order(&mut self, now_ms: u64, order: What, reason: &str) -> Result<(), HandError> {
        let mut held = self.hold().await?;
        self.may(now_ms, held.as_mut(), &order.words())?;
        Ok(held.as_mut().map_or(Ok(()), |held| self.write(now_ms, held, order, reason))?)
    }

    /// Holds the ledger, where there is one.
    async fn hold(&self) -> Result<Option<Held>, LedgerError> {
        match &self.ledger {
            Some(ledger) => ledger.hold().await.map(Some),
            None => Ok(None),
        }
    }

    /// Is there nothing in the ledger that keeps it from being done?
    fn may(&mut self, now_ms: u64, held: Option<&mut Held>, wanted: &str) -> Result<(), HandError> {
        let Some(held) = held else { return Ok(()) };
        if let Some(entry) = self.key.as_deref().and_then(|key| held.keyed(key)) {
            return Err(HandError::Done(entry.number));
        }
        let overruled = |since| held.entries().iter().rev().find(|entry| overrules(entry, since));
        if let Some(number) = self.since_ms.and_then(overruled).map(|entry| entry.number) {
            let error = HandError::Overruled(number);
            self.write(now_ms, held, What::Refused { wanted: wanted.to_owned() }, &error.to_string())?;
            return Err(error);
        }
        Ok(())
    }

    /// Writes down what is done, the first time with the key.
    fn write(&mut self, now_ms: u64, held: &mut Held, what: What, reason: &str) -> Result<(), LedgerError> {
        match self.key.take() {
            Some(key) => held.append_keyed(now_ms, self.by.clone(), what, reason, &key),
            None => held.append(now_ms, self.by.clone(), what, reason),
        }
        .map(|_| ())
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
                Err(error) => (What::Refused { wanted: to.to_runtime() }, clients::in_words(error)),
            };
            if let (Err(source), Ok(())) = (self.write(now_ms, held, what, &reason), &done) {
                return Err(unwritten(to, source));
            }
        }
        Ok(done?)
    }
}

fn unwritten(share: Share, source: LedgerError) -> HandError {
    HandError::Unwritten { done: format!("the share is {share} on every gateway"), source }
}

/// Did an operator put users on the model, or let the guard go on, after that moment?
fn overrules(entry: &Entry, since_ms: u64) -> bool {
    let human = matches!(entry.by, By::Human(_));
    let on = |share: &str| Share::from_runtime(share).is_some_and(|share| share != Share::OFF);
    let goes_on = match &entry.what {
        What::Set { to, .. } => human && on(to),
        What::Found { to, .. } => on(to),
        What::Resume => human,
        _ => false,
    };
    goes_on && entry.at_ms > since_ms
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
    async fn off_reaches_every_gateway_that_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let (one, gone) = (Gateway::start("50").await, Gateway::gone());
        let (mut hand, _) = hand(folder.path(), &[&gone, &one]);
        let error = hand.set(7, Share::OFF, "").await.unwrap_err();
        assert!(error.to_string().contains(&gone.url), "{error}");
        assert_eq!(one.share(), "0");
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
    async fn what_has_a_key_is_done_once() {
        let folder = tempfile::tempdir().unwrap();
        let one = Gateway::start("5").await;
        let (hand, ledger) = hand(folder.path(), &[&one]);
        hand.clone().once("form 1").set(7, share(10), "").await.unwrap();
        let again = hand.clone().once("form 1").set(8, share(50), "").await;
        assert!(matches!(again, Err(HandError::Done(1))), "{again:?}");
        let order = hand.clone().once("form 1").order(9, What::Pause, "").await;
        assert!(matches!(order, Err(HandError::Done(1))), "{order:?}");
        hand.clone().once("form 2").roll_back(10, "").await.unwrap();
        assert_eq!(story(&ledger), ["5>10: ", "Rollback: ", "10>0: "]);
    }

    #[tokio::test]
    async fn what_began_before_an_operators_word_is_overruled_by_it() {
        let folder = tempfile::tempdir().unwrap();
        let one = Gateway::start("0").await;
        let (mut hand, ledger) = hand(folder.path(), &[&one]);
        hand.set(7, share(10), "").await.unwrap();
        let old = hand.clone().once("alert 1").about(6).roll_back(8, "").await;
        assert!(matches!(old, Err(HandError::Overruled(1))), "{old:?}");
        let repeated = hand.clone().once("alert 1").about(6).roll_back(9, "").await;
        assert!(matches!(repeated, Err(HandError::Done(2))), "{repeated:?}");
        assert_eq!(one.share(), "10");
        hand.about(7).roll_back(10, "").await.unwrap();
        assert_eq!(one.share(), "0");
        assert_eq!(story(&ledger)[1], "refused rollback: an operator has spoken since it began (entry 1)");
    }

    #[tokio::test]
    async fn a_rollback_does_not_wait_for_a_ledger_that_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let one = Gateway::start("50").await;
        let (mut hand, ledger) = hand(folder.path(), &[&one]);
        std::fs::create_dir(folder.path().join("ledger.lock")).unwrap();
        let error = hand.roll_back(7, "wrong labels").await.unwrap_err();
        assert!(matches!(error, HandError::Unwritten { .. }));
        assert!(error.to_string().starts_with("the share is 0% on every gateway, but"), "case 6c: {error}");
        assert_eq!(one.share(), "0");
        assert!(story(&ledger).is_empty());
    }

    #[tokio::test]
    async fn case_6c_without_room_in_the_log_the_share_goes_down_and_not_up() {
        let folder = tempfile::tempdir().unwrap();
        let one = Gateway::start("10").await;
        let (mut hand, ledger) = hand(folder.path(), &[&one]);
        // A file cannot be made where a folder is.
        std::fs::create_dir(folder.path().join("ledger.room")).unwrap();
        let error = hand.set(7, share(50), "").await.unwrap_err();
        assert!(error.to_string().starts_with("no gateway was changed"), "{error}");
        assert_eq!(one.share(), "10");
        hand.set(8, share(5), "less").await.unwrap();
        std::fs::remove_dir(folder.path().join("ledger.room")).unwrap();
        hand.set(9, share(50), "there is room again").await.unwrap();
        assert_eq!(story(&ledger), ["10>5: less", "5>50: there is room again"]);
    }
}
