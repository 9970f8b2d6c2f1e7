//! What operators and alerts have said since the last look.

use clients::in_words;
use contract::share::Share;
use guard::Order;
use guard::plan::Plan;

use super::super::ledger::{By, Entry, Log, What};
use super::super::sink::Sink;
use super::super::source::Source;
use super::Shell;

impl<S: Source, K: Sink> Shell<S, K> {
    /// Tells the core; what made no sense, and what is wrong with the log, comes back to be written down.
    pub(super) fn carry_out(&mut self, now_ms: u64, log: &Log) -> Vec<(What, String)> {
        let mut notes = Vec::new();
        let (done, done_ms) = (self.guard.state().last_order, self.guard.state().last_order_ms);
        let lost = is_lost(log, done, done_ms);
        if lost {
            let reason = format!(
                "the audit log does not have the entries up to {done} that were carried out: it was lost, and with it what \
                 operators may have said: `perch ramp resume` if nothing was"
            );
            self.guard.freeze(now_ms, reason.clone());
            notes.push((What::Lost { last: done }, reason));
        } else if let Some(damage) = log.damaged.iter().find(|damage| damage.after >= done) {
            self.guard.freeze(
                now_ms,
                format!(
                    "line {} of the audit log cannot be read and may be an operator's word: `perch ramp resume` if \
                     it is not",
                    damage.line
                ),
            );
        }
        // In a log that was begun again numbers say nothing, so what is later than the last order is new.
        let new = |entry: &Entry| if lost { entry.at_ms > done_ms } else { entry.number > done };
        for (index, entry) in log.entries.iter().enumerate().filter(|(_, entry)| new(entry)) {
            let later = log.entries.get(index + 1..).unwrap_or_default();
            if let Err(reason) = self.say(now_ms, entry, later) {
                notes.push((What::Refused { wanted: format!("entry {}", entry.number) }, reason));
            }
            self.guard.orders_done(entry.number.max(done), entry.at_ms);
        }
        notes
    }

    fn say(&mut self, now_ms: u64, entry: &Entry, later: &[Entry]) -> Result<(), String> {
        let who = match &entry.by {
            By::Human(name) => name.clone(),
            By::Alert(name) => format!("alert {name}"),
            By::Guard(_) => return Ok(()),
        };
        let reason = if entry.reason.is_empty() { who.clone() } else { format!("{who}: {}", entry.reason) };
        let order = match &entry.what {
            What::Set { to, .. } => {
                if let (By::Human(_), Some(share)) = (&entry.by, Share::from_runtime(to)) {
                    let words = format!("{who} set the share to {share}: {}", entry.reason);
                    self.guard.set_by_hand(now_ms, share, words);
                }
                return Ok(());
            }
            What::Start { plan } => {
                let plan = Plan::check(plan.as_ref().clone()).map_err(|error| in_words(&error))?;
                Order::Start(Box::new(plan))
            }
            What::Pause => Order::Pause(reason),
            What::Resume => Order::Resume,
            What::Approve => Order::Approve,
            What::Abort => Order::Abort(reason),
            What::Rollback => {
                if let Some(word) = later.iter().find(|entry| sets_a_share(entry)) {
                    return Err(format!("an operator has set a share since (entry {})", word.number));
                }
                Order::Rollback(reason)
            }
            What::Beta { .. }
            | What::Found { .. }
            | What::Froze
            | What::Lost { .. }
            | What::Ended
            | What::Refused { .. } => return Ok(()),
        };
        self.guard.order(now_ms, order).map_err(|error| in_words(&error))
    }
}

/// Returns `true` if the log is not the one whose entry `done`, given at `done_ms`, was carried out last.
fn is_lost(log: &Log, done: u64, done_ms: u64) -> bool {
    let ends_before = log.last() < done && log.damaged.iter().all(|damage| damage.after != log.last());
    // A state of an earlier version does not say when the entry was given.
    let is_other = |entry: &Entry| done_ms != 0 && entry.at_ms != done_ms;
    ends_before || log.entries.iter().rev().find(|entry| entry.number == done).is_some_and(is_other)
}

/// Did an operator put users on the model again?
fn sets_a_share(entry: &Entry) -> bool {
    let human = matches!(entry.by, By::Human(_));
    let to = match &entry.what {
        What::Set { to, .. } => Share::from_runtime(to),
        _ => None,
    };
    human && to.is_some_and(|share| share != Share::OFF)
}
