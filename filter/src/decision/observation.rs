//! Observations that wait to be sent, and batches in flight.
//!
//! Records are written into an open batch as exchanges end, so that a batch needs no second pass. A batch closes when the
//! next record would make it larger than `batch_bytes`; at a tick the open batch is sent as well. A batch's bytes are kept
//! until its result has come, since its items must be counted even if no result comes: `in_flight_bytes` limits that, and
//! when it is reached, batches wait. Waiting records are limited by the worker's [`Budget`], and when that is used up,
//! further observations are dropped and counted. So a slow or dead scorer costs a fixed amount of memory, and clients notice
//! nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use contract::frame::{self, Observation};

use super::budget::Budget;

/// Limits, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Largest batch. A record that is larger becomes a batch of its own.
    pub batch: usize,
    /// All batches in flight together.
    pub in_flight: usize,
}

/// A batch to be sent.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The bytes (see [`contract::frame`]), shared with the sender while it is in flight.
    pub bytes: Arc<Vec<u8>>,
    /// Number of records in it.
    pub observations: u32,
}

/// A batch that is being written.
#[derive(Debug, Default)]
struct Open {
    bytes: Vec<u8>,
    observations: u32,
}

/// The observations and batches of one worker.
#[derive(Debug)]
pub struct Buffer {
    bounds: Bounds,
    schema: String,
    /// Bytes of a batch before its first record, which the budget does not count.
    head: usize,
    open: Open,
    closed: VecDeque<Batch>,
    in_flight: Vec<(u32, Batch)>,
    in_flight_bytes: usize,
    /// Emptied buffers for later batches, used last in, first out, since the last may still be in the cache.
    spare: Vec<Vec<u8>>,
    /// The previous batch closed because it was full.
    filled: bool,
}

/// Most emptied buffers that are kept: while one batch is written, one or two are in flight to a scorer that keeps up.
const SPARE: usize = 3;

impl Buffer {
    /// An empty buffer. `schema` is the response schema's JSON, which every batch contains.
    #[must_use]
    pub fn new(schema: String, bounds: Bounds) -> Self {
        let mut start = Vec::new();
        frame::start(&mut start, &schema);
        Self {
            bounds,
            schema,
            head: start.len(),
            open: Open::default(),
            closed: VecDeque::new(),
            in_flight: Vec::new(),
            in_flight_bytes: 0,
            spare: Vec::new(),
            filled: false,
        }
    }

    /// Appends one observation. Returns `false`, and appends nothing, if the worker has no room for it.
    #[must_use]
    pub fn add(&mut self, observation: &Observation<'_>, budget: &mut Budget) -> bool {
        let length = observation.encoded_len();
        if self.open.observations > 0 && self.open.bytes.len().saturating_add(length) > self.bounds.batch {
            self.close();
            self.filled = true;
        }
        if self.open.bytes.is_empty() {
            // After a full batch the next one gets its whole memory at once: if it grew, it would be copied repeatedly, at a
            // size that no cache holds. Batches that a tick closes are small, and should not take many times their length.
            let likely = if self.filled { self.bounds.batch } else { 0 };
            self.open.bytes = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(likely));
            frame::start(&mut self.open.bytes, &self.schema);
        }
        if !budget.take(length) {
            return false;
        }
        if !frame::append(&mut self.open.bytes, observation) {
            budget.give(length);
            return false;
        }
        self.open.observations = self.open.observations.saturating_add(1);
        true
    }

    /// Returns `true` if nothing waits and nothing is in flight.
    #[must_use]
    pub fn idle(&self) -> bool {
        !self.waiting() && self.in_flight.is_empty()
    }

    /// Returns `true` if something waits to be sent.
    #[must_use]
    pub fn waiting(&self) -> bool {
        self.open.observations > 0 || !self.closed.is_empty()
    }

    /// The next batch to send, if there is one and the limit of batches in flight allows it. With `all`, the open one too.
    pub fn next(&mut self, all: bool, budget: &mut Budget) -> Option<Batch> {
        if self.closed.is_empty() && all && self.open.observations > 0 {
            self.close();
            self.filled = false;
        }
        let room = self.bounds.in_flight.saturating_sub(self.in_flight_bytes);
        // The first is sent whatever its size, or a batch above the limit would wait for ever.
        let fits = self.in_flight.is_empty() || self.closed.front().is_some_and(|batch| batch.bytes.len() <= room);
        let batch = if fits { self.closed.pop_front() } else { None }?;
        budget.give(batch.bytes.len().saturating_sub(self.head));
        Some(batch)
    }

    /// Records that `batch` is in flight as `token`.
    pub fn sent(&mut self, token: u32, batch: Batch) {
        self.in_flight_bytes = self.in_flight_bytes.saturating_add(batch.bytes.len());
        self.in_flight.push((token, batch));
    }

    /// Removes and returns the batch that was in flight as `token`, if there is one.
    pub fn completed(&mut self, token: u32) -> Option<Batch> {
        let at = self.in_flight.iter().position(|(known, _)| *known == token)?;
        let (_, batch) = self.in_flight.swap_remove(at);
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(batch.bytes.len());
        Some(batch)
    }

    /// Removes and returns all batches, at the end of the worker.
    pub fn drain(&mut self) -> impl Iterator<Item = Batch> {
        self.in_flight_bytes = 0;
        self.close();
        self.closed.drain(..).chain(self.in_flight.drain(..).map(|(_, batch)| batch))
    }

    /// Keeps the memory of a completed batch for a later one.
    pub fn recycle(&mut self, batch: Batch) {
        if self.spare.len() < SPARE
            && let Ok(mut bytes) = Arc::try_unwrap(batch.bytes)
            && bytes.capacity() <= self.bounds.batch.saturating_mul(2)
        {
            bytes.clear();
            self.spare.push(bytes);
        }
    }

    fn close(&mut self) {
        if self.open.observations > 0 {
            let Open { bytes, observations } = std::mem::take(&mut self.open);
            self.closed.push_back(Batch { bytes: Arc::new(bytes), observations });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::frame::Encoding;
    use contract::names::Arm;
    use proptest::prelude::*;

    const BOUNDS: Bounds = Bounds { batch: 300, in_flight: 500 };

    fn observation(body: &[u8]) -> Observation<'_> {
        Observation {
            assigned: Arm::Baseline,
            served: Arm::Baseline,
            fallback: false,
            bucket: None,
            cohort: contract::names::Cohort::Ordinary,
            status: 200,
            duration_us: 1,
            baseline_us: 1,
            candidate_us: 1,
            encoding: Encoding::Identity,
            baseline: body,
            candidate: None,
        }
    }

    #[test]
    fn observations_are_sent_in_order() {
        let mut budget = Budget::new(10_000);
        let mut buffer = Buffer::new(String::new(), BOUNDS);
        assert!(buffer.idle());
        for body in [b"one", b"two"] {
            assert!(buffer.add(&observation(body), &mut budget));
        }
        assert_eq!(buffer.next(false, &mut budget), None, "an open batch waits for a tick");
        let batch = buffer.next(true, &mut budget).unwrap();
        assert_eq!((batch.observations, budget.used()), (2, 0));
        let parsed = frame::Batch::parse(&batch.bytes).unwrap();
        let bodies: Vec<_> = parsed.observations.iter().map(|observation| observation.baseline).collect();
        assert_eq!(bodies, [b"one", b"two"]);
        assert!(!buffer.waiting());
    }

    #[test]
    fn a_full_batch_closes_and_waits_while_others_are_in_flight() {
        let mut budget = Budget::new(10_000);
        let mut buffer = Buffer::new(String::new(), BOUNDS);
        for _ in 0..9 {
            assert!(buffer.add(&observation(&[b'x'; 100]), &mut budget));
        }
        let mut token = 0;
        while let Some(batch) = buffer.next(true, &mut budget) {
            assert!(batch.bytes.len() <= BOUNDS.batch);
            token += 1;
            buffer.sent(token, batch);
        }
        assert_eq!(token, 1, "a second one would exceed the limit of batches in flight");
        assert!(buffer.waiting());
        assert_eq!(buffer.completed(7), None, "an unknown token");
        assert_eq!(buffer.completed(1).unwrap().observations, 2);
        assert!(buffer.next(true, &mut budget).is_some());
    }

    #[test]
    fn a_record_larger_than_a_batch_is_sent_alone() {
        let mut budget = Budget::new(10_000);
        let mut buffer = Buffer::new(String::new(), BOUNDS);
        assert!(buffer.add(&observation(&[b'x'; 1_000]), &mut budget));
        assert!(buffer.add(&observation(b"y"), &mut budget));
        assert_eq!(buffer.next(false, &mut budget).unwrap().observations, 1);
        assert_eq!(buffer.next(true, &mut budget).unwrap().observations, 1);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn the_memory_of_completed_batches_is_reused_and_limited() {
        let mut budget = Budget::new(1_000_000);
        let mut buffer = Buffer::new(String::new(), BOUNDS);
        let mut batch = |buffer: &mut Buffer, length: usize| {
            assert!(buffer.add(&observation(&vec![b'x'; length]), &mut budget));
            buffer.next(true, &mut budget).unwrap()
        };
        let done: Vec<Batch> = (0..SPARE + 2).map(|_| batch(&mut buffer, 100)).collect();
        let addresses: Vec<_> = done.iter().map(|batch| batch.bytes.as_ptr()).collect();
        done.into_iter().for_each(|done| buffer.recycle(done));
        assert_eq!(buffer.spare.len(), SPARE);
        let again = batch(&mut buffer, 100);
        assert_eq!(addresses.get(SPARE - 1), Some(&again.bytes.as_ptr()), "the last that was kept");
        let giant = batch(&mut buffer, 10 * BOUNDS.batch);
        let kept = buffer.spare.len();
        buffer.recycle(giant);
        assert_eq!(buffer.spare.len(), kept, "the memory of a rare giant is freed");
    }

    #[test]
    fn only_after_a_full_batch_is_memory_for_a_whole_one_reserved() {
        let mut budget = Budget::new(1_000_000);
        let mut buffer = Buffer::new(String::new(), BOUNDS);
        for _ in 0..5 {
            assert!(buffer.add(&observation(b"x"), &mut budget));
            assert!(buffer.next(true, &mut budget).unwrap().bytes.capacity() < BOUNDS.batch);
        }
        for _ in 0..4 {
            assert!(buffer.add(&observation(&[b'x'; 100]), &mut budget));
        }
        assert!(buffer.next(false, &mut budget).is_some(), "the full one");
        assert!(buffer.next(true, &mut budget).unwrap().bytes.capacity() >= BOUNDS.batch);
        assert!(buffer.add(&observation(b"x"), &mut budget));
        assert!(buffer.next(true, &mut budget).unwrap().bytes.capacity() < BOUNDS.batch);
    }

    proptest! {
        // Adding, sending and completing in any order: waiting records stay within the budget, batches in flight within
        // their limit (or there is a single one), and no observation is lost or doubled.
        #[test]
        fn memory_is_limited_and_no_observation_is_lost(
            room in 0_usize..2_000, steps in proptest::collection::vec((0_u8..4, 0_usize..400), 0..60),
        ) {
            let mut budget = Budget::new(room);
            let mut buffer = Buffer::new("{}".into(), BOUNDS);
            let (mut token, mut added, mut completed) = (0_u32, 0_u32, 0_u32);
            for (step, size) in steps {
                match step {
                    0 | 1 => added += u32::from(buffer.add(&observation(&vec![0; size]), &mut budget)),
                    2 => if let Some(batch) = buffer.next(size % 2 == 0, &mut budget) {
                        token += 1;
                        buffer.sent(token, batch);
                    },
                    _ => if let Some(batch) = buffer.completed(u32::try_from(size).unwrap() % (token + 1)) {
                        completed += batch.observations;
                        prop_assert_eq!(frame::Batch::parse(&batch.bytes).unwrap().observations.len(), batch.observations as usize);
                        buffer.recycle(batch);
                    },
                }
                prop_assert!(budget.used() <= room);
                prop_assert!(buffer.in_flight_bytes <= BOUNDS.in_flight || buffer.in_flight.len() == 1);
            }
            completed += buffer.drain().map(|batch| batch.observations).sum::<u32>();
            prop_assert_eq!(completed, added);
            prop_assert!(buffer.idle());
        }
    }
}
