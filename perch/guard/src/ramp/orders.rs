//! An operator's word to the guard.

use contract::share::Share;

use super::super::observation::Observation;
use super::super::plan::Plan;
use super::super::state::{Phase, State, Stop};
use super::Guard;

/// An operator's word.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// Start a ramp with this plan, from 0%.
    Start(Box<Plan>),
    /// Do not act until resumed.
    Pause(String),
    /// Go on: after a pause with the share that is there, after a freeze with a fresh step, after a rollback from 0%.
    Resume,
    /// Let the ramp leave a step that waits for a human.
    Approve,
    /// No more ramp: watch only. The share stays.
    Abort(String),
    /// Back to 0%, latched.
    Rollback(String),
}

/// An order that cannot be carried out now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// A ramp starts from 0%.
    #[error("a ramp starts from 0%, but the share is {0}: set it to 0 first")]
    NotAtZero(Share),
    /// Nothing is known of the gateways yet.
    #[error("the gateways' share is not known yet: try again when they can be reached")]
    ShareUnknown,
    /// There is nothing to resume.
    #[error("nothing is paused, frozen or rolled back")]
    NothingToResume,
    /// There is no ramp.
    #[error("no ramp is under way: start one")]
    NoRamp,
}

impl Guard {
    /// Carries out an operator's order.
    ///
    /// # Errors
    /// When it makes no sense now; nothing has changed then.
    pub fn order(&mut self, now_ms: u64, order: Order) -> Result<(), OrderError> {
        match order {
            Order::Start(plan) => {
                let share = self.seen.ok_or(OrderError::ShareUnknown)?;
                if share != Share::OFF {
                    return Err(OrderError::NotAtZero(share));
                }
                let mut state = State::new(plan.raw().clone(), plan.steps.len());
                state.phase = Phase::Baseline;
                state.since_ms = now_ms;
                state.expected = Some(share);
                (state.last_order, state.last_order_ms) = (self.state.last_order, self.state.last_order_ms);
                *self = Self { plan: *plan, state, seen: self.seen };
            }
            Order::Pause(reason) => self.pause(now_ms, reason),
            Order::Resume => self.resume(now_ms)?,
            Order::Approve => {
                if self.state.phase == Phase::Watching {
                    return Err(OrderError::NoRamp);
                }
                self.state.approved = true;
            }
            Order::Abort(_) => {
                if self.state.phase == Phase::Watching {
                    return Err(OrderError::NoRamp);
                }
                self.state.phase = Phase::Watching;
                self.state.since_ms = now_ms;
                (self.state.paused, self.state.latched, self.state.frozen) = (None, None, None);
            }
            Order::Rollback(reason) => {
                self.state.paused = None;
                self.state.latched = Some(Stop { at_ms: now_ms, reason });
            }
        }
        Ok(())
    }

    pub(super) fn pause(&mut self, now_ms: u64, reason: String) {
        self.state.paused = Some(Stop { at_ms: now_ms, reason });
    }

    fn resume(&mut self, now_ms: u64) -> Result<(), OrderError> {
        let stopped = [&self.state.paused, &self.state.latched, &self.state.frozen];
        if stopped.iter().all(|stop| stop.is_none()) {
            return Err(OrderError::NothingToResume);
        }
        let share = self.seen.ok_or(OrderError::ShareUnknown)?;
        if self.state.latched.is_some() {
            if share != Share::OFF && self.state.paused.is_none() {
                return Err(OrderError::NotAtZero(share));
            }
            // What rolled back is settled: the evidence starts anew, and with it the chance of a false alarm.
            let mut fresh = State::new(self.plan.raw().clone(), self.plan.steps.len());
            if share != Share::OFF {
                fresh.agreement = self.state.agreement.renewed();
            }
            let State { phase, last_order, last_order_ms, .. } = self.state;
            self.state = State { phase, last_order, last_order_ms, ..fresh };
        }
        (self.state.paused, self.state.latched, self.state.frozen) = (None, None, None);
        self.state.model = None;
        self.state.expected = Some(share);
        self.state.pending = None;
        if self.state.phase != Phase::Watching {
            self.state.phase = if share == Share::OFF { Phase::Baseline } else { Phase::Step };
        }
        self.begin(now_ms, &Observation::default());
        Ok(())
    }
}
