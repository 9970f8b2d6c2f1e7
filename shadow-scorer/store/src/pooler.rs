//! Whether a connection pooler gives each transaction another session of the server.
//!
//! In transaction mode prepared statements, the statement timeout and the lock that migrations hold are another
//! session's a moment later, in part without an error: a timeout that is set here would be met by other programs, and a
//! lock stay for ever. So such a place is refused at the start, with what to set.
//!
//! A second connection that finds a setting made by the first, which no two sessions share, has the first one's
//! session.

use sqlx::{AnyConnection, Connection as _, Row as _};

use super::StoreError;
use super::classify::classify;
use super::place::Place;

/// Refuses a place whose connections share sessions. `connection` is one to it.
pub(crate) async fn refuse(place: &Place, connection: &mut AnyConnection) -> Result<(), StoreError> {
    let classified = |cause| classify(place, cause);
    let mark = uuid::Uuid::new_v4().to_string();
    // Simple queries: prepared ones are what such a pooler cannot keep.
    run(connection, &format!("SET perch.session = '{mark}'")).await.map_err(classified)?;
    let mut other = match AnyConnection::connect(&place.connect_url()).await.map_err(classified) {
        // The last connection there was: whether there are enough is found out by those who need them.
        Err(StoreError::NoConnection { .. }) => return Ok(()),
        connected => connected?,
    };
    let query = sqlx::raw_sql("SELECT COALESCE(current_setting('perch.session', true), '')");
    let row = sqlx::Executor::fetch_one(&mut other, query).await.map_err(classified)?;
    let seen: String = row.try_get(0).map_err(classified)?;
    run(connection, "RESET perch.session").await.map_err(classified)?;
    other.close().await.map_err(classified)?;
    if seen == mark {
        let cause = "two connections to it had one session".to_owned();
        return Err(StoreError::Pooler { place: place.to_string(), cause });
    }
    Ok(())
}

async fn run(connection: &mut AnyConnection, statement: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(connection).await.map(drop)
}
