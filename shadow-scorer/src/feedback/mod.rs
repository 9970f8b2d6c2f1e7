//! The loop back: what was suggested, what users said to it, and the labels that follow.
//!
//! [`EventLog`] stores what was suggested without holding up an answer; [`record`] takes a user's answer, joins it to
//! the stored event, so that arm and version come from what was served and not from what the client says, and turns it
//! into a label where it says what the transaction is.

mod event_log;
mod record;
mod request;

pub use event_log::{EventLog, Writing};
pub use record::{FeedbackError, Outcome, record};
pub use request::{Action, BadFeedback, FeedbackRequest};
