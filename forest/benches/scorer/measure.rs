//! One case, and the time of its calls.

use std::time::{Duration, Instant};

/// What the caches hold before a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cache {
    /// What the last call left there.
    Warm,
    /// 96 MiB of something else.
    Cold,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) trees: usize,
    pub(crate) batch: usize,
    pub(crate) cache: Cache,
}

/// Touches as much memory as no cache holds.
pub(crate) struct Junk(Vec<u64>);

impl Junk {
    pub(crate) fn new() -> Junk {
        Junk(vec![0; 96 << 17])
    }

    fn touch(&mut self) {
        for line in self.0.chunks_mut(8) {
            line.iter_mut().take(1).for_each(|word| *word = word.wrapping_add(1));
        }
        std::hint::black_box(&self.0);
    }
}

/// Calls for so many seconds, at least three times, and gives the microseconds of each call.
pub(crate) fn calls<E>(
    cache: Cache,
    seconds: f64,
    junk: &mut Junk,
    mut call: impl FnMut(usize) -> Result<(), E>,
) -> Result<Vec<f64>, E> {
    call(0)?;
    let (begin, mut took) = (Instant::now(), Vec::new());
    while took.len() < 3 || begin.elapsed() < Duration::from_secs_f64(seconds) {
        if cache == Cache::Cold {
            junk.touch();
        }
        let begin = Instant::now();
        call(took.len())?;
        took.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    Ok(took)
}

pub(crate) fn median(values: Vec<f64>) -> f64 {
    quantile(values, 0.5)
}

/// The value that `share` (0 to 1) of `values` do not exceed.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // some thousand values
pub(crate) fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get((values.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN)
}
