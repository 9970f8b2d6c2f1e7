//! The state that a gateway reports, and how to search its configuration dump.

use clients::Scrape;
use serde_json::{Map, Value};

/// The state that one gateway reports.
#[derive(Debug, Clone, Copy)]
pub struct Gateway<'a> {
    /// Its admin address, for the findings.
    pub url: &'a str,
    /// `/config_dump`.
    pub dump: &'a Value,
    /// `/runtime`.
    pub runtime: &'a Value,
    /// `/stats/prometheus`.
    pub scrape: &'a Scrape,
}

/// Collects every object at or below `at`.
fn objects<'a>(at: &'a Value, out: &mut Vec<&'a Map<String, Value>>) {
    match at {
        Value::Object(fields) => {
            out.push(fields);
            fields.values().for_each(|value| objects(value, out));
        }
        Value::Array(items) => items.iter().for_each(|item| objects(item, out)),
        _ => {}
    }
}

/// Every object in `dump`, at any depth.
pub(super) fn all(dump: &Value) -> Vec<&Map<String, Value>> {
    let mut found = Vec::new();
    objects(dump, &mut found);
    found
}

/// The bootstrap configuration.
pub(super) fn bootstrap(dump: &Value) -> Option<&Value> {
    dump.get("configs")?.as_array()?.iter().find_map(|config| config.get("bootstrap"))
}
