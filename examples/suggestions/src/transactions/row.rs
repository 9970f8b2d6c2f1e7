//! A transaction as a row of the table `transactions`.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::features::Transaction;
use crate::features::transaction::{hour, weekday};

/// The columns that [`read_row`] reads.
pub(super) const COLUMNS: &str =
    "t.id, t.occurred_at, t.merchant, t.memo, t.amount_cents, t.channel, t.mcc, t.is_subscription, t.is_p2p";

/// Id, time and transaction of a row of [`COLUMNS`].
pub(super) fn read_row(row: &AnyRow) -> Result<(i64, i64, Transaction), sqlx::Error> {
    let occurred_at: i64 = row.try_get(1)?;
    let cents: i64 = row.try_get(4)?;
    let mcc: Option<i64> = row.try_get(6)?;
    let flag = |place: usize| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(place)?.map(|flag| flag != 0));
    let transaction = Transaction {
        merchant: row.try_get(2)?,
        memo: row.try_get(3)?,
        #[allow(clippy::cast_precision_loss)] // cents are exact up to 2^53
        amount: Some(cents as f64 / 100.0),
        mcc: mcc.and_then(|mcc| u16::try_from(mcc).ok()),
        channel: row.try_get(5)?,
        hour: Some(hour(occurred_at)),
        weekday: Some(weekday(occurred_at)),
        subscription: flag(7)?,
        p2p: flag(8)?,
    };
    Ok((row.try_get(0)?, occurred_at, transaction))
}
