//! The decisions about a request, by pure functions and state machines: no host, no clock, no random numbers. Time is an
//! argument, bytes are borrowed, and every outcome is a plain value that `plugin` turns into host calls.
//!
//! | module | decides |
//! |---|---|
//! | [`heads`] | which headers matter: the one place that reads them, but for those that name the user |
//! | [`intercept`] | which requests are intercepted |
//! | [`identity`] | the user's pseudonym |
//! | [`cohort`] | the user's cohort |
//! | [`shares`] | the user's arm, by the worker's copy of the shares |
//! | [`uploads`] | which copies of incoming requests are kept |
//! | [`candidate`] | whether a client may be given the scorer's response |
//! | [`baseline`] | whether the application's response may be replaced |
//! | [`canary`] | which of the two responses a canary user is given, and when |
//! | [`copy`] | how much of a response is copied |
//! | [`exchange`] | how one request with its response ends as an observation |
//! | [`observation`] | which observations wait, which batches are in flight, and when an observation is dropped |
//! | [`budget`] | whether a worker may use more bytes |
//! | [`accounting`] | which counters are incremented |

pub mod accounting;
pub mod baseline;
pub mod budget;
pub mod canary;
pub mod candidate;
pub mod cohort;
pub mod copy;
pub mod exchange;
pub mod heads;
pub mod identity;
pub mod intercept;
pub mod observation;
pub mod shares;
pub mod uploads;
