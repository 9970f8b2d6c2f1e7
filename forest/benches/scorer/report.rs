//! The result: rows, the ratios that the targets are about, and a table to read.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::{Value, json};

use crate::machine;
use crate::measure::{self, Cache, Case};
use crate::served::EndToEnd;

pub(crate) struct Row {
    engine: &'static str,
    case: Case,
    /// Microseconds per row: the middle round's median call, that of the quickest round, that of the slowest.
    median: f64,
    quickest: f64,
    slowest: f64,
    /// Microseconds per row that a call costs without the model.
    overhead: Option<f64>,
    /// Whether this was measured, or is what a single row lets expect.
    measured: bool,
}

impl Row {
    /// From the microseconds of the median call of each round.
    pub(crate) fn new(engine: &'static str, case: Case, rounds: Vec<f64>, overhead: Option<f64>) -> Row {
        let per_row: Vec<f64> = rounds.iter().map(|call| call / case.batch as f64).collect();
        let bound = |pick: fn(f64, f64) -> f64| per_row.iter().copied().reduce(pick).unwrap_or(f64::NAN);
        Row {
            engine,
            case,
            median: measure::median(per_row.clone()),
            quickest: bound(f64::min),
            slowest: bound(f64::max),
            overhead: overhead.map(|call| call / case.batch as f64),
            measured: true,
        }
    }

    fn net(&self) -> f64 {
        self.median - self.overhead.unwrap_or(0.0)
    }

    fn json(&self) -> Value {
        let round = |microseconds: f64| (microseconds * 100.0).round() / 100.0;
        json!({
            "engine": self.engine,
            "trees": self.case.trees,
            "batch": self.case.batch,
            "cache": if self.case.cache == Cache::Cold { "cold" } else { "warm" },
            "us_per_row": round(self.median),
            "spread": [round(self.quickest), round(self.slowest)],
            "overhead_us_per_row": self.overhead.map(round),
            "us_per_row_net": round(self.net()),
            "measured": self.measured,
        })
    }
}

#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    pub(crate) end_to_end: Option<EndToEnd>,
}

impl Report {
    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Notes what was not worth waiting for.
    pub(crate) fn skip(&mut self, engine: &'static str, case: Case, expected: f64) {
        self.rows.push(Row { measured: false, ..Row::new(engine, case, vec![expected * case.batch as f64], None) });
    }

    fn find(&self, trees: usize, batch: usize, cache: Cache) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.case == Case { trees, batch, cache })
    }

    /// The forest inside tract, as it serves, over the best of the others without their overhead; 2,000 trees.
    fn ratio(&self, batch: usize, cache: Cache) -> f64 {
        let of = |ours: bool| {
            let rows = self.find(2_000, batch, cache).filter(move |row| row.engine.starts_with("forest") == ours);
            rows.filter(|row| row.engine != "forest").map(Row::net).reduce(f64::min).unwrap_or(f64::NAN)
        };
        (of(true) / of(false) * 1e4).round() / 1e4
    }

    /// Time per tree and row at 6,000 trees over that at 600, in batches: 1 is linear.
    fn growth(&self) -> f64 {
        let per_tree = |trees: usize| {
            let ours = self.find(trees, 64, Cache::Warm).find(|row| row.engine == "forest in tract");
            ours.map_or(f64::NAN, |row| row.net() / trees as f64)
        };
        (per_tree(6_000) / per_tree(600) * 1e4).round() / 1e4
    }

    pub(crate) fn json(&self) -> Result<String> {
        let report = json!({
            "name": "scorer",
            "command": "make bench-scorer",
            "machine": machine::describe(),
            "date": machine::date(),
            "commit": machine::commit(),
            "case": "LightGBM, 31 leaves, 20 classes, 60 features, every second of them missing in 5 % of rows; one core",
            "rows": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
            "end_to_end": self.end_to_end.as_ref().map(EndToEnd::json),
            "ratios": {
                "batch1_vs_best": self.ratio(1, Cache::Warm),
                "batch64_vs_best": self.ratio(64, Cache::Warm),
                "batch1_cold_vs_best": self.ratio(1, Cache::Cold),
                "per_tree_6000_vs_600": self.growth(),
                "suggestion_vs_model_and_empty": self.end_to_end.as_ref().map(EndToEnd::ratio),
            },
        });
        Ok(serde_json::to_string_pretty(&report)? + "\n")
    }

    pub(crate) fn table(&self) -> String {
        let mut table = String::from("microseconds per row\n");
        let engines = ["forest", "forest in tract", "lightgbm", "onnxruntime", "tract"];
        let _ = writeln!(
            table,
            "{:>6} {:>6} {:>5} {}",
            "trees",
            "batch",
            "cache",
            engines.map(|e| format!("{e:>16}")).join("")
        );
        let mut cases: Vec<Case> = self.rows.iter().map(|row| row.case).collect();
        cases.dedup();
        for case in cases {
            let cell = |engine: &str| {
                self.find(case.trees, case.batch, case.cache).find(|row| row.engine == engine).map_or_else(
                    || format!("{:>16}", "–"),
                    |row| format!("{:>15.2}{}", row.net(), if row.measured { " " } else { "*" }),
                )
            };
            let cache = if case.cache == Cache::Cold { "cold" } else { "warm" };
            let _ = writeln!(table, "{:>6} {:>6} {cache:>5} {}", case.trees, case.batch, engines.map(cell).join(""));
        }
        let _ = writeln!(table, "lightgbm, onnxruntime: without what their call costs; * from one row, not measured");
        for (name, batch, cache) in
            [("batch 1", 1, Cache::Warm), ("batch 64", 64, Cache::Warm), ("cold", 1, Cache::Cold)]
        {
            let _ = writeln!(table, "2,000 trees, {name}: {:.3} of the best of the others", self.ratio(batch, cache));
        }
        let _ = writeln!(table, "per tree, 6,000 trees over 600, batch 64: {:.2} (1 is linear)", self.growth());
        if let Some(served) = &self.end_to_end {
            let _ = writeln!(table, "{}", served.line());
        }
        let _ = writeln!(table, "{}", machine::line());
        table
    }
}
