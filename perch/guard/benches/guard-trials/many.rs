//! Many trials, on all cores, with the same result whatever their number: each trial's seed is its own.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};

/// Runs `run` for 0..count and gives the results in that order; says how far it is while it runs.
pub(crate) fn many<T: Send, M>(
    name: &str,
    count: u64,
    memory: impl Fn() -> M + Sync,
    run: impl Fn(&mut M, u64) -> T + Sync,
) -> Vec<T> {
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut results: Vec<(u64, T)> = std::thread::scope(|scope| {
        let work = || {
            let mut memory = memory();
            let mut mine = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return mine;
                }
                mine.push((index, run(&mut memory, index)));
                progress(name, done.fetch_add(1, Ordering::Relaxed) + 1, count);
            }
        };
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        handles.into_iter().filter_map(|handle| handle.join().ok()).flatten().collect()
    });
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// One line that is written over on a terminal; every tenth part elsewhere.
fn progress(name: &str, done: u64, count: u64) {
    let parts = if std::io::stderr().is_terminal() { 100 } else { 10 };
    let part = |done: u64| done * parts / count;
    if part(done) == part(done - 1) {
        return;
    }
    let percent = done * 100 / count;
    let mut err = std::io::stderr().lock();
    let end = if std::io::stderr().is_terminal() && done < count { "\r" } else { "\n" };
    // Progress that cannot be shown is no reason to stop.
    let _ = write!(err, "{name}: {percent}%{end}");
}
