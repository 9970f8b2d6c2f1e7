//! What both sides said of the same items, and what people took: tables `label_pairs`, `agreement_groups`, `disputes`.
//! Written in aggregate, read in aggregate: neither grows with the traffic of a moment.

use contract::analysis::{MOST_PAIRS, Pair, PairFeedback, Took};
use contract::evidence::{Clusters, Feedback};
use contract::names::{Arm, Cohort};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use super::sql::Marks;
use super::transaction::Transaction;
use super::{Store, StoreError};

/// Items of one cell in one slot of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairRow {
    /// Beginning of the slot, in seconds since 1970.
    pub slot: i64,
    /// Who answered the client.
    pub arm: Arm,
    /// The user's cohort.
    pub cohort: Cohort,
    /// The baseline's label, empty without one.
    pub rule: String,
    /// The candidate's label, empty without one.
    pub model: String,
    /// How many.
    pub items: i64,
}

/// Judged items of a group of users in one slot of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupRow {
    /// Beginning of the slot, in seconds since 1970.
    pub slot: i64,
    /// The users' cohort.
    pub cohort: Cohort,
    /// Which group, below [`contract::analysis::USER_GROUPS`].
    pub group: i64,
    /// Items on which both sides have an opinion.
    pub judged: i64,
    /// Items on which it is the same.
    pub agreed: i64,
}

/// An answer on which the other side disagrees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispute {
    /// The suggestion's event.
    pub event_id: String,
    /// Who answered the client.
    pub arm: Arm,
    /// The user's cohort.
    pub cohort: Cohort,
    /// The baseline's label.
    pub rule: String,
    /// The candidate's label.
    pub model: String,
    /// The user's pseudonym, 16 hex digits.
    pub bucket: String,
    /// Seconds since 1970.
    pub created_at: i64,
}

/// Counts and disputes that are written together, once: written again under the same id, they count no second time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountBatch {
    id: String,
    /// Items by cell.
    pub pairs: Vec<PairRow>,
    /// Judged items by group.
    pub groups: Vec<GroupRow>,
    /// Single rows.
    pub disputes: Vec<Dispute>,
}

impl CountBatch {
    /// A batch that was not written before.
    #[must_use]
    pub fn new(pairs: Vec<PairRow>, groups: Vec<GroupRow>, disputes: Vec<Dispute>) -> Self {
        Self { id: uuid::Uuid::now_v7().to_string(), pairs, groups, disputes }
    }

    /// How many rows it has.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.pairs.len() + self.groups.len() + self.disputes.len()
    }

    /// The same rows in two batches that were not written before, for one of which the store does not take a row.
    #[must_use]
    pub fn split(mut self) -> [Self; 2] {
        let half = |rows: usize| rows.div_ceil(2);
        let single = |rows: usize| rows <= 1;
        // One kind of rows at a time, so that two batches of one row each come of one pair and one dispute.
        let (pairs, groups, disputes) = (self.pairs.len(), self.groups.len(), self.disputes.len());
        let kinds = [pairs, groups, disputes].iter().filter(|rows| **rows > 0).count();
        if kinds > 1 && single(pairs) && single(groups) && single(disputes) {
            let pairs = std::mem::take(&mut self.pairs);
            return [Self::new(pairs, Vec::new(), Vec::new()), Self::new(Vec::new(), self.groups, self.disputes)];
        }
        let other = Self::new(
            self.pairs.split_off(half(pairs)),
            self.groups.split_off(half(groups)),
            self.disputes.split_off(half(disputes)),
        );
        [Self::new(self.pairs, self.groups, self.disputes), other]
    }
}

/// What the store holds of a span of time, without users and samples.
#[derive(Debug, Clone, PartialEq)]
pub struct AnalysisCounts {
    /// See [`contract::analysis::Analysis::pairs`].
    pub pairs: Vec<Pair>,
    /// See [`contract::analysis::Analysis::agreement`].
    pub agreement: Clusters,
    /// See [`contract::analysis::Analysis::feedback`].
    pub feedback: Feedback,
    /// See [`contract::analysis::Analysis::disputed`].
    pub disputed: Feedback,
    /// See [`contract::analysis::Analysis::taken`].
    pub taken: Vec<PairFeedback>,
}

const MOST_ROWS: usize = 500;

/// Sums over users of what one of them said, `k` times and `a` of them accepts. PostgreSQL's SUM is of a type that the
/// driver for both does not read, hence the casts.
const CLUSTERS: &str = "SELECT arm, COUNT(*), CAST(SUM(k) AS BIGINT), CAST(SUM(a) AS BIGINT), CAST(SUM(k * k) AS BIGINT), \
     CAST(SUM(a * a) AS BIGINT), CAST(SUM(k * a) AS BIGINT) FROM (SELECT e.arm AS arm, COUNT(*) AS k, \
     COUNT(CASE WHEN f.action = 'accept' THEN 1 END) AS a FROM feedback f JOIN {events} e ON e.event_id = f.event_id \
     WHERE f.received_at >= $1 AND e.created_at >= $1 AND e.bucket <> '' AND e.cohort NOT IN ($2, $3, $4) \
     GROUP BY e.arm, e.bucket) AS by_user GROUP BY arm";

impl Store {
    /// Adds counts, and stores disputes, each once: all of it or nothing, and nothing if this batch is stored already.
    /// When the outcome of a write is unknown, since the store stalls, the same batch can be written again.
    ///
    /// # Errors
    /// When the store does not take it, or it is not known whether it did.
    pub async fn add_counts(&self, batch: &CountBatch, now: i64) -> Result<(), StoreError> {
        let work = async {
            let mut transaction = Transaction::begin(&self.pool, &self.place).await?;
            if !begin_writing(transaction.connection(), &batch.id, now).await? {
                return transaction.commit().await;
            }
            for chunk in batch.pairs.chunks(MOST_ROWS) {
                add_pairs(transaction.connection(), self.marks(), chunk).await?;
            }
            for chunk in batch.groups.chunks(MOST_ROWS) {
                add_groups(transaction.connection(), self.marks(), chunk).await?;
            }
            for chunk in batch.disputes.chunks(MOST_ROWS) {
                add_disputes(transaction.connection(), self.marks(), chunk).await?;
            }
            transaction.commit().await
        };
        self.within(work).await
    }

    /// Forgets which batches were written before `before` (seconds since 1970). One that is older must not be written
    /// again.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn forget_writings(&self, before: i64) -> Result<(), StoreError> {
        let query = sqlx::query("DELETE FROM writings WHERE written_at < $1").bind(before);
        self.within(query.execute(&self.pool)).await.map(drop)
    }

    /// Forgets what is older than `before` (seconds since 1970), so that the tables have a bound.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn forget_counts(&self, before: i64) -> Result<(), StoreError> {
        for statement in [
            "DELETE FROM label_pairs WHERE slot < $1",
            "DELETE FROM agreement_groups WHERE slot < $1",
            "DELETE FROM disputes WHERE created_at < $1",
        ] {
            self.within(sqlx::query(statement).bind(before).execute(&self.pool)).await?;
        }
        Ok(())
    }

    /// Counts since `since` (seconds since 1970), without the users of the cohorts `left_out`.
    ///
    /// # Errors
    /// When the store does not reply in time.
    pub async fn analysis_counts(&self, since: i64, left_out: &[Cohort]) -> Result<AnalysisCounts, StoreError> {
        Ok(AnalysisCounts {
            pairs: self.pairs(since, left_out).await?,
            agreement: self.agreement(since, left_out).await?,
            feedback: self.clusters("suggestion_events", since, left_out).await?,
            disputed: self.clusters("disputes", since, left_out).await?,
            taken: self.pair_feedback(since, left_out).await?,
        })
    }

    async fn pairs(&self, since: i64, left_out: &[Cohort]) -> Result<Vec<Pair>, StoreError> {
        let statement = format!(
            "SELECT rule_label, model_label, arm, CAST(SUM(items) AS BIGINT) AS items FROM label_pairs \
             WHERE slot >= $1 AND cohort NOT IN ($2, $3, $4) GROUP BY rule_label, model_label, arm \
             ORDER BY items DESC, rule_label, model_label, arm LIMIT {MOST_PAIRS}"
        );
        let opinion = |label: String| Some(label).filter(|label| !label.is_empty());
        self.rows(statement, since, left_out, |row| {
            Ok(Pair {
                rule: opinion(row.try_get(0)?),
                model: opinion(row.try_get(1)?),
                served: arm(row, 2)?,
                items: count(row, 3)?,
            })
        })
        .await
    }

    async fn agreement(&self, since: i64, left_out: &[Cohort]) -> Result<Clusters, StoreError> {
        let statement = "SELECT CAST(SUM(judged) AS BIGINT), CAST(SUM(agreed) AS BIGINT) FROM agreement_groups \
             WHERE slot >= $1 AND cohort NOT IN ($2, $3, $4) GROUP BY user_group";
        let read = |row: &AnyRow| Ok((count(row, 0)?, count(row, 1)?));
        let mut clusters = Clusters::default();
        for (judged, agreed) in self.rows(statement.to_owned(), since, left_out, read).await? {
            clusters.add(judged, agreed);
        }
        Ok(clusters)
    }

    async fn clusters(&self, events: &str, since: i64, left_out: &[Cohort]) -> Result<Feedback, StoreError> {
        let read = |row: &AnyRow| {
            let clusters = Clusters {
                users: count(row, 1)?,
                given: count(row, 2)?,
                accepted: count(row, 3)?,
                given_squared: count(row, 4)?,
                accepted_squared: count(row, 5)?,
                given_accepted: count(row, 6)?,
            };
            Ok((arm(row, 0)?, clusters))
        };
        let mut feedback = Feedback::default();
        for (arm, clusters) in self.rows(CLUSTERS.replace("{events}", events), since, left_out, read).await? {
            match arm {
                Arm::Baseline => feedback.rule = clusters,
                Arm::Candidate => feedback.model = clusters,
            }
        }
        Ok(feedback)
    }

    /// A reject that names the label that was served says only what it is not; one that names another is a correction.
    async fn pair_feedback(&self, since: i64, left_out: &[Cohort]) -> Result<Vec<PairFeedback>, StoreError> {
        let statement = format!(
            "SELECT rule_label, model_label, arm, took, COUNT(*) AS times FROM (SELECT d.rule_label, d.model_label, d.arm, \
             CASE WHEN f.action = 'reject' AND f.label = CASE WHEN d.arm = 'candidate' THEN d.model_label ELSE d.rule_label END \
             THEN 'nothing' WHEN f.label = d.rule_label THEN 'rule' WHEN f.label = d.model_label THEN 'model' \
             ELSE 'another' END AS took FROM feedback f JOIN disputes d ON d.event_id = f.event_id \
             WHERE f.received_at >= $1 AND d.created_at >= $1 AND d.cohort NOT IN ($2, $3, $4)) AS choices \
             GROUP BY rule_label, model_label, arm, took ORDER BY times DESC, rule_label, model_label, arm, took \
             LIMIT {MOST_PAIRS}"
        );
        self.rows(statement, since, left_out, |row| {
            let took: String = row.try_get(3)?;
            Ok(PairFeedback {
                rule: row.try_get(0)?,
                model: row.try_get(1)?,
                served: arm(row, 2)?,
                took: Took::ALL.into_iter().find(|one| one.as_str() == took).unwrap_or(Took::Another),
                times: count(row, 4)?,
            })
        })
        .await
    }

    /// Rows of a statement whose parameters are the beginning and the cohorts that are left out.
    async fn rows<T>(
        &self,
        statement: String,
        since: i64,
        left_out: &[Cohort],
        read: impl Fn(&AnyRow) -> Result<T, sqlx::Error>,
    ) -> Result<Vec<T>, StoreError> {
        let mut query = sqlx::query(AssertSqlSafe(statement)).bind(since);
        // As many parameters as there are cohorts; an empty one matches none.
        for at in 0..Cohort::ALL.len() {
            query = query.bind(left_out.get(at).map_or("", |cohort| cohort.as_str()));
        }
        let rows = self.within(query.fetch_all(&self.pool)).await?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(|cause| self.failed(cause))
    }
}

fn arm(row: &AnyRow, place: usize) -> Result<Arm, sqlx::Error> {
    let text: String = row.try_get(place)?;
    Ok(if text == Arm::Candidate.as_str() { Arm::Candidate } else { Arm::Baseline })
}

fn count(row: &AnyRow, place: usize) -> Result<u64, sqlx::Error> {
    row.try_get::<i64, _>(place).map(|n| u64::try_from(n).unwrap_or(0))
}

/// Marks a batch as written; `false` if it is.
async fn begin_writing(connection: &mut AnyConnection, id: &str, now: i64) -> Result<bool, sqlx::Error> {
    let query = sqlx::query(
        "INSERT INTO writings (writing_id, written_at) VALUES ($1, $2) ON CONFLICT (writing_id) DO NOTHING",
    );
    Ok(query.bind(id).bind(now).execute(connection).await?.rows_affected() > 0)
}

async fn add_pairs(connection: &mut AnyConnection, marks: Marks, rows: &[PairRow]) -> Result<(), sqlx::Error> {
    let statement = format!(
        "INSERT INTO label_pairs (slot, arm, cohort, rule_label, model_label, items) VALUES {} ON CONFLICT \
         (slot, arm, cohort, rule_label, model_label) DO UPDATE SET items = label_pairs.items + excluded.items",
        marks.rows(rows.len(), 6)
    );
    let mut query = sqlx::query(AssertSqlSafe(statement));
    for row in rows {
        query = query.bind(row.slot).bind(row.arm.as_str()).bind(row.cohort.as_str());
        query = query.bind(row.rule.as_str()).bind(row.model.as_str()).bind(row.items);
    }
    query.execute(connection).await.map(drop)
}

async fn add_groups(connection: &mut AnyConnection, marks: Marks, rows: &[GroupRow]) -> Result<(), sqlx::Error> {
    let statement = format!(
        "INSERT INTO agreement_groups (slot, cohort, user_group, judged, agreed) VALUES {} ON CONFLICT \
         (slot, cohort, user_group) DO UPDATE SET judged = agreement_groups.judged + excluded.judged, \
         agreed = agreement_groups.agreed + excluded.agreed",
        marks.rows(rows.len(), 5)
    );
    let mut query = sqlx::query(AssertSqlSafe(statement));
    for row in rows {
        query = query.bind(row.slot).bind(row.cohort.as_str()).bind(row.group).bind(row.judged).bind(row.agreed);
    }
    query.execute(connection).await.map(drop)
}

async fn add_disputes(connection: &mut AnyConnection, marks: Marks, rows: &[Dispute]) -> Result<(), sqlx::Error> {
    let statement = format!(
        "INSERT INTO disputes (event_id, arm, cohort, rule_label, model_label, bucket, created_at) VALUES {} \
         ON CONFLICT (event_id) DO NOTHING",
        marks.rows(rows.len(), 7)
    );
    let mut query = sqlx::query(AssertSqlSafe(statement));
    for row in rows {
        query = query.bind(row.event_id.as_str()).bind(row.arm.as_str()).bind(row.cohort.as_str());
        query = query.bind(row.rule.as_str()).bind(row.model.as_str()).bind(row.bucket.as_str());
        query = query.bind(row.created_at);
    }
    query.execute(connection).await.map(drop)
}
