//! Observations that wait to be sent, and batches that are under way.
//!
//! Records are written into an open batch as exchanges end, so that a batch needs no second pass. A batch closes when
//! the next record would make it larger than `batch_bytes`; what is open goes as well, when its time has come. A batch's
//! bytes are kept until it is answered, since its items must be counted even when nobody answers: `in_flight_bytes`
//! bounds that, and once it is reached, batches wait; what waits is bounded by the worker's [`Budget`], and once that
//! is used up, further exchanges are dropped and counted. So a scorer that is slow or gone costs a fixed amount of
//! memory and never a client.

use std::collections::VecDeque;
use std::sync::Arc;

use contract::frame::{self, Observation};

use super::budget::Budget;

/// Bounds, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// A batch closes before it becomes larger than this. A single record larger than this makes a batch of its own.
    pub batch: usize,
    /// Batches under way, all together.
    pub in_flight: usize,
}

/// A batch: its bytes as they are sent, and how many observations they hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// See [`contract::frame`]. Whoever sends them may share them meanwhile.
    pub bytes: Arc<Vec<u8>>,
    /// How many records.
    pub observations: u32,
}

/// A batch that is being written.
#[derive(Debug, Default)]
struct Open {
    bytes: Vec<u8>,
    observations: u32,
}

/// See the module.
#[derive(Debug)]
pub struct Buffer {
    bounds: Bounds,
    schema: String,
    /// Bytes of a batch before its first record, which take nothing of the budget.
    head: usize,
    open: Open,
    closed: VecDeque<Batch>,
    flights: Vec<(u32, Batch)>,
    in_flight: usize,
    /// Emptied batches' bytes, for the next ones; the last one first, which the caches may still hold.
    spare: Vec<Vec<u8>>,
    /// The batch before closed because it was full.
    filled: bool,
}

/// Most emptied batches that are kept: while one is written, one or two are under way to a scorer that keeps up.
const SPARE: usize = 3;

impl Buffer {
    /// Empty. `schema` is the answer schema's JSON, which goes with every batch.
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
            flights: Vec::new(),
            in_flight: 0,
            spare: Vec::new(),
            filled: false,
        }
    }

    /// Appends one observation. `false`, and nothing kept, when the worker has no room for it.
    #[must_use]
    pub fn add(&mut self, observation: &Observation<'_>, budget: &mut Budget) -> bool {
        let length = observation.encoded_len();
        if self.open.observations > 0 && self.open.bytes.len().saturating_add(length) > self.bounds.batch {
            self.close();
            self.filled = true;
        }
        if self.open.bytes.is_empty() {
            // After a full one at once as large as it may become: one that grew would be copied again and again, at a size
            // that no cache holds. Batches that time closes are small, and many under way must not take many times their length.
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

    /// Nothing waits and nothing is under way.
    #[must_use]
    pub fn idle(&self) -> bool {
        !self.waiting() && self.flights.is_empty()
    }

    /// Something waits to be sent.
    #[must_use]
    pub fn waiting(&self) -> bool {
        self.open.observations > 0 || !self.closed.is_empty()
    }

    /// The next batch to send, if there is one and there is room under way for it. With `all`, the open one too.
    pub fn next(&mut self, all: bool, budget: &mut Budget) -> Option<Batch> {
        if self.closed.is_empty() && all && self.open.observations > 0 {
            self.close();
            self.filled = false;
        }
        let room = self.bounds.in_flight.saturating_sub(self.in_flight);
        // The first is let through whatever its size, or one that is larger than the bound would wait for ever.
        let fits = self.flights.is_empty() || self.closed.front().is_some_and(|batch| batch.bytes.len() <= room);
        let batch = if fits { self.closed.pop_front() } else { None }?;
        budget.give(batch.bytes.len().saturating_sub(self.head));
        Some(batch)
    }

    /// `batch` is under way as `token`.
    pub fn sent(&mut self, token: u32, batch: Batch) {
        self.in_flight = self.in_flight.saturating_add(batch.bytes.len());
        self.flights.push((token, batch));
    }

    /// The batch that was under way as `token`, if it is one of ours.
    pub fn landed(&mut self, token: u32) -> Option<Batch> {
        let at = self.flights.iter().position(|(flight, _)| *flight == token)?;
        let (_, batch) = self.flights.swap_remove(at);
        self.in_flight = self.in_flight.saturating_sub(batch.bytes.len());
        Some(batch)
    }

    /// Everything that waits or is under way, for the end of the worker.
    pub fn drain(&mut self) -> impl Iterator<Item = Batch> {
        self.in_flight = 0;
        self.close();
        self.closed.drain(..).chain(self.flights.drain(..).map(|(_, batch)| batch))
    }

    /// A batch that is done with gives its memory to a later one.
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

    fn observation(answer: &[u8]) -> Observation<'_> {
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
            baseline: answer,
            candidate: None,
        }
    }

    #[test]
    fn what_goes_in_comes_out_in_its_order() {
        let mut budget = Budget::new(10_000);
        let mut buffer = Buffer::new(String::new(), BOUNDS);
        assert!(buffer.idle());
        for answer in [b"one", b"two"] {
            assert!(buffer.add(&observation(answer), &mut budget));
        }
        assert_eq!(buffer.next(false, &mut budget), None, "an open batch waits for its time");
        let batch = buffer.next(true, &mut budget).unwrap();
        assert_eq!((batch.observations, budget.used()), (2, 0));
        let parsed = frame::Batch::parse(&batch.bytes).unwrap();
        let answers: Vec<_> = parsed.observations.iter().map(|seen| seen.baseline).collect();
        assert_eq!(answers, [b"one", b"two"]);
        assert!(!buffer.waiting());
    }

    #[test]
    fn a_full_batch_closes_and_waits_for_room_under_way() {
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
        assert_eq!(token, 1, "a second one would be more than is allowed under way");
        assert!(buffer.waiting());
        assert_eq!(buffer.landed(7), None, "not ours");
        assert_eq!(buffer.landed(1).unwrap().observations, 2);
        assert!(buffer.next(true, &mut budget).is_some());
    }

    #[test]
    fn a_record_larger_than_a_batch_travels_alone() {
        let mut budget = Budget::new(10_000);
        let mut buffer = Buffer::new(String::new(), BOUNDS);
        assert!(buffer.add(&observation(&[b'x'; 1_000]), &mut budget));
        assert!(buffer.add(&observation(b"y"), &mut budget));
        assert_eq!(buffer.next(false, &mut budget).unwrap().observations, 1);
        assert_eq!(buffer.next(true, &mut budget).unwrap().observations, 1);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn the_memory_of_batches_that_are_done_with_is_used_again_and_bounded() {
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
        assert_eq!(buffer.spare.len(), kept, "a rare giant gives its memory back");
    }

    #[test]
    fn only_after_a_full_batch_is_memory_for_a_whole_one_asked_for() {
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
        // Adding, sending and landing in any order: what waits stays inside the budget, what is under way inside its
        // bound (or is a single batch), and no observation is lost or doubled.
        #[test]
        fn bounded_and_nothing_lost(
            room in 0_usize..2_000, steps in proptest::collection::vec((0_u8..4, 0_usize..400), 0..60),
        ) {
            let mut budget = Budget::new(room);
            let mut buffer = Buffer::new("{}".into(), BOUNDS);
            let (mut token, mut added, mut landed) = (0_u32, 0_u32, 0_u32);
            for (step, size) in steps {
                match step {
                    0 | 1 => added += u32::from(buffer.add(&observation(&vec![0; size]), &mut budget)),
                    2 => if let Some(batch) = buffer.next(size % 2 == 0, &mut budget) {
                        token += 1;
                        buffer.sent(token, batch);
                    },
                    _ => if let Some(batch) = buffer.landed(u32::try_from(size).unwrap() % (token + 1)) {
                        landed += batch.observations;
                        prop_assert_eq!(frame::Batch::parse(&batch.bytes).unwrap().observations.len(), batch.observations as usize);
                        buffer.recycle(batch);
                    },
                }
                prop_assert!(budget.used() <= room);
                prop_assert!(buffer.in_flight <= BOUNDS.in_flight || buffer.flights.len() == 1);
            }
            landed += buffer.drain().map(|batch| batch.observations).sum::<u32>();
            prop_assert_eq!(landed, added);
            prop_assert!(buffer.idle());
        }
    }
}
