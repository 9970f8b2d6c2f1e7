//! What is decided about a request, by pure functions and state machines: no host, no clock, no chance. Time is an
//! argument, bytes are borrowed, and every outcome is a plain value that the glue turns into host calls.
//!
//! | module | decides |
//! |---|---|
//! | [`heads`] | what of a request's or answer's headers matters here, in one pass |
//! | [`intercept`] | is the request one of those that Perch is about |
//! | [`identity`] | who the user is, as a pseudonym |
//! | [`cohort`] | whether the user is in a group that the share does not deal |
//! | [`budget`] | whether a worker may hold so many bytes more |
//! | [`exchange`] | what becomes of one request with its answer as an observation |
//! | [`observation`] | what waits to be sent, what is under way, and when there is no more room |
//! | [`held`] | what becomes of a canary user's request: asked, answered, let go |
//! | [`fallback`] | what a scorer's answer, or its lack, means for the client |
//! | [`accounting`] | which counters move |

pub mod accounting;
pub mod budget;
pub mod cohort;
pub mod exchange;
pub mod fallback;
pub mod heads;
pub mod held;
pub mod identity;
pub mod intercept;
pub mod observation;
