//! Log lines on standard error: one a record, without a time, which whoever collects them adds.

use log::{Level, LevelFilter, Metadata, Record};

struct Lines;

/// How targets of our own records begin.
const OURS: [&str; 3] = ["shadow_scorer", "scorer_", "suggestions"];

static LINES: Lines = Lines;

/// Writes our own records from `level` up, and warnings of libraries.
pub fn start(level: LevelFilter) {
    // Only fails when a logger is there already, whose choice that is then.
    if log::set_logger(&LINES).is_ok() {
        log::set_max_level(level);
    }
}

impl log::Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        OURS.iter().any(|ours| metadata.target().starts_with(ours)) || metadata.level() <= Level::Warn
    }

    #[allow(clippy::print_stderr)] // this is where log lines go
    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            eprintln!("{}: {}", record.level().as_str().to_ascii_lowercase(), record.args());
        }
    }

    fn flush(&self) {}
}
