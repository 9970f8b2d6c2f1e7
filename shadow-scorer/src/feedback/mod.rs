//! Feedback: stored suggestions, users' feedback on them, the labels derived from it, and training on those.
//!
//! [`EventLog`] stores suggestions without delaying responses; [`record`] joins feedback to the stored event, so that
//! arm and version come from the suggestion that was served and not from the client, and derives a label if the
//! feedback tells what the transaction is. [`Trainer`] retrains in a bounded child process, and [`F1`] evaluates models
//! on feedback.

mod event_log;
mod f1;
mod joining;
mod record;
mod request;
pub mod training;

pub use event_log::{EventLog, EventWriter, forget_old};
pub use f1::F1;
pub use joining::{Ended, join_waiting, keep_joining};
pub use record::{FeedbackError, MOST_A_DAY, MOST_CHANGES, MOST_WAITING, Outcome, record};
pub use request::{Action, BadFeedback, FeedbackRequest};
pub use training::{TrainError, Trainer, TrainingOutcome};
