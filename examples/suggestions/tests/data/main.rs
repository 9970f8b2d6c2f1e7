//! The data side against real stores: SQLite always, PostgreSQL as well where `PERCH_TEST_POSTGRES_URL` names a server on
//! which databases may be made (`tests/with-postgres` starts one).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected fails there")]

mod analysis;
mod backend;
mod export;
mod feedback;
mod poolers;
mod stalls;
mod stores;
mod training;
mod trouble;

mod fixture;
