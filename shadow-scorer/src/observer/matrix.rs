//! Counts pairs of baseline and candidate labels, and writes them to the store.
//!
//! A batch adds to counts in memory, which costs one lookup per item, and one task writes the pending counts every few
//! seconds. While the store is away counts keep accumulating, up to a limit; disputes, which are single rows, are
//! dropped beyond theirs, and counted. A write whose outcome is unknown is repeated unchanged and counts once
//! ([`CountBatch`]). A write with a row that the database refuses is split until only that row is dropped, so that it
//! does not block others.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use contract::analysis::{KEPT_SECONDS, SLOT_SECONDS, USER_GROUPS};
use contract::bucket::Bucket;
use contract::frame::Observation;
use contract::names::{Arm, Cohort};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use xxhash_rust::xxh64::xxh64;

use super::time::seconds_now;
use crate::store::{CountBatch, Dispute, GroupRow, PairRow, Store, StoreError, without_nul};

/// Interval at which pending counts are written.
const WRITE_INTERVAL: Duration = Duration::from_secs(2);
/// Old counts are deleted after this number of writes: half an hour.
const FORGET_AFTER: u32 = 900;
/// Most pending cells. More means that the store has been away for long.
const MOST_CELLS: usize = 50_000;
/// Most disputes between two writes.
const MOST_DISPUTES: usize = 2_000;
/// Longest event id of a dispute, in bytes: a longer one cannot be indexed, and feedback with it is refused.
const LONGEST_ID: usize = 200;
/// How long the store remembers written batches, in seconds. No write is repeated after that.
const WRITTEN_SECONDS: i64 = 86_400;
/// Seed of the user groups, different from the arm's.
const GROUP_SEED: u64 = 3;

/// Slot, served arm, cohort, the baseline's label and the candidate's.
type Cell = (i64, Arm, Cohort, String, String);

/// Counts that are not written yet.
#[derive(Debug, Default)]
struct PendingCounts {
    cells: HashMap<Cell, i64>,
    /// By slot, cohort and group: compared and agreeing items.
    groups: HashMap<(i64, Cohort, i64), (i64, i64)>,
    disputes: Vec<Dispute>,
}

/// The counts; shared by all batches.
#[derive(Debug, Clone, Default)]
pub(super) struct LabelMatrix {
    pending: Arc<Mutex<PendingCounts>>,
    dropped: Arc<AtomicU64>,
}

/// The task that writes counts.
#[derive(Debug)]
pub(super) struct CountWriter {
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

/// The counts of one batch. Labels are borrowed until they are added.
#[derive(Debug, Default)]
pub(super) struct BatchCounts<'a> {
    cells: HashMap<(Arm, Cohort, &'a str, &'a str), i64>,
    groups: HashMap<(Cohort, i64), (i64, i64)>,
    disputes: Vec<Dispute>,
    /// Disputes whose event id no feedback can have.
    unattributable: u64,
}

/// The labels of one item; `None` if that arm abstains.
#[derive(Debug, Clone, Copy)]
pub(super) struct LabelPair<'a> {
    /// The baseline's label.
    pub baseline: Option<&'a str>,
    /// The candidate's label.
    pub candidate: Option<&'a str>,
    /// The suggestion's event.
    pub event_id: Option<&'a str>,
}

impl<'a> BatchCounts<'a> {
    /// Counts an item of `observation`, seen at `now` (seconds since 1970).
    pub(super) fn item(&mut self, observation: &Observation<'_>, item: LabelPair<'a>, now: i64) {
        let (arm, cohort) = (observation.served, observation.cohort);
        let cell = (arm, cohort, item.baseline.unwrap_or_default(), item.candidate.unwrap_or_default());
        *self.cells.entry(cell).or_default() += 1;
        let (Some(rule), Some(model)) = (item.baseline, item.candidate) else { return };
        let group = self.groups.entry((cohort, group(observation))).or_default();
        group.0 += 1;
        group.1 += i64::from(rule == model);
        if rule != model
            && let (Some(event_id), Some(bucket)) = (item.event_id, observation.bucket)
        {
            if event_id.len() > LONGEST_ID || event_id.contains('\0') {
                self.unattributable += 1;
                return;
            }
            self.disputes.push(Dispute {
                event_id: event_id.to_owned(),
                arm,
                cohort,
                rule: without_nul(rule).into_owned(),
                model: without_nul(model).into_owned(),
                bucket: bucket.to_string(),
                created_at: now,
            });
        }
    }
}

/// The group of a user's items. Requests without an identity are as independent as users, so each is grouped by its
/// response.
fn group(observation: &Observation<'_>) -> i64 {
    let hash = match observation.bucket {
        Some(Bucket(bucket)) => xxh64(&bucket.to_le_bytes(), GROUP_SEED),
        None => xxh64(observation.baseline, GROUP_SEED),
    };
    i64::try_from(hash % USER_GROUPS).unwrap_or(0)
}

impl LabelMatrix {
    /// Starts the writing task on the runtime that `store` belongs to.
    pub(super) fn start(store: Store) -> (Self, CountWriter) {
        let matrix = Self::default();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(write(matrix.clone(), store, stopped));
        (matrix, CountWriter { task, stop })
    }

    /// Adds the counts of a batch at `now` (seconds since 1970).
    pub(super) fn add(&self, sheet: BatchCounts<'_>, now: i64) {
        let slot = now - now.rem_euclid(SLOT_SECONDS);
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for ((arm, cohort, rule, model), items) in sheet.cells {
            let cell = (slot, arm, cohort, without_nul(rule).into_owned(), without_nul(model).into_owned());
            if pending.cells.len() < MOST_CELLS || pending.cells.contains_key(&cell) {
                *pending.cells.entry(cell).or_default() += items;
            }
        }
        for ((cohort, group), (compared, agreed)) in sheet.groups {
            if pending.groups.len() < MOST_CELLS {
                let counts = pending.groups.entry((slot, cohort, group)).or_default();
                *counts = (counts.0 + compared, counts.1 + agreed);
            }
        }
        let room = MOST_DISPUTES.saturating_sub(pending.disputes.len());
        let dropped = sheet.disputes.len().saturating_sub(room);
        pending.disputes.extend(sheet.disputes.into_iter().take(room));
        self.dropped.fetch_add(dropped as u64 + sheet.unattributable, Ordering::Relaxed);
    }

    /// Disputes that were not stored since the start.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Takes the pending counts, if there are any.
    fn take(&self) -> Option<CountBatch> {
        let pending = std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner));
        let PendingCounts { cells, groups, disputes } = pending;
        if cells.is_empty() {
            return None;
        }
        let cells = cells.into_iter();
        let mut pairs: Vec<PairRow> = cells
            .map(|((slot, arm, cohort, rule, model), items)| PairRow { slot, arm, cohort, rule, model, items })
            .collect();
        let groups = groups.into_iter();
        let mut groups: Vec<GroupRow> = groups
            .map(|((slot, cohort, group), (compared, agreed))| GroupRow {
                slot,
                cohort,
                group,
                judged: compared,
                agreed,
            })
            .collect();
        // In a fixed order, so that two scorers that write the same rows do not deadlock.
        pairs.sort_unstable_by(|a, b| {
            (a.slot, a.arm, a.cohort, &a.rule, &a.model).cmp(&(b.slot, b.arm, b.cohort, &b.rule, &b.model))
        });
        groups.sort_unstable_by_key(|row| (row.slot, row.cohort, row.group));
        Some(CountBatch::new(pairs, groups, disputes))
    }

    /// Writes the batches in `unwritten`, the oldest first, or else the pending counts.
    async fn flush(&self, store: &Store, unwritten: &mut VecDeque<CountBatch>) -> Result<(), StoreError> {
        if unwritten.is_empty() {
            unwritten.extend(self.take());
        }
        while let Some(batch) = unwritten.front() {
            match store.add_counts(batch, seconds_now()).await {
                Ok(()) => drop(unwritten.pop_front()),
                Err(error) if error.is_of_the_rows() => {
                    let Some(refused) = unwritten.pop_front() else { break };
                    if refused.rows() > 1 {
                        let [one, other] = refused.split();
                        unwritten.push_front(other);
                        unwritten.push_front(one);
                    } else {
                        self.dropped.fetch_add(refused.disputes.len() as u64, Ordering::Relaxed);
                        tracing::error!(%error, "count_dropped");
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl CountWriter {
    /// Writes the remaining counts. No batch may be added any more.
    pub(super) async fn finish(self) {
        let _ = self.stop.send(());
        if let Err(error) = self.task.await {
            tracing::error!(%error, "count_writer_panicked");
        }
    }
}

async fn write(matrix: LabelMatrix, store: Store, mut stopped: oneshot::Receiver<()>) {
    let mut ticks = tokio::time::interval(WRITE_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut failing, mut writings, mut last) = (false, 0_u32, false);
    let mut unwritten = VecDeque::new();
    while !last {
        last = tokio::select! {
            _ = ticks.tick() => false,
            _ = &mut stopped => true,
        };
        let mut done = matrix.flush(&store, &mut unwritten).await;
        if done.is_ok() && last {
            // The counts that accumulated while an earlier batch waited.
            done = matrix.flush(&store, &mut unwritten).await;
        }
        if done.is_ok() && writings.is_multiple_of(FORGET_AFTER) && !last {
            done = store.forget_counts(seconds_now() - KEPT_SECONDS).await;
        }
        if done.is_ok() && writings.is_multiple_of(FORGET_AFTER) && !last {
            done = store.forget_writings(seconds_now() - WRITTEN_SECONDS).await;
        }
        writings = writings.wrapping_add(1);
        // Once per outage, not once per write.
        match &done {
            Err(error) if !failing => tracing::warn!(%error, "counts_not_stored"),
            Ok(()) if failing => tracing::info!("counts_stored_again"),
            _ => {}
        }
        failing = done.is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Options;
    use sqlx::{AnyConnection, Connection as _, Executor as _};

    fn cells(labels: &[&str]) -> CountBatch {
        let pair = |label: &&str| PairRow {
            slot: 600,
            arm: Arm::Baseline,
            cohort: Cohort::Ordinary,
            rule: (*label).to_owned(),
            model: "coffee".into(),
            items: 1,
        };
        CountBatch::new(labels.iter().map(pair).collect(), Vec::new(), Vec::new())
    }

    /// Case A6, for every reason for which the database refuses a row.
    #[tokio::test]
    async fn a_row_that_is_refused_is_dropped_alone() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/store", folder.path().display());
        let store = Store::create(&url, &Options::default(), Arc::new(())).await.unwrap();
        let mut other = AnyConnection::connect(&url).await.unwrap();
        let refusing = "CREATE TRIGGER t BEFORE INSERT ON label_pairs WHEN NEW.rule_label = 'odd' \
             BEGIN SELECT RAISE(ABORT, 'odd'); END";
        other.execute(refusing).await.unwrap();
        let matrix = LabelMatrix::default();
        let mut unwritten = VecDeque::from([cells(&["a", "odd", "b", "c", "d"]), cells(&["a"])]);
        matrix.flush(&store, &mut unwritten).await.unwrap();
        assert!(unwritten.is_empty());
        let stored = store.analysis_counts(0, &[]).await.unwrap().pairs;
        let items = |label: &str| stored.iter().find(|pair| pair.rule.as_deref() == Some(label)).map(|pair| pair.items);
        assert_eq!(["a", "b", "c", "d", "odd"].map(items), [Some(2), Some(1), Some(1), Some(1), None]);
    }

    /// Case A3b: a batch that could not be written waits unchanged, and later counts are not merged into it.
    #[tokio::test]
    async fn a_write_of_unknown_outcome_is_repeated_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/store", folder.path().display());
        let store = Store::create(&url, &Options::default(), Arc::new(())).await.unwrap();
        let gone = Store::open(&url, &Options::default(), Arc::new(())).await.unwrap();
        gone.close().await;
        let matrix = LabelMatrix::default();
        let batch = cells(&["a"]);
        let mut unwritten = VecDeque::from([batch.clone()]);
        matrix.flush(&gone, &mut unwritten).await.unwrap_err();
        assert_eq!(unwritten.iter().collect::<Vec<_>>(), [&batch]);
        // The store had stored it nevertheless.
        store.add_counts(&batch, 1).await.unwrap();
        matrix.flush(&store, &mut unwritten).await.unwrap();
        assert_eq!(store.analysis_counts(0, &[]).await.unwrap().pairs[0].items, 1);
    }
}
