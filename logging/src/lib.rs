//! Perch's log lines: one a `tracing` event, on standard error, alike in every program.
//!
//! A line has the time (RFC 3339, UTC, milliseconds), the level, the target (the module that speaks), the event, which
//! is a short name such as `draining` or `store_failed`, and fields. Spans add their fields to the events within them,
//! so a request's lines carry its `trace_id`.
//!
//! ```text
//! 2026-12-01T07:00:00.123Z INFO perch::http draining notice_ms=1000
//! {"time":"2026-12-01T07:00:00.123Z","level":"info","target":"perch::http","event":"draining","notice_ms":1000}
//! ```
//!
//! This is a crate of its own rather than a part of `contract`, which is compiled into the filter, where neither a
//! subscriber nor a clock is wanted; what both must do alike, the quoting of values, is in [`contract::log_text`].
//!
//! | module | what it holds |
//! |---|---|
//! | `filter` | which events are written: `--log-level` |
//! | `line` | an event as a line of text or JSON |

mod filter;
mod line;

use std::io::Write as _;

use clap::Args;
use tracing_subscriber::layer::SubscriberExt as _;

pub use filter::{LevelError, LogFilter};
pub use line::LogFormat;

use line::Lines;

/// The flags of every long-running program about its log; to be flattened into the program's own.
#[derive(Debug, Clone, Args)]
pub struct LogOptions {
    /// Format of the log lines on standard error
    #[arg(long, env = "PERCH_LOG_FORMAT", value_enum, value_name = "FORMAT", default_value = "text", global = true)]
    pub log_format: LogFormat,

    /// Lowest level that is logged: off, error, warn, info, debug or trace. Exceptions by target may follow, e.g.
    /// info,sqlx=debug; libraries log warnings and errors only, unless named
    #[arg(long, env = "PERCH_LOG", value_name = "LEVEL", default_value = "info", global = true)]
    pub log_level: LogFilter,
}

impl LogOptions {
    /// Starts the log of this program: events of `tracing`, and records of libraries that use `log`.
    ///
    /// To be called once, first of all; when there is a log already, as in a test, that one is kept.
    pub fn start(&self) {
        let lines = Lines::new(self.log_format, |line: &[u8]| {
            // There is nowhere to say that standard error is gone.
            let _ = std::io::stderr().lock().write_all(line);
        });
        let subscriber = tracing_subscriber::registry().with(self.log_level.targets().clone()).with(lines);
        if tracing::subscriber::set_global_default(subscriber).is_ok() {
            let _ = tracing_log::LogTracer::init();
        }
    }
}
