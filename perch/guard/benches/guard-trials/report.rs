//! The table that people read, and the file that other programs read.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Map, Value, json};

/// The value of `name` on the command line.
pub(crate) fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.next().map(|_| arguments.next().unwrap_or_default())
}

/// The same as a number.
pub(crate) fn number_argument(name: &str) -> Result<Option<u64>, String> {
    let parse = |value: String| value.parse().map_err(|_| format!("{name} {value:?} is not a whole number"));
    argument(name).map(parse).transpose()
}

#[allow(clippy::print_stderr, reason = "the only way of a program to complain")]
pub(crate) fn complain(error: &str) {
    eprintln!("guard-trials: {error}");
}

pub(crate) fn print(alarms: &[Value], delays: &[Value], coverage: &[Value]) {
    println!("\nNothing wrong: ramps stopped all the same");
    println!("{:<52} {:>9} {:>10} {:>9} {:>9} {:>9}", "", "rollouts", "rolled back", "frozen", "completed", "requests");
    for row in alarms {
        println!(
            "{:<52} {:>9} {:>9.2}% {:>7.2}% {:>7.1}% {:>9.0}",
            text(row, "trial"),
            number(row, "rollouts"),
            100.0 * number(row, "false_rollback_rate"),
            100.0 * number(row, "false_freeze_rate"),
            100.0 * number(row, "completed"),
            number(row, "mean_requests"),
        );
    }
    println!("\nSomething wrong: what it takes to say so, beside a test of fixed size (1%, power 90%)");
    println!("{:<52} {:>8} {:>8} {:>8} {:>8} {:>7}", "", "mean", "median", "p90", "optimum", "ratio");
    for row in delays {
        println!(
            "{:<52} {:>8.0} {:>8.0} {:>8.0} {:>8.0} {:>7.2}  {}, caught {:.1}%",
            text(row, "trial"),
            number(row, "mean"),
            number(row, "median"),
            number(row, "p90"),
            number(row, "fixed_sample_optimum"),
            number(row, "delay_vs_optimum"),
            text(row, "unit"),
            100.0 * number(row, "caught"),
        );
    }
    println!("\nCoverage of each interval, looked at all the time (nominal 95%)");
    for row in coverage {
        println!(
            "{:<52} {:>8.2}%   mean evidence against the truth {:.3}",
            text(row, "trial"),
            100.0 * number(row, "coverage"),
            number(row, "mean_evidence_against_the_truth"),
        );
    }
}

pub(crate) fn verdict(kept: bool, false_rollback_rate: f64, delay_vs_optimum: f64) {
    let word = if kept { "kept" } else { "BROKEN" };
    println!("\nfalse_rollback_rate {false_rollback_rate:.4}, delay_vs_optimum {delay_vs_optimum:.2}: promises {word}");
}

/// Adds where and when to `results` and writes them to `target/bench/guard-trials.json`.
pub(crate) fn write(results: Value) -> Result<(), String> {
    let mut all = Map::new();
    all.insert("machine".to_owned(), json!(machine()));
    all.insert("date".to_owned(), json!(output("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"])));
    all.insert("commit".to_owned(), json!(output("git", &["rev-parse", "HEAD"])));
    if let Value::Object(results) = results {
        all.extend(results);
    }
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/bench");
    let path = folder.join("guard-trials.json");
    let fault = |error: std::io::Error| format!("{}: {error}", path.display());
    std::fs::create_dir_all(&folder).map_err(fault)?;
    let text = serde_json::to_string_pretty(&Value::Object(all)).map_err(|error| error.to_string())?;
    std::fs::write(&path, text + "\n").map_err(fault)
}

fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{}, {cores} cores", model.trim_start_matches(['\t', ':', ' ']))
}

/// What a program prints; "unknown" where it cannot be run.
fn output(program: &str, arguments: &[&str]) -> String {
    let run = Command::new(program).args(arguments).output();
    let text = run.ok().filter(|run| run.status.success()).and_then(|run| String::from_utf8(run.stdout).ok());
    text.map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
}

pub(crate) fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row.get(key).and_then(Value::as_str).unwrap_or("")
}

pub(crate) fn number(row: &Value, key: &str) -> f64 {
    row.get(key).and_then(Value::as_f64).unwrap_or(f64::NAN)
}
