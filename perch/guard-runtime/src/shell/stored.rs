//! The guard's state on disk: its evidence, and the counters that the evidence was counted from.

use clients::in_words;
use guard::state::State;
use guard::{Guard, Order};
use serde::{Deserialize, Serialize};

use super::super::file;
use super::super::ledger::Entry;
use super::super::sink::Sink;
use super::super::source::Source;
use super::super::source::totals::Totals;
use super::{Shell, ShellError, recovery};

const STATE_FILE: &str = "state.json";
const ASIDE_FILE: &str = "state.unreadable.json";

#[derive(Serialize)]
struct Writing<'a> {
    guard: &'a State,
    totals: &'a Totals,
}

#[derive(Deserialize)]
struct Reading {
    guard: serde_json::Value,
    totals: Totals,
}

impl<S: Source, K: Sink> Shell<S, K> {
    pub(super) fn store(&self) -> Result<(), ShellError> {
        let text = serde_json::to_string(&Writing { guard: self.guard.state(), totals: &self.totals })?;
        Ok(file::replace(&self.folder.join(STATE_FILE), &text)?)
    }

    /// Reads the state. One that cannot be read is put aside, and the guard begins paused: it cannot know whether it had
    /// rolled back. Without a state, `entries` are history and not to be carried out; what they say of a ramp under way is
    /// taken from them, without its evidence.
    pub(super) fn load(
        &mut self,
        now_ms: u64,
        entries: &[Entry],
        troubles: &mut Vec<String>,
    ) -> Result<(), ShellError> {
        let path = self.folder.join(STATE_FILE);
        let last = entries.last().map_or((0, 0), |entry| (entry.number, entry.at_ms));
        let Some(text) = file::read(&path)? else {
            if let Some(known) = recovery::Known::from_entries(entries) {
                self.guard = known.guard(now_ms, &self.fresh);
                self.totals = Totals::default();
                troubles.push("the stored state is missing: the ramp is taken from the audit log".to_owned());
            }
            self.guard.orders_done(last.0, last.1);
            return Ok(());
        };
        let read = serde_json::from_str::<Reading>(&text)
            .map_err(|error| error.to_string())
            .and_then(|stored| Ok((of_value(&stored.guard)?, stored.totals)));
        match read {
            Ok((guard, totals)) => {
                (self.guard, self.totals) = (guard, totals);
                self.guard.watch_by(&self.fresh);
            }
            Err(why) => {
                let reason = format!("the stored state could not be read ({why}); it was put aside as {ASIDE_FILE}");
                if let Err(error) = file::replace(&self.folder.join(ASIDE_FILE), &text) {
                    troubles.push(in_words(&error));
                }
                let known = recovery::Known::from_entries(entries);
                self.guard =
                    known.map_or_else(|| Guard::new(self.fresh.clone()), |known| known.guard(now_ms, &self.fresh));
                self.guard.orders_done(last.0, last.1);
                self.totals = Totals::default();
                // Pausing is possible in every state.
                let _ = self.guard.order(now_ms, Order::Pause(reason.clone()));
                troubles.push(reason);
            }
        }
        Ok(())
    }
}

fn of_value(value: &serde_json::Value) -> Result<Guard, String> {
    Guard::from_json(&value.to_string()).map_err(|error| in_words(&error))
}
