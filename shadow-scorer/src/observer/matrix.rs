//! Counts of what the two sides say of the same items, on their way to the store.
//!
//! A batch adds to counts in memory, which costs it no more than a look-up an item, and one task writes what has gathered
//! every few seconds. While the store is away the counts go on gathering, up to a bound; more disputes than there is room
//! for, which are single rows, are dropped and counted. A writing whose end is not seen is written again as it is, and
//! counts once ([`CountBatch`]). One of whose rows the database refuses is split until that row alone is dropped: no
//! row keeps the others waiting.

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

use crate::store::{CountBatch, Dispute, GroupRow, PairRow, Store, StoreError, without_nul};

/// How often gathered counts are written.
const EVERY: Duration = Duration::from_secs(2);
/// Writings after which old counts are forgotten: half an hour.
const FORGET_AFTER: u32 = 900;
/// Cells that gather at most. More means that the store has been away for long.
const MOST_CELLS: usize = 50_000;
/// Disputes that gather at most between two writings.
const MOST_DISPUTES: usize = 2_000;
/// Longest event id of a dispute, in bytes: a longer one has no place in an index, and no feedback names it.
const LONGEST_ID: usize = 200;
/// How long it is remembered which batches are written, in seconds. None is written again after that.
const WRITTEN_SECONDS: i64 = 86_400;
/// Seed of the groups of users: apart from the arm's.
const GROUP_SEED: u64 = 3;

/// A cell: slot, who answered, cohort, what the rules and what the model say.
type Cell = (i64, Arm, Cohort, String, String);

/// What has gathered.
#[derive(Debug, Default)]
struct Gathered {
    cells: HashMap<Cell, i64>,
    /// By slot, cohort and group: judged and agreed items.
    groups: HashMap<(i64, Cohort, i64), (i64, i64)>,
    disputes: Vec<Dispute>,
}

/// Gathers; shared by all batches.
#[derive(Debug, Clone, Default)]
pub(super) struct Matrix {
    gathered: Arc<Mutex<Gathered>>,
    dropped: Arc<AtomicU64>,
}

/// The writing task.
#[derive(Debug)]
pub(super) struct Writing {
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

/// What one batch adds. Labels are borrowed until it is added.
#[derive(Debug, Default)]
pub(super) struct Sheet<'a> {
    cells: HashMap<(Arm, Cohort, &'a str, &'a str), i64>,
    groups: HashMap<(Cohort, i64), (i64, i64)>,
    disputes: Vec<Dispute>,
    /// Disputes that no feedback could name.
    nameless: u64,
}

/// An item of which both sides' words are known; a label is `None` where the side has no opinion.
#[derive(Debug, Clone, Copy)]
pub(super) struct Both<'a> {
    /// What the rules say.
    pub rule: Option<&'a str>,
    /// What the model says.
    pub model: Option<&'a str>,
    /// The suggestion's event.
    pub event_id: Option<&'a str>,
}

impl<'a> Sheet<'a> {
    /// Counts an item of `observation`, seen at `now` (seconds since 1970).
    pub(super) fn item(&mut self, observation: &Observation<'_>, item: Both<'a>, now: i64) {
        let (arm, cohort) = (observation.served, observation.cohort);
        let cell = (arm, cohort, item.rule.unwrap_or_default(), item.model.unwrap_or_default());
        *self.cells.entry(cell).or_default() += 1;
        let (Some(rule), Some(model)) = (item.rule, item.model) else { return };
        let group = self.groups.entry((cohort, group(observation))).or_default();
        group.0 += 1;
        group.1 += i64::from(rule == model);
        if rule != model
            && let (Some(event_id), Some(bucket)) = (item.event_id, observation.bucket)
        {
            if event_id.len() > LONGEST_ID || event_id.contains('\0') {
                self.nameless += 1;
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

/// All items of a user are in one group. Requests without an identity are as independent as users are, so each goes by its
/// response.
fn group(observation: &Observation<'_>) -> i64 {
    let hash = match observation.bucket {
        Some(Bucket(bucket)) => xxh64(&bucket.to_le_bytes(), GROUP_SEED),
        None => xxh64(observation.baseline, GROUP_SEED),
    };
    i64::try_from(hash % USER_GROUPS).unwrap_or(0)
}

impl Matrix {
    /// Starts the writing task on the runtime that `store` belongs to.
    pub(super) fn start(store: Store) -> (Self, Writing) {
        let matrix = Self::default();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(write(matrix.clone(), store, stopped));
        (matrix, Writing { task, stop })
    }

    /// Adds what a batch counted, at `now` (seconds since 1970).
    pub(super) fn add(&self, sheet: Sheet<'_>, now: i64) {
        let slot = now - now.rem_euclid(SLOT_SECONDS);
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        for ((arm, cohort, rule, model), items) in sheet.cells {
            let cell = (slot, arm, cohort, without_nul(rule).into_owned(), without_nul(model).into_owned());
            if gathered.cells.len() < MOST_CELLS || gathered.cells.contains_key(&cell) {
                *gathered.cells.entry(cell).or_default() += items;
            }
        }
        for ((cohort, group), (judged, agreed)) in sheet.groups {
            if gathered.groups.len() < MOST_CELLS {
                let counts = gathered.groups.entry((slot, cohort, group)).or_default();
                *counts = (counts.0 + judged, counts.1 + agreed);
            }
        }
        let room = MOST_DISPUTES.saturating_sub(gathered.disputes.len());
        let dropped = sheet.disputes.len().saturating_sub(room);
        gathered.disputes.extend(sheet.disputes.into_iter().take(room));
        self.dropped.fetch_add(dropped as u64 + sheet.nameless, Ordering::Relaxed);
    }

    /// Disputes that were not stored since the start.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// What has gathered, if anything.
    fn take(&self) -> Option<CountBatch> {
        let gathered = std::mem::take(&mut *self.gathered.lock().unwrap_or_else(PoisonError::into_inner));
        let Gathered { cells, groups, disputes } = gathered;
        if cells.is_empty() {
            return None;
        }
        let cells = cells.into_iter();
        let mut pairs: Vec<PairRow> = cells
            .map(|((slot, arm, cohort, rule, model), items)| PairRow { slot, arm, cohort, rule, model, items })
            .collect();
        let groups = groups.into_iter();
        let mut groups: Vec<GroupRow> = groups
            .map(|((slot, cohort, group), (judged, agreed))| GroupRow { slot, cohort, group, judged, agreed })
            .collect();
        // In one order everywhere, so that two scorers that write the same rows do not lock each other out.
        pairs.sort_unstable_by(|a, b| {
            (a.slot, a.arm, a.cohort, &a.rule, &a.model).cmp(&(b.slot, b.arm, b.cohort, &b.rule, &b.model))
        });
        groups.sort_unstable_by_key(|row| (row.slot, row.cohort, row.group));
        Some(CountBatch::new(pairs, groups, disputes))
    }

    /// Writes what waits in `unwritten`, the oldest first, and what has gathered since.
    async fn flush(&self, store: &Store, unwritten: &mut VecDeque<CountBatch>) -> Result<(), StoreError> {
        if unwritten.is_empty() {
            unwritten.extend(self.take());
        }
        while let Some(batch) = unwritten.front() {
            match store.add_said(batch, super::seconds_now()).await {
                Ok(()) => drop(unwritten.pop_front()),
                Err(error) if error.is_of_the_rows() => {
                    let Some(refused) = unwritten.pop_front() else { break };
                    if refused.rows() > 1 {
                        let [one, other] = refused.split();
                        unwritten.push_front(other);
                        unwritten.push_front(one);
                    } else {
                        self.dropped.fetch_add(refused.disputes.len() as u64, Ordering::Relaxed);
                        log::error!("the store does not take a count, which is lost: {error}");
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Writing {
    /// Writes what is left. No batch may be added any more.
    pub(super) async fn finish(self) {
        let _ = self.stop.send(());
        if let Err(error) = self.task.await {
            log::error!("the task that stores counts of label pairs ended badly: {error}");
        }
    }
}

async fn write(matrix: Matrix, store: Store, mut stopped: oneshot::Receiver<()>) {
    let mut ticks = tokio::time::interval(EVERY);
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
            // What gathered while an earlier batch waited.
            done = matrix.flush(&store, &mut unwritten).await;
        }
        if done.is_ok() && writings.is_multiple_of(FORGET_AFTER) && !last {
            done = store.forget_said(super::seconds_now() - KEPT_SECONDS).await;
        }
        if done.is_ok() && writings.is_multiple_of(FORGET_AFTER) && !last {
            done = store.forget_writings(super::seconds_now() - WRITTEN_SECONDS).await;
        }
        writings = writings.wrapping_add(1);
        // Once a trouble, not once a writing.
        match &done {
            Err(error) if !failing => log::warn!("counts of label pairs wait for the store: {error}"),
            Ok(()) if failing => log::info!("counts of label pairs are stored again"),
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

    /// Case A6, whatever a database refuses a row for.
    #[tokio::test]
    async fn a_row_that_is_refused_is_dropped_alone() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/store", folder.path().display());
        let store = Store::create(&url, &Options::default(), Arc::new(())).await.unwrap();
        let mut other = AnyConnection::connect(&url).await.unwrap();
        let refusing = "CREATE TRIGGER t BEFORE INSERT ON label_pairs WHEN NEW.rule_label = 'odd' \
             BEGIN SELECT RAISE(ABORT, 'odd'); END";
        other.execute(refusing).await.unwrap();
        let matrix = Matrix::default();
        let mut unwritten = VecDeque::from([cells(&["a", "odd", "b", "c", "d"]), cells(&["a"])]);
        matrix.flush(&store, &mut unwritten).await.unwrap();
        assert!(unwritten.is_empty());
        let stored = store.said(0, &[]).await.unwrap().pairs;
        let items = |label: &str| stored.iter().find(|pair| pair.rule.as_deref() == Some(label)).map(|pair| pair.items);
        assert_eq!(["a", "b", "c", "d", "odd"].map(items), [Some(2), Some(1), Some(1), Some(1), None]);
    }

    /// Case A3b: what could not be written waits as it is, and what gathers meanwhile is not mixed with it.
    #[tokio::test]
    async fn a_batch_whose_end_was_not_seen_is_tried_again_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/store", folder.path().display());
        let store = Store::create(&url, &Options::default(), Arc::new(())).await.unwrap();
        let gone = Store::open(&url, &Options::default(), Arc::new(())).await.unwrap();
        gone.close().await;
        let matrix = Matrix::default();
        let batch = cells(&["a"]);
        let mut unwritten = VecDeque::from([batch.clone()]);
        matrix.flush(&gone, &mut unwritten).await.unwrap_err();
        assert_eq!(unwritten.iter().collect::<Vec<_>>(), [&batch]);
        // The store had taken it all the same.
        store.add_said(&batch, 1).await.unwrap();
        matrix.flush(&store, &mut unwritten).await.unwrap();
        assert_eq!(store.said(0, &[]).await.unwrap().pairs[0].items, 1);
    }
}
