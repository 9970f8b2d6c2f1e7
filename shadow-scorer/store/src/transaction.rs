//! A transaction whose connection never goes back to the pool with it open.
//!
//! A future that is dropped while BEGIN or COMMIT is on the wire leaves the driver without knowledge of what the server
//! did: what others write on that connection afterwards would be inside a transaction that nobody commits. So a
//! transaction that did not see its own end closes its connection. A COMMIT that was sent may still be done by the
//! server: whoever repeats the work must be able to tell (see [`super::CountBatch`]).

use sqlx::any::Any;
use sqlx::pool::PoolConnection;
use sqlx::{AnyConnection, AnyPool};

use super::place::Place;

/// An open transaction.
pub(crate) struct Transaction {
    connection: PoolConnection<Any>,
    ended: bool,
}

impl Transaction {
    /// Begins one; on SQLite it holds the write lock from here on.
    pub(crate) async fn begin(pool: &AnyPool, place: &Place) -> Result<Self, sqlx::Error> {
        let mut this = Self { connection: pool.acquire().await?, ended: false };
        let begin = if place.is_postgres() { "BEGIN" } else { "BEGIN IMMEDIATE" };
        sqlx::raw_sql(begin).execute(&mut *this.connection).await?;
        Ok(this)
    }

    /// What statements run on.
    pub(crate) fn connection(&mut self) -> &mut AnyConnection {
        &mut self.connection
    }

    /// Ends it; all of it is done then.
    pub(crate) async fn commit(mut self) -> Result<(), sqlx::Error> {
        sqlx::raw_sql("COMMIT").execute(&mut *self.connection).await?;
        self.ended = true;
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.ended {
            self.connection.close_on_drop();
        }
    }
}
