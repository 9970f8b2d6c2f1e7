//! What is decided about a request, by pure functions and state machines: no host, no clock, no random. Time is an
//! argument, bytes are borrowed, and every outcome is a plain value that the glue turns into host calls.
//!
//! | module | decides |
//! |---|---|
//! | [`heads`] | what of a request's or response's headers matters here, in one pass |
//! | [`intercept`] | whether Perch intercepts a request |
//! | [`identity`] | who the user is, as a pseudonym |
//! | [`cohort`] | whether the user is in a group that has a share of its own, or none |
//! | [`shares`] | the user's arm, by the worker's copy of the shares |
//! | [`uploads`] | which copies of requests are kept while they come |
//! | [`candidate`] | whether the scorer's response is one that a client may be given |
//! | [`baseline`] | whether the application's response is one that may be replaced |
//! | [`canary`] | which of the two responses a canary user is given, and when |
//! | [`exchange`] | what becomes of one request with its response as an observation |
//! | [`observation`] | what waits to be sent, what is under way, and when there is no more room |
//! | [`budget`] | whether a worker may hold so many bytes more |
//! | [`accounting`] | which counters move |

pub mod accounting;
pub mod baseline;
pub mod budget;
pub mod canary;
pub mod candidate;
pub mod cohort;
pub mod exchange;
pub mod heads;
pub mod identity;
pub mod intercept;
pub mod observation;
pub mod shares;
pub mod uploads;
