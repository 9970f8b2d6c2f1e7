//! The audit log, a page at a time.

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Html;
use serde::{Deserialize, Serialize};

use super::PageError;
use super::status::{self, EntryRow};
use crate::Console;

/// Entries on a page.
const PAGE: usize = 50;

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Parameters {
    /// Entries older than this one.
    before: Option<u64>,
}

#[derive(Serialize)]
struct Audit {
    count: String,
    page: Vec<EntryRow>,
    older: Option<u64>,
    newer: bool,
}

pub(crate) async fn show(
    State(console): State<Console>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Result<Html<String>, PageError> {
    let entries = console.entries()?;
    let before = parameters.before.unwrap_or(u64::MAX);
    let page: Vec<_> = entries.iter().filter(|entry| entry.number < before).take(PAGE).collect();
    let first = page.last().map(|entry| entry.number);
    let count = if entries.len() == 1 { "1 entry".to_owned() } else { format!("{} entries", entries.len()) };
    let view = Audit {
        count,
        older: first.filter(|number| *number > 1),
        newer: parameters.before.is_some(),
        page: page.into_iter().map(status::entry_row).collect(),
    };
    console.page(&headers, "audit.html", "Audit", view)
}
