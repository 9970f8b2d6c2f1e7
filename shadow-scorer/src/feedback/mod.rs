//! The loop back: what was suggested, what users said to it, the labels that follow, and the training on them.
//!
//! [`EventLog`] stores what was suggested without holding up an answer; [`record`] takes a user's answer, joins it to
//! the stored event, so that arm and version come from what was served and not from what the client says, and turns it
//! into a label where it says what the transaction is. [`Trainer`] trains anew as a bounded child process, and [`F1`]
//! judges models on what users said.

mod event_log;
mod f1;
mod joining;
mod record;
mod request;
pub mod training;

pub use event_log::{EventLog, Writing, forget_old};
pub use f1::F1;
pub use joining::{Ended, join_waiting, keep_joining};
pub use record::{FeedbackError, MOST_A_DAY, MOST_CHANGES, MOST_WAITING, Outcome, record};
pub use request::{Action, BadFeedback, FeedbackRequest};
pub use training::{TrainError, Trained, Trainer};
