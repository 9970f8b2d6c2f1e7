//! The guard's state on disk: its evidence, and the counters from which the evidence was computed.

use clients::error_chain;
use guard::state::GuardState;
use guard::{Guard, OperatorCommand};
use serde::{Deserialize, Serialize};

use super::super::audit_log::Entry;
use super::super::file;
use super::super::sink::Sink;
use super::super::source::Source;
use super::super::source::totals::CounterTotals;
use super::{ControlLoop, ControlLoopError, recovery};

const STATE_FILE: &str = "state.json";
const ASIDE_FILE: &str = "state.unreadable.json";

#[derive(Serialize)]
struct StoredStateRef<'a> {
    guard: &'a GuardState,
    totals: &'a CounterTotals,
}

#[derive(Deserialize)]
struct StoredState {
    guard: serde_json::Value,
    totals: CounterTotals,
}

impl<S: Source, K: Sink> ControlLoop<S, K> {
    pub(super) fn store(&self) -> Result<(), ControlLoopError> {
        let text = serde_json::to_string(&StoredStateRef { guard: self.guard.state(), totals: &self.totals })?;
        Ok(file::replace(&self.folder.join(STATE_FILE), &text)?)
    }

    /// Reads the state. A state that cannot be read is moved aside, and the guard starts paused, since it cannot know
    /// whether it had rolled back. Without a state, the commands in `entries` are not carried out again; a rollout in
    /// progress is recovered from them, without its evidence.
    pub(super) fn load(
        &mut self,
        now_ms: u64,
        entries: &[Entry],
        problems: &mut Vec<String>,
    ) -> Result<(), ControlLoopError> {
        let path = self.folder.join(STATE_FILE);
        let last = entries.last().map_or((0, 0), |entry| (entry.number, entry.at_ms));
        let Some(text) = file::read(&path)? else {
            if let Some(known) = recovery::RecoveredRollout::from_entries(entries) {
                self.guard = known.guard(now_ms, &self.default_plan);
                self.totals = CounterTotals::default();
                problems.push("the stored state is missing: the rollout was recovered from the audit log".to_owned());
            }
            self.guard.record_command(last.0, last.1);
            return Ok(());
        };
        let read = serde_json::from_str::<StoredState>(&text)
            .map_err(|error| error.to_string())
            .and_then(|stored| Ok((of_value(&stored.guard)?, stored.totals)));
        match read {
            Ok((guard, totals)) => {
                (self.guard, self.totals) = (guard, totals);
                self.guard.watch_by(&self.default_plan);
            }
            Err(why) => {
                let reason = format!("the stored state could not be read ({why}); it was moved to {ASIDE_FILE}");
                if let Err(error) = file::replace(&self.folder.join(ASIDE_FILE), &text) {
                    problems.push(error_chain(&error));
                }
                let known = recovery::RecoveredRollout::from_entries(entries);
                self.guard = known.map_or_else(
                    || Guard::new(self.default_plan.clone()),
                    |known| known.guard(now_ms, &self.default_plan),
                );
                self.guard.record_command(last.0, last.1);
                self.totals = CounterTotals::default();
                // Pausing is possible in every state.
                let _ = self.guard.apply_command(now_ms, OperatorCommand::Pause(reason.clone()));
                problems.push(reason);
            }
        }
        Ok(())
    }
}

fn of_value(value: &serde_json::Value) -> Result<Guard, String> {
    Guard::from_json(&value.to_string()).map_err(|error| error_chain(&error))
}
