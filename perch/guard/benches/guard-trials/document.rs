//! Writes the tables of results into a document, between two marks.

use std::path::Path;

use serde_json::Value;

use crate::report::{number, text};

const BEGIN: &str = "<!-- begin guard-trials -->\n";
const END: &str = "<!-- end guard-trials -->";

/// Replaces the text between the marks of the document at `path`, from the repository's root.
pub(crate) fn write(path: &str, alarms: &[Value], delays: &[Value], coverage: &[Value]) -> Result<(), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    let fault = |error: std::io::Error| format!("{}: {error}", path.display());
    let old = std::fs::read_to_string(&path).map_err(fault)?;
    let parts = old.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    let (head, tail) =
        parts.ok_or_else(|| format!("{}: the marks {BEGIN:?} and {END:?} are missing", path.display()))?;
    let new = format!("{head}{BEGIN}{}{END}{tail}", tables(alarms, delays, coverage));
    std::fs::write(&path, new).map_err(fault)
}

fn tables(alarms: &[Value], delays: &[Value], coverage: &[Value]) -> String {
    let mut out =
        String::from("| nothing is wrong | rollouts | rolled back | at most | frozen | at most | requests |\n");
    out.push_str("|---|---|---|---|---|---|---|\n");
    for row in alarms {
        out.push_str(&format!(
            "| {} | {} | {:.2}% | {:.1}% | {:.2}% | {:.1}% | {:.0} |\n",
            text(row, "trial"),
            number(row, "rollouts"),
            100.0 * number(row, "false_rollback_rate"),
            100.0 * number(row, "nominal"),
            100.0 * number(row, "false_freeze_rate"),
            100.0 * number(row, "freeze_nominal"),
            number(row, "mean_requests"),
        ));
    }
    out.push_str("\n| something is wrong | trials | detected | mean | p90 | unit | fixed sample | ratio |\n");
    out.push_str("|---|---|---|---|---|---|---|---|\n");
    for row in delays {
        out.push_str(&format!(
            "| {} | {} | {:.1}% | {:.0} | {:.0} | {} | {:.0} | {:.2} |\n",
            text(row, "trial"),
            number(row, "trials"),
            100.0 * number(row, "detected"),
            number(row, "mean"),
            number(row, "p90"),
            text(row, "unit"),
            number(row, "fixed_sample_optimum"),
            number(row, "delay_vs_optimum"),
        ));
    }
    out.push_str(
        "\n| interval | streams | covers the true value at every evaluation | at least |\n|---|---|---|---|\n",
    );
    for row in coverage {
        out.push_str(&format!(
            "| {} | {} | {:.2}% | {:.0}% |\n",
            text(row, "trial"),
            number(row, "streams"),
            100.0 * number(row, "coverage"),
            100.0 * number(row, "nominal"),
        ));
    }
    out
}
