//! Writes the results as a file and as tables.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::{Value, json};

use super::extras::{CONCURRENT_CLIENTS, Frozen};
use super::results::{CaseResults, Extras, Results};
use super::turns::{Figures, LOADS};
use super::variants::DEADLINE_MS;
use crate::figures::{Rounds, rounded};
use crate::{chart, report};

/// The resolution of every latency, in words.
const LATENCY_RESOLUTION: &str = "to 3 significant digits";

/// Writes `target/bench/gateway.json`, prints the table, and, where `publish` says so, puts it into the document and
/// draws README's chart.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn all(found: &Results, publish: bool) -> Result<()> {
    let Results { measured, observed, extras } = found;
    let rows: Vec<Value> = measured.iter().flat_map(rows).collect();
    let results = json!({
        "command": "make bench-gateway",
        "unit": "µs by default; a latency counts from when its request was due",
        "latency_resolution": LATENCY_RESOLUTION,
        "rows": rows,
        "observed": by_key(observed.json()),
        "candidate_alone": extras.as_ref().map(|extras| extras.candidate_alone.map(rounded)),
        "frozen": extras.as_ref().map(|extras| extras.frozen.iter().map(Frozen::json).collect::<Vec<_>>()),
        "idle": extras.as_ref().map(|extras| extras.idle.json()),
        "ratios": measured.first().map(|first| ratios(first, measured, extras.as_ref())),
    });
    let results = report::write("gateway", results)?;
    let mut table = table(measured);
    if let (Some(first), Some(extras)) = (measured.first(), extras) {
        table.push_str(&sentences(first, with_work(measured), extras));
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

fn rows(measured: &CaseResults) -> Vec<Value> {
    let row = |(key, label, figures): &(&'static str, &'static str, Figures)| {
        let steady = figures.steady.iter().zip(LOADS).filter(|(steady, _)| steady.p50.median().is_finite());
        let steady = steady.map(|(steady, load)| {
            json!({
                "load": load,
                "requests_a_second": steady.rate.json(),
                "cpu": steady.cpu.json(),
                "cpu_vs_none": steady.cpu_vs_none.json(),
                "p50": steady.p50.json(),
                "p99": steady.p99.json(),
                "p999": steady.p999.json(),
                "p99_baseline": steady.p99_baseline.json(),
                "p99_candidate": steady.p99_candidate.json(),
                "p50_vs_none": steady.p50_vs_none.json(),
                "p99_vs_none": steady.p99_vs_none.json(),
                "p50_baseline_vs_none": steady.p50_baseline_vs_none.json(),
                "p99_baseline_vs_none": steady.p99_baseline_vs_none.json(),
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

/// The case whose application takes its time to respond.
fn with_work(measured: &[CaseResults]) -> Option<&CaseResults> {
    measured.iter().find(|measured| measured.case.kind.work_ms > 0)
}

/// The ratios that promises are about: share 0%, 1 KiB, one item, HTTP/1.1, an application that responds at once and
/// (`work`) one that takes its time; and at 10% the canary's p99 at 30% load over the baseline's p99 and the
/// candidate's own.
fn ratios(first: &CaseResults, measured: &[CaseResults], extras: Option<&Extras>) -> Value {
    let perch = first.of("perch_0");
    let vs_none = |pick: &dyn Fn(&Figures) -> &Rounds| perch.map(|figures| rounded(pick(figures).median()));
    let with_work = with_work(measured).and_then(|with_work| with_work.of("perch_0"));
    let client = |pick: &dyn Fn(&Figures) -> &Rounds| with_work.map(|figures| rounded(pick(figures).median()));
    let vs_mirror = first.ratio("perch_0", "mirror", |figures| &figures.cpu_vs_none);
    let canary = extras.and_then(|extras| canary(first, extras)).map(rounded);
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
        "canary_p99_vs_baseline_and_candidate": canary,
    })
}

fn table(measured: &[CaseResults]) -> String {
    let mut table = String::new();
    let Some(first) = measured.first() else { return table };
    let counts = || first.figures.iter().map(|(_, _, figures)| figures.cpu.count());
    let rounds = match (counts().min().unwrap_or(0), counts().max().unwrap_or(0)) {
        (all, most) if all == most => format!("{all} rounds with new Envoys each"),
        (all, most) => format!(
            "{all} rounds with new Envoys each (of {most} for what a request costs without a filter, with the \
             mirror, and with Perch at 0 and 10%)"
        ),
    };
    let _ = writeln!(
        table,
        "{}; 1 KiB, one item, HTTP/1.1; medians of {rounds}, in brackets the rounds' least and most. CPU at \
         saturation, by the scheduler's account; latencies ({LATENCY_RESOLUTION}) at 30% and at 70% of what the \
         gateway itself can handle when requests come evenly.\n",
        crate::machine::name()
    );
    table.push_str(
        "| gateway, one core | CPU a request, µs | × no filter | × mirror | at 30% load, × | requests/s | \
    p50 at 30%, × | p99 | p50 at 70%, × | p99 |\n",
    );
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
    if let Some(with_work) = with_work(measured) {
        with_work_table(&mut table, with_work);
    }
    table
}

/// The latencies that a client notices.
fn with_work_table(table: &mut String, with_work: &CaseResults) {
    let _ = writeln!(
        table,
        "\nThe application responds at once above, so that a gateway's time is most of what a client waits for. With \
         one \
         that takes {} ms, as against no filter:\n\n| gateway | p50 at 30%, ms | × | p99 | p50 at 70%, × | p99 |\n\
         |---|---|---|---|---|---|",
        with_work.case.kind.work_ms
    );
    for (_, label, figures) in &with_work.figures {
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

/// How long canary users wait, and what idle gateways use.
fn sentences(first: &CaseResults, with_work: Option<&CaseResults>, extras: &Extras) -> String {
    let mut text = String::new();
    if let Some(ratio) = canary(first, extras) {
        let _ = writeln!(
            text,
            "\nAt a share of 10% and 30% load, a canary user's p99 is {ratio:.2} × the baseline's p99 and the \
             candidate's own \
             ({:.0} µs) together.",
            extras.candidate_alone[1]
        );
    }
    let applications = [(Some(first), "an application that responds at once"), (with_work, "one that takes its time")];
    for (measured, application) in applications {
        if let Some(Figures { steady: [low, high], .. }) = measured.and_then(|measured| measured.of("perch_10")) {
            let _ = writeln!(
                text,
                "\nA user outside of the canary at that share, with {application}, waits {} times as long as without a \
                 filter at 30% load (p99 {}), and {} times at 70% (p99 {}).",
                spread(&low.p50_baseline_vs_none, 2),
                spread(&low.p99_baseline_vs_none, 2),
                spread(&high.p50_baseline_vs_none, 2),
                spread(&high.p99_baseline_vs_none, 2),
            );
        }
    }
    let _ = write!(
        text,
        "\nA scorer that accepts connections and never responds, all users in the canary, {CONCURRENT_CLIENTS} of \
         them at once, a deadline \
         of {DEADLINE_MS} ms:\n\n| filter | the application takes, ms | p50, ms | p99 | slowest \
         |\n|---|---|---|---|---|\n"
    );
    for Frozen { build, work_ms, p50, p99, slowest } in &extras.frozen {
        let _ = writeln!(text, "| {build} | {work_ms} | {p50:.1} | {p99:.1} | {slowest:.1} |");
    }
    if let Some((used, _)) = extras.idle.of("none") {
        let more = |key: &str| extras.idle.of(key).map_or_else(|| "–".to_owned(), |(_, more)| spread(&more, 0));
        let _ = writeln!(
            text,
            "\nWith nothing to do a gateway without a filter uses {} µs of CPU a second; the second one {} more, \
             with Perch \
             native {} more, WebAssembly {} more.",
            spread(used, 0),
            more("none_again"),
            more("perch_0"),
            more("perch_wasm_0"),
        );
    }
    text
}

/// At a share of 10% and 30% load, a canary user's p99 over the baseline's and the candidate's own together.
fn canary(first: &CaseResults, extras: &Extras) -> Option<f64> {
    let [steady, _] = &first.of("perch_10")?.steady;
    let ratio = steady.p99_candidate.median() / (steady.p99_baseline.median() + extras.candidate_alone[1]);
    ratio.is_finite().then_some(ratio)
}

/// `1.08 (1.05–1.11)`; a dash where nothing was measured.
fn spread(rounds: &Rounds, digits: usize) -> String {
    if rounds.median().is_nan() {
        return "–".to_owned();
    }
    format!("{:.digits$} ({:.digits$}–{:.digits$})", rounds.median(), rounds.least(), rounds.most())
}
