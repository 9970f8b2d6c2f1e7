//! Commands of operators and alerts since the last evaluation.

use clients::error_chain;
use contract::share::Share;
use guard::OperatorCommand;
use guard::plan::Plan;

use super::super::audit_log::{Actor, AuditLogContents, Entry, Event};
use super::super::sink::Sink;
use super::super::source::Source;
use super::ControlLoop;

impl<S: Source, K: Sink> ControlLoop<S, K> {
    /// Applies the new entries to the core. Returns the events to be recorded: rejected commands and lost entries.
    pub(super) fn apply_commands(&mut self, now_ms: u64, log: &AuditLogContents) -> Vec<(Event, String)> {
        let mut events = Vec::new();
        let (done, done_ms) = (self.guard.state().last_command, self.guard.state().last_command_ms);
        let lost = is_lost(log, done, done_ms);
        if lost {
            let reason = format!(
                "the audit log lacks entries up to {done} that were carried out: it was lost, perhaps with commands of \
                 operators; run `perch ramp resume` if there were none"
            );
            self.guard.freeze(now_ms, reason.clone());
            events.push((Event::EntriesLost { last: done }, reason));
        } else if let Some(damage) = log.damaged.iter().find(|damage| damage.after >= done) {
            self.guard.freeze(
                now_ms,
                format!(
                    "line {} of the audit log cannot be read and may be an operator's command; run `perch ramp resume` if \
                     it is not",
                    damage.line
                ),
            );
        }
        // In an audit log that was lost and begun again, numbers restart, so entries after the last command's time are
        // new.
        let new = |entry: &Entry| if lost { entry.at_ms > done_ms } else { entry.number > done };
        for (index, entry) in log.entries.iter().enumerate().filter(|(_, entry)| new(entry)) {
            let later = log.entries.get(index + 1..).unwrap_or_default();
            if let Err(reason) = self.apply_entry(now_ms, entry, later) {
                events.push((Event::Rejected { requested: format!("entry {}", entry.number) }, reason));
            }
            self.guard.record_command(entry.number.max(done), entry.at_ms);
        }
        events
    }

    fn apply_entry(&mut self, now_ms: u64, entry: &Entry, later: &[Entry]) -> Result<(), String> {
        let who = match &entry.actor {
            Actor::Operator(name) => name.clone(),
            Actor::Alert(name) => format!("alert {name}"),
            Actor::Guard(_) => return Ok(()),
        };
        let reason = if entry.reason.is_empty() { who.clone() } else { format!("{who}: {}", entry.reason) };
        let command = match &entry.event {
            Event::ShareSet { to, .. } => {
                if let (Actor::Operator(_), Some(share)) = (&entry.actor, Share::from_runtime(to)) {
                    let reason = format!("{who} set the share to {share}: {}", entry.reason);
                    self.guard.override_share(now_ms, share, reason);
                }
                return Ok(());
            }
            Event::Start { plan } => {
                let plan = Plan::check(plan.as_ref().clone()).map_err(|error| error_chain(&error))?;
                OperatorCommand::Start(Box::new(plan))
            }
            Event::Pause => OperatorCommand::Pause(reason),
            Event::Resume => OperatorCommand::Resume,
            Event::Approve => OperatorCommand::Approve,
            Event::Abort => OperatorCommand::Abort(reason),
            Event::Rollback => {
                if let Some(entry) = later.iter().find(|entry| puts_users_on_candidate(entry)) {
                    return Err(format!("an operator has set a share since (audit log entry {})", entry.number));
                }
                OperatorCommand::Rollback(reason)
            }
            Event::BetaShareSet { .. }
            | Event::ExternalChange { .. }
            | Event::Frozen
            | Event::EntriesLost { .. }
            | Event::AlertResolved
            | Event::Rejected { .. } => return Ok(()),
        };
        self.guard.apply_command(now_ms, command).map_err(|error| error_chain(&error))
    }
}

/// Returns `true` if the log is not the one with entry `done`, given at `done_ms`, which was carried out last.
fn is_lost(log: &AuditLogContents, done: u64, done_ms: u64) -> bool {
    let ends_before = log.last() < done && log.damaged.iter().all(|damage| damage.after != log.last());
    // 0 means that the time of the entry is not known.
    let is_other = |entry: &Entry| done_ms != 0 && entry.at_ms != done_ms;
    ends_before || log.entries.iter().rev().find(|entry| entry.number == done).is_some_and(is_other)
}

/// Returns `true` if an operator put users on the candidate.
fn puts_users_on_candidate(entry: &Entry) -> bool {
    let is_operator = matches!(entry.actor, Actor::Operator(_));
    let to = match &entry.event {
        Event::ShareSet { to, .. } => Share::from_runtime(to),
        _ => None,
    };
    is_operator && to.is_some_and(|share| share != Share::OFF)
}
