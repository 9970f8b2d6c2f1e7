//! Compares the two arms: figures of an analysis of live traffic, and of a recorded log that is replayed.
//!
//! | module | what it does |
//! |---|---|
//! | [`analysis`] | figures of what the scorer has counted; as text, HTML and CSV |
//! | [`replay`] | sends each request of a log to both arms, and counts |

pub mod analysis;
pub mod replay;
