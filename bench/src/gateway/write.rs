//! The result as a file and as a table.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::{Value, json};

use super::beside::{Frozen, WAITING};
use super::turns::{Figures, SHARES};
use super::variants::DEADLINE_MS;
use super::{Besides, Case, Found, Measured};
use crate::figures::{Rounds, rounded};
use crate::{chart, report};

/// Writes `target/bench/gateway.json`, prints the table, and, where `publish` says so, puts it into the document and
/// draws README's chart.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn all(found: &Found, publish: bool) -> Result<()> {
    let Found { measured, observed, besides } = found;
    let rows: Vec<Value> = measured.iter().flat_map(rows).collect();
    let results = json!({
        "command": "make bench-gateway",
        "unit": "µs where nothing else is said; a latency counts from when its request was due",
        "rows": rows,
        "observed": by_key(observed.json()),
        "model_alone": besides.as_ref().map(|besides| besides.model_alone.map(rounded)),
        "frozen": besides.as_ref().map(|besides| besides.frozen.iter().map(Frozen::json).collect::<Vec<_>>()),
        "idle": besides.as_ref().map(|besides| besides.idle.json()),
        "ratios": measured.first().map(|first| ratios(first, measured, besides.as_ref())),
    });
    let results = report::write("gateway", results)?;
    let mut table = table(measured);
    if let (Some(first), Some(besides)) = (measured.first(), besides) {
        table.push_str(&sentences(first, worked(measured), besides));
    }
    println!("{table}");
    for (key, counts) in observed.json() {
        println!("{key}: {counts}");
    }
    if !publish {
        return Ok(());
    }
    chart::write(&results)?;
    report::publish("bench-gateway", &table)
}

fn by_key(pairs: impl Iterator<Item = (&'static str, Value)>) -> Value {
    Value::Object(pairs.map(|(key, value)| (key.to_owned(), value)).collect())
}

impl Measured {
    pub(super) fn of(&self, key: &str) -> Option<&Figures> {
        self.figures.iter().find(|(found, _, _)| *found == key).map(|(_, _, figures)| figures)
    }

    /// One figure of `key` over the same of `other`.
    fn ratio(&self, key: &str, other: &str, pick: impl Fn(&Figures) -> &Rounds) -> Rounds {
        match (self.of(key), self.of(other)) {
            (Some(mine), Some(theirs)) => pick(mine).over(pick(theirs)),
            _ => Rounds::default(),
        }
    }
}

fn rows(measured: &Measured) -> Vec<Value> {
    let row = |(key, label, figures): &(&'static str, &'static str, Figures)| {
        let steady = figures.steady.iter().zip(SHARES).filter(|(steady, _)| steady.p50.median().is_finite());
        let steady = steady.map(|(steady, share)| {
            json!({
                "load": share,
                "requests_a_second": steady.rate.json(),
                "cpu": steady.cpu.json(),
                "cpu_vs_none": steady.cpu_vs_none.json(),
                "p50": steady.p50.json(),
                "p99": steady.p99.json(),
                "p999": steady.p999.json(),
                "p99_rules": steady.p99_rules.json(),
                "p99_model": steady.p99_model.json(),
                "p50_vs_none": steady.p50_vs_none.json(),
                "p99_vs_none": steady.p99_vs_none.json(),
                "p50_rules_vs_none": steady.p50_rules_vs_none.json(),
                "p99_rules_vs_none": steady.p99_rules_vs_none.json(),
            })
        });
        json!({
            "gateway": key,
            "label": label,
            "bytes": measured.case.kind.bytes,
            "work_ms": measured.case.kind.work_ms,
            "items": measured.case.kind.items,
            "protocol": measured.case.protocol(),
            "saturated": {
                "requests_a_second": figures.saturated.json(),
                "busy": figures.busy.json(),
                "cpu": figures.cpu.json(),
                "cpu_vs_none": figures.cpu_vs_none.json(),
                "cpu_vs_mirror": measured.ratio(key, "mirror", |figures| &figures.cpu_vs_none).json(),
            },
            "steady": steady.collect::<Vec<_>>(),
        })
    };
    measured.figures.iter().map(row).collect()
}

impl Case {
    const fn protocol(self) -> &'static str {
        match self.protocol {
            crate::load::Protocol::H1 => "HTTP/1.1",
            crate::load::Protocol::H2 => "HTTP/2",
        }
    }
}

/// The case whose application takes its time.
fn worked(measured: &[Measured]) -> Option<&Measured> {
    measured.iter().find(|measured| measured.case.kind.work_ms > 0)
}

/// Those that promises are about: share 0%, 1 KiB, one item, HTTP/1.1, the application answering at once and (`work`)
/// taking its time; and at 10% the canary's p99 at 30% load over the
/// rules' p99 and the model's own.
fn ratios(first: &Measured, measured: &[Measured], besides: Option<&Besides>) -> Value {
    let perch = first.of("perch_0");
    let vs_none = |pick: &dyn Fn(&Figures) -> &Rounds| perch.map(|figures| rounded(pick(figures).median()));
    let worked = worked(measured).and_then(|worked| worked.of("perch_0"));
    let client = |pick: &dyn Fn(&Figures) -> &Rounds| worked.map(|figures| rounded(pick(figures).median()));
    let vs_mirror = first.ratio("perch_0", "mirror", |figures| &figures.cpu_vs_none);
    let canary = besides.and_then(|besides| canary(first, besides)).map(rounded);
    json!({
        "cpu_vs_none": vs_none(&|figures| &figures.cpu_vs_none),
        "cpu_vs_mirror": rounded(vs_mirror.median()),
        "p50_vs_none_30": vs_none(&|figures| &figures.steady[0].p50_vs_none),
        "p99_vs_none_30": vs_none(&|figures| &figures.steady[0].p99_vs_none),
        "p50_vs_none_70": vs_none(&|figures| &figures.steady[1].p50_vs_none),
        "p99_vs_none_70": vs_none(&|figures| &figures.steady[1].p99_vs_none),
        "p50_vs_none_30_work": client(&|figures| &figures.steady[0].p50_vs_none),
        "p99_vs_none_30_work": client(&|figures| &figures.steady[0].p99_vs_none),
        "p50_vs_none_70_work": client(&|figures| &figures.steady[1].p50_vs_none),
        "p99_vs_none_70_work": client(&|figures| &figures.steady[1].p99_vs_none),
        "canary_p99_vs_rules_and_model": canary,
    })
}

fn table(measured: &[Measured]) -> String {
    let mut table = String::new();
    let Some(first) = measured.first() else { return table };
    let counts = || first.figures.iter().map(|(_, _, figures)| figures.cpu.count());
    let rounds = match (counts().min().unwrap_or(0), counts().max().unwrap_or(0)) {
        (all, most) if all == most => format!("{all} rounds with new Envoys each"),
        (all, most) => format!(
            "{all} rounds with new Envoys each (of {most} for what a request costs without a filter, with the mirror, and with Perch at 0 and 10%)"
        ),
    };
    let _ = writeln!(
        table,
        "{}; 1 KiB, one item, HTTP/1.1; medians of {rounds}, in brackets the rounds' least and most. CPU at saturation, by the scheduler's account; latencies at 30% and at 70% of what the gateway itself has time for when requests come evenly.\n",
        crate::machine::name()
    );
    table.push_str("| gateway, one core | CPU a request, µs | × no filter | × mirror | at 30% load, × | requests/s | p50 at 30%, × | p99 | p50 at 70%, × | p99 |\n");
    table.push_str("|---|---|---|---|---|---|---|---|---|---|\n");
    for (key, label, figures) in &first.figures {
        let mirror = first.ratio(key, "mirror", |figures| &figures.cpu_vs_none);
        let [low, high] = &figures.steady;
        let _ = writeln!(
            table,
            "| {label} | {:.1} | {} | {} | {} | {:.0} | {} | {} | {} | {} |",
            figures.cpu.median(),
            spread(&figures.cpu_vs_none, 2),
            spread(&mirror, 2),
            spread(&low.cpu_vs_none, 2),
            figures.saturated.median(),
            spread(&low.p50_vs_none, 2),
            spread(&low.p99_vs_none, 2),
            spread(&high.p50_vs_none, 2),
            spread(&high.p99_vs_none, 2),
        );
    }
    if measured.len() > 1 {
        table.push_str(
            "\n| request | no filter, µs | mirror, × | Perch at 0%, × | Perch × mirror |\n|---|---|---|---|---|\n",
        );
    }
    for other in measured.iter().skip(1).filter(|other| other.case.kind.work_ms == 0) {
        let versus_none = |key: &str| other.of(key).map_or_else(|| "–".to_owned(), |f| spread(&f.cpu_vs_none, 2));
        let _ = writeln!(
            table,
            "| {} B, {} items, {} | {:.1} | {} | {} | {} |",
            other.case.kind.bytes,
            other.case.kind.items,
            other.case.protocol(),
            other.of("none").map_or(f64::NAN, |figures| figures.cpu.median()),
            versus_none("mirror"),
            versus_none("perch_0"),
            spread(&other.ratio("perch_0", "mirror", |figures| &figures.cpu_vs_none), 2),
        );
    }
    if let Some(worked) = worked(measured) {
        worked_table(&mut table, worked);
    }
    table
}

/// What a client notices.
fn worked_table(table: &mut String, worked: &Measured) {
    let _ = writeln!(
        table,
        "\nThe application answers at once above, so that a gateway's time is most of what a client waits for. With one \
         that takes {} ms, as against no filter:\n\n| gateway | p50 at 30%, ms | × | p99 | p50 at 70%, × | p99 |\n\
         |---|---|---|---|---|---|",
        worked.case.kind.work_ms
    );
    for (_, label, figures) in &worked.figures {
        let [low, high] = &figures.steady;
        let _ = writeln!(
            table,
            "| {label} | {:.2} | {} | {} | {} | {} |",
            low.p50.median() / 1e3,
            spread(&low.p50_vs_none, 2),
            spread(&low.p99_vs_none, 2),
            spread(&high.p50_vs_none, 2),
            spread(&high.p99_vs_none, 2),
        );
    }
}

/// What a canary user waits for, and what gateways use while nobody asks.
fn sentences(first: &Measured, worked: Option<&Measured>, besides: &Besides) -> String {
    let mut text = String::new();
    if let Some(ratio) = canary(first, besides) {
        let _ = writeln!(
            text,
            "\nAt a share of 10% and 30% load, a canary user's p99 is {ratio:.2} × the rules' p99 and the model's own \
             ({:.0} µs) together.",
            besides.model_alone[1]
        );
    }
    let applications = [(Some(first), "an application that answers at once"), (worked, "one that takes its time")];
    for (measured, application) in applications {
        if let Some(Figures { steady: [low, high], .. }) = measured.and_then(|measured| measured.of("perch_10")) {
            let _ = writeln!(
                text,
                "\nWho the rules answer at that share, with {application}, waits {} times as long as without a filter at \
                 30% load (p99 {}), and {} times at 70 % (p99 {}).",
                spread(&low.p50_rules_vs_none, 2),
                spread(&low.p99_rules_vs_none, 2),
                spread(&high.p50_rules_vs_none, 2),
                spread(&high.p99_rules_vs_none, 2),
            );
        }
    }
    let _ = write!(
        text,
        "\nA scorer that accepts connections and never responds, all users in the canary, {WAITING} of them at once, a deadline \
         of {DEADLINE_MS} ms:\n\n| filter | the application takes, ms | p50, ms | p99 | slowest |\n|---|---|---|---|---|\n"
    );
    for Frozen { build, work_ms, p50, p99, slowest } in &besides.frozen {
        let _ = writeln!(text, "| {build} | {work_ms} | {p50:.1} | {p99:.1} | {slowest:.1} |");
    }
    if let Some((used, _)) = besides.idle.of("none") {
        let more = |key: &str| besides.idle.of(key).map_or_else(|| "–".to_owned(), |(_, more)| spread(&more, 0));
        let _ = writeln!(
            text,
            "\nWith nothing to do a gateway without a filter uses {} µs of CPU a second; the second one {} more, with Perch \
             native {} more, WebAssembly {} more.",
            spread(used, 0),
            more("none_again"),
            more("perch_0"),
            more("perch_wasm_0"),
        );
    }
    text
}

/// At a share of 10% and 30% load, a canary user's p99 over the rules' and the model's own together.
fn canary(first: &Measured, besides: &Besides) -> Option<f64> {
    let [steady, _] = &first.of("perch_10")?.steady;
    let ratio = steady.p99_model.median() / (steady.p99_rules.median() + besides.model_alone[1]);
    ratio.is_finite().then_some(ratio)
}

/// `1.08 (1.05–1.11)`; a dash where there is nothing.
fn spread(rounds: &Rounds, digits: usize) -> String {
    if rounds.median().is_nan() {
        return "–".to_owned();
    }
    format!("{:.digits$} ({:.digits$}–{:.digits$})", rounds.median(), rounds.least(), rounds.most())
}
