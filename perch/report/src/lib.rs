//! Compares the two arms: figures of an analysis of live traffic, and of a recorded log that is replayed.
//!
//! | module | purpose |
//! |---|---|
//! | [`analysis`] | figures from the scorer's counts; as text, HTML and CSV |
//! | [`replay`] | sends each request of a log to both arms, and counts |

pub mod analysis;
pub mod replay;
