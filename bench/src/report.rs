//! Writes a benchmark's results to `target/bench/NAME.json`, and its table into `docs/benchmarks.md`.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;
use stack::checkout::Checkout;

use crate::machine;

/// The document that holds the tables.
const TABLES: &str = "docs/benchmarks.md";

/// Adds machine, date and commit to `results`, writes them to `target/bench/NAME.json` and returns them.
///
/// # Errors
/// When that cannot be written.
pub(crate) fn write(name: &str, results: Value) -> Result<Value> {
    let mut all = machine::environment();
    if let (Some(all), Value::Object(results)) = (all.as_object_mut(), results) {
        all.insert("name".to_owned(), name.into());
        all.extend(results);
    }
    let folder = Checkout::find()?.file("target/bench");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{name}.json"));
    fs::write(&path, serde_json::to_string_pretty(&all)? + "\n").with_context(|| path.display().to_string())?;
    Ok(all)
}

/// Puts `table` into [`TABLES`] between the marks of that name.
///
/// # Errors
/// When that file has no such marks, or cannot be written.
pub(crate) fn publish(mark: &str, table: &str) -> Result<()> {
    let path = Checkout::find()?.file(TABLES);
    let text = fs::read_to_string(&path)?;
    let text = between(&text, mark, table).with_context(|| format!("{TABLES} has no marks <!-- {mark} -->"))?;
    fs::write(&path, text).with_context(|| path.display().to_string())
}

fn between(text: &str, mark: &str, table: &str) -> Option<String> {
    let (open, close) = (format!("<!-- {mark} -->\n"), format!("<!-- /{mark} -->"));
    let (before, rest) = text.split_once(&open)?;
    let (_, after) = rest.split_once(&close)?;
    Some(format!("{before}{open}{table}{close}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_changes() {
        let text = "a\n<!-- x -->\nold\n<!-- /x -->\nb <!-- y -->\n";
        assert_eq!(between(text, "x", "new\n").as_deref(), Some("a\n<!-- x -->\nnew\n<!-- /x -->\nb <!-- y -->\n"));
        assert_eq!(between(text, "y", "new\n"), None);
    }
}
