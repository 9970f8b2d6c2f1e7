//! Which arm is better: figures of an analysis, and of a recorded log that is replayed against both sides.
//!
//! | module | what it does |
//! |---|---|
//! | [`analysis`] | figures of what the scorer has counted; as text, HTML and CSV |
//! | [`replay`] | asks both sides for each request of a log, and counts |

pub mod analysis;
pub mod replay;
