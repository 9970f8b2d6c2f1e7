//! Commands that an operator gives to the guard.

use contract::share::Share;

use super::super::plan::Plan;
use super::super::snapshot::SystemSnapshot;
use super::super::state::{GuardState, Phase, Stop};
use super::Guard;

/// A command that an operator gives to the guard.
#[derive(Debug, Clone, PartialEq)]
pub enum OperatorCommand {
    /// Start a rollout with this plan, from 0%.
    Start(Box<Plan>),
    /// Stop acting until an operator resumes; evaluation continues.
    Pause(String),
    /// Continue: after a pause with the share as it is, after a freeze with a new step, after a rollback from 0%.
    Resume,
    /// Let the rollout leave a step that requires approval.
    Approve,
    /// End the rollout and only watch. The share stays.
    Abort(String),
    /// Set the share to 0% and keep it there until an operator resumes.
    Rollback(String),
}

/// A command that the guard cannot carry out in its present state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// A rollout starts from 0%.
    #[error("a rollout starts from 0%, but the share is {0}: run `perch canary set off` first")]
    NotAtZero(Share),
    /// No gateway has been read yet.
    #[error("the share that the gateways hold is not known: try again when every gateway can be reached")]
    ShareUnknown,
    /// There is nothing to resume.
    #[error("there is nothing to resume: the guard is not paused, frozen or rolled back")]
    NothingToResume,
    /// No rollout is in progress.
    #[error("no rollout is in progress: start one with `perch ramp start`")]
    NoRollout,
}

impl Guard {
    /// Carries out an operator's command.
    ///
    /// # Errors
    /// When the command does not apply in the present state; nothing has changed then.
    pub fn apply_command(&mut self, now_ms: u64, command: OperatorCommand) -> Result<(), CommandError> {
        match command {
            OperatorCommand::Start(plan) => {
                let share = self.share.ok_or(CommandError::ShareUnknown)?;
                if share != Share::OFF {
                    return Err(CommandError::NotAtZero(share));
                }
                let mut state = GuardState::new(plan.raw().clone(), plan.steps.len());
                state.phase = Phase::Baseline;
                state.since_ms = now_ms;
                state.expected = Some(share);
                (state.last_command, state.last_command_ms) = (self.state.last_command, self.state.last_command_ms);
                *self = Self { plan: *plan, state, share: self.share };
            }
            OperatorCommand::Pause(reason) => self.pause(now_ms, reason),
            OperatorCommand::Resume => self.resume(now_ms)?,
            OperatorCommand::Approve => {
                if self.state.phase == Phase::Watching {
                    return Err(CommandError::NoRollout);
                }
                self.state.approved = true;
            }
            OperatorCommand::Abort(_) => {
                if self.state.phase == Phase::Watching {
                    return Err(CommandError::NoRollout);
                }
                self.state.phase = Phase::Watching;
                self.state.since_ms = now_ms;
                (self.state.paused, self.state.latched, self.state.frozen) = (None, None, None);
            }
            OperatorCommand::Rollback(reason) => {
                self.state.paused = None;
                self.state.latched = Some(Stop { at_ms: now_ms, reason });
            }
        }
        Ok(())
    }

    pub(super) fn pause(&mut self, now_ms: u64, reason: String) {
        self.state.paused = Some(Stop { at_ms: now_ms, reason });
    }

    fn resume(&mut self, now_ms: u64) -> Result<(), CommandError> {
        let stopped = [&self.state.paused, &self.state.latched, &self.state.frozen];
        if stopped.iter().all(|stop| stop.is_none()) {
            return Err(CommandError::NothingToResume);
        }
        let share = self.share.ok_or(CommandError::ShareUnknown)?;
        if self.state.latched.is_some() {
            if share != Share::OFF && self.state.paused.is_none() {
                return Err(CommandError::NotAtZero(share));
            }
            // The evidence that caused the rollback has been acted on: evidence and error rate start again.
            let mut fresh = GuardState::new(self.plan.raw().clone(), self.plan.steps.len());
            if share != Share::OFF {
                fresh.agreement = self.state.agreement.renewed();
            }
            let GuardState { phase, last_command, last_command_ms, .. } = self.state;
            self.state = GuardState { phase, last_command, last_command_ms, ..fresh };
        }
        (self.state.paused, self.state.latched, self.state.frozen) = (None, None, None);
        self.state.model = None;
        self.state.expected = Some(share);
        self.state.pending = None;
        if self.state.phase != Phase::Watching {
            self.state.phase = if share == Share::OFF { Phase::Baseline } else { Phase::Step };
        }
        self.begin(now_ms, &SystemSnapshot::default());
        Ok(())
    }
}
