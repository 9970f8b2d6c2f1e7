//! Writes the results as a file and as a table.

use std::fmt::Write as _;

use anyhow::Result;
use contract::names::NotCompared;
use serde_json::{Map, Value, json};

use super::feed::FeedResult;
use super::results::{Results, STEADY_SHARE, Saturated};
use crate::figures::rounded;
use crate::report;

/// Writes `target/bench/system.json`, prints the table, and, where `publish` says so, puts it into the document.
///
/// # Errors
/// When a file cannot be written.
pub(super) fn all(found: &Results, publish: bool) -> Result<()> {
    let results = json!({
        "command": "make bench-system",
        "fed_by": "a program that speaks the gateways' protocol, at the rate of so many gateway cores",
        "in_turns": {
            "requests_a_second_of_a_gateway_core": found.reach.gateway.json(),
            "observations_a_second_of_a_scorer_core": found.reach.scorer.json(),
        },
        "rows": found.cases.iter().map(row).collect::<Vec<_>>(),
        "steady": {
            "share_of_saturation": STEADY_SHARE,
            "sent": found.sent,
            "observed": found.steady.observations,
            "observations_a_second": rounded(found.steady.rate()),
            "none": none(&found.steady),
        },
        "memory": {
            "observations": found.long.observations,
            "bytes": found.memory,
            "none": none(&found.long),
        },
        "ratios": {
            "gateway_cores_per_scorer_core": found.reach.cores.json(),
            "observed_vs_sent": rounded(found.steady.observations as f64 / found.sent.max(1) as f64),
            "memory_end_vs_half": rounded(found.memory_end_vs_half()),
        },
    });
    report::write("system", results)?;
    let table = table(found);
    println!("{table}");
    if publish { report::publish("bench-system", &table) } else { Ok(()) }
}

impl Results {
    /// The memory at the end over that at half time: 1 where it has stopped growing.
    fn memory_end_vs_half(&self) -> f64 {
        let at = |index: usize| self.memory.get(index).map_or(f64::NAN, |bytes| *bytes as f64);
        at(self.memory.len().saturating_sub(1)) / at(self.memory.len() / 2)
    }
}

fn row(saturated: &Saturated) -> Value {
    let case = saturated.case;
    json!({
        "axis": case.axis,
        "value": case.value,
        "bytes": case.load.kind.bytes,
        "items": case.load.kind.items,
        "gateways": case.load.gateways,
        "batch": case.load.batch,
        "users": case.load.users,
        "transactions": case.load.transactions,
        "trees": case.model.trees,
        "labels": case.model.labels,
        "observations_a_second": saturated.rate.json(),
        "cpu": saturated.cpu.json(),
        "cpu_vs_first": saturated.over_first.json(),
        "cpu_per_item": rounded(saturated.cpu.median() / case.load.kind.items as f64),
        "cpu_per_item_vs_first": rounded(saturated.over_first.median() / case.load.kind.items as f64),
        "none": none(&saturated.last),
    })
}

fn none(result: &FeedResult) -> Value {
    let reasons = result
        .not_compared
        .iter()
        .map(|(reason, items): (&NotCompared, &u64)| (reason.as_str().to_owned(), json!(items)));
    Value::Object(reasons.collect::<Map<_, _>>())
}

fn table(found: &Results) -> String {
    let mut table = String::new();
    let Some(first) = found.cases.first() else { return table };
    let megabytes = |bytes: Option<&u64>| bytes.map_or(f64::NAN, |bytes| *bytes as f64 / 1e6);
    let _ = writeln!(
        table,
        "{}. One scorer core, a model of {} trees and {} labels, observes {:.0} requests a second, {:.1} \
         ({:.1}–{:.1}) times what \
         a gateway core at saturation sends ({:.0}), the two in turns. At {:.0}% of that: {} sent, {} observed. \
         Memory: {:.0} MB at \
         rest, {:.0} MB after half and {:.0} MB after all of {} observations.\n",
        crate::machine::name(),
        first.case.model.trees,
        first.case.model.labels,
        found.reach.scorer.median(),
        found.reach.cores.median(),
        found.reach.cores.least(),
        found.reach.cores.most(),
        found.reach.gateway.median(),
        STEADY_SHARE * 100.0,
        found.sent,
        found.steady.observations,
        megabytes(found.memory.first()),
        megabytes(found.memory.get(found.memory.len() / 2)),
        megabytes(found.memory.last()),
        found.long.observations,
    );
    table.push_str(
        "| what differs | CPU an observation, µs | × first, round by round | an item, µs | × first \
         |\n|---|---|---|---|---|\n",
    );
    for saturated in &found.cases {
        let (case, cpu, over) = (saturated.case, &saturated.cpu, &saturated.over_first);
        let name = match case.axis {
            "first" => "1 KiB, one item, 4 gateways, 10,000 users".to_owned(),
            axis => format!("{} {axis}", case.value),
        };
        let items = case.load.kind.items as f64;
        let _ = writeln!(
            table,
            "| {name} | {:.1} ({:.1}–{:.1}) | {:.2} ({:.2}–{:.2}) | {:.1} | {:.2} |",
            cpu.median(),
            cpu.least(),
            cpu.most(),
            over.median(),
            over.least(),
            over.most(),
            cpu.median() / items,
            over.median() / items,
        );
    }
    table
}
