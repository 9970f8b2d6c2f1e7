//! Rules whose hours are seconds: every window, offset and `for` becomes shorter and keeps its place in the order, so
//! that the same expressions can be watched for real, in a test, against a stack whose metrics are read every second.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use super::queries::{Kind, Query};

/// A window must hold a few scrapes.
const SHORTEST: u64 = 5;
/// The longest window or wait, in seconds.
pub const LONGEST: u64 = 12;

/// Minutes become seconds, but no less than 5 and no more than 12 of them.
#[must_use]
pub fn duration(original: Duration) -> Duration {
    Duration::from_secs((original.as_secs() / 60).clamp(SHORTEST, LONGEST))
}

/// What the query asks where its rules are shortened too. A panel's own windows stay: they hold whatever there is.
///
/// # Errors
/// When a duration in it is none.
pub fn query(query: &Query) -> anyhow::Result<Query> {
    let expr = match query.kind {
        Kind::Record(_) | Kind::Alert(_) => expression(&query.expr)?,
        Kind::Panel | Kind::Annotation => query.expr.clone(),
    };
    Ok(Query { expr, ..query.clone() })
}

/// A rule file's text with every duration shortened.
///
/// # Errors
/// When it is not a rule file.
pub fn rules(text: &str) -> anyhow::Result<String> {
    let mut rules: Value = serde_yaml_ng::from_str(text)?;
    let groups = rules.get_mut("groups").and_then(Value::as_array_mut).context("no groups")?;
    for group in groups {
        for rule in group.get_mut("rules").and_then(Value::as_array_mut).context("a group without rules")? {
            if let Some(expr) = rule.get("expr").and_then(Value::as_str) {
                let short = expression(expr)?;
                rule["expr"] = short.into();
            }
            for wait in ["for", "keep_firing_for"] {
                if let Some(long) = rule.get(wait).and_then(Value::as_str) {
                    let short = format!("{}s", duration(parsed(long)?).as_secs());
                    rule[wait] = short.into();
                }
            }
        }
    }
    Ok(serde_yaml_ng::to_string(&rules)?)
}

/// An expression with every window and offset shortened.
///
/// # Errors
/// When a duration in it is none.
pub fn expression(expr: &str) -> anyhow::Result<String> {
    let mut out = String::new();
    let mut rest = expr;
    while let Some((before, marker, from)) = next_duration(rest) {
        let (text, after) = from.split_at(from.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(from.len()));
        out += before;
        out += marker;
        out += &format!("{}s", duration(parsed(text)?).as_secs());
        rest = after;
    }
    Ok(out + rest)
}

/// What stands before the next duration, what announces it, and what follows from it on. A label matcher may hold a
/// bracket, so only one before a digit counts.
fn next_duration(text: &str) -> Option<(&str, &str, &str)> {
    let starts = ["[", "offset "].iter().flat_map(|marker| text.match_indices(marker));
    let (at, marker) = starts
        .filter(|(at, marker)| text[at + marker.len()..].starts_with(|c: char| c.is_ascii_digit()))
        .min_by_key(|(at, _)| *at)?;
    Some((&text[..at], marker, &text[at + marker.len()..]))
}

fn parsed(text: &str) -> anyhow::Result<Duration> {
    promql_parser::util::parse_duration(text).map_err(|fault| anyhow::anyhow!("{text:?} is not a duration: {fault}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_offsets_and_waits_become_short_and_nothing_else_changes() {
        let text =
            "groups: [{name: g, rules: [{alert: A, for: 30m, expr: 'rate(m{x=~\"[a]+\"}[7d] offset 1h) < 300'}]}]";
        let short: Value = serde_yaml_ng::from_str(&rules(text).unwrap()).unwrap();
        let rule = &short["groups"][0]["rules"][0];
        assert_eq!(rule["expr"], "rate(m{x=~\"[a]+\"}[12s] offset 12s) < 300");
        assert_eq!(rule["for"], "12s");
        assert_eq!(duration(Duration::from_secs(60)), Duration::from_secs(5));
        assert_eq!(duration(Duration::from_secs(600)), Duration::from_secs(10));
    }
}
