//! `make bench-scorer`: the forest against stock tract, onnxruntime and LightGBM's C API, in one run, on the same
//! models and rows, on one core; then one suggestion end to end by the scorer as it ships. Writes
//! `target/bench/scorer.json` and prints its table.
//!
//! `cargo bench -p forest --bench scorer -- --end-to-end OLD NEW OLD NEW` compares builds of the scorer, each a path to
//! the program, by that suggestion only.
//!
//! Engines run in turns, for several rounds, so that other load on the machine affects all of them. A row of the
//! result is the median call of the middle round, its spread the medians of the quickest and slowest round. What a call
//! costs from Python without a model is measured too and taken off the peers' times, in their favour.

#![allow(missing_docs, clippy::print_stdout, clippy::print_stderr)]

mod engines;
mod machine;
mod measure;
mod peers;
mod report;
mod served;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::engines::Engine;
use crate::measure::{Cache, Case};
use crate::peers::Peers;
use crate::report::{Report, Row};
use crate::served::EndToEnd;

const SIZES: [usize; 4] = [100, 600, 2_000, 6_000];
const BATCHES: [usize; 4] = [1, 8, 64, 512];
const ROUNDS: usize = 5;
/// Seconds for which an engine runs in one round of one case.
const SECONDS: f64 = 0.2;
/// A call of stock tract that would take longer than this is left out.
const PATIENCE_MICROSECONDS: f64 = 1e6;

fn main() -> Result<()> {
    if machine::pin_to_one_core()? {
        return Ok(());
    }
    if std::env::args().any(|argument| argument == "--end-to-end") {
        // Cargo adds flags of its own.
        for program in std::env::args().skip(1).filter(|argument| !argument.starts_with("--")) {
            println!("{program}: {}", EndToEnd::measure(Some(&program))?.line());
        }
        return Ok(());
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    let folder = target.join("scorer-models");
    let mut peers = Peers::start(&folder)?;
    let mut report = Report::default();
    for trees in SIZES {
        measure_size(trees, &folder, &mut peers, &mut report)?;
    }
    eprintln!("one suggestion, end to end");
    report.end_to_end = Some(EndToEnd::measure(None)?);
    let path = target.join("scorer.json");
    std::fs::write(&path, report.json()?).with_context(|| format!("writing {}", path.display()))?;
    print!("{}", report.table());
    println!("written to {}", relative(&path).display());
    Ok(())
}

fn relative(path: &Path) -> PathBuf {
    path.canonicalize()
        .ok()
        .and_then(|full| Some(full.strip_prefix(std::env::current_dir().ok()?).ok()?.to_owned()))
        .unwrap_or_else(|| path.to_owned())
}

fn measure_size(trees: usize, folder: &Path, peers: &mut Peers, report: &mut Report) -> Result<()> {
    let rows = engines::rows(folder)?;
    let mut ours = [Engine::direct(folder, trees)?, Engine::in_tract(folder, trees)?];
    let mut stock = Engine::stock(folder, trees)?;
    for (batch, cache) in BATCHES.map(|batch| (batch, Cache::Warm)).into_iter().chain([(1, Cache::Cold)]) {
        let case = Case { trees, batch, cache };
        eprintln!("{trees} trees, batch {batch}, {cache:?}");
        let names = ["forest", "forest in tract", "lightgbm", "onnxruntime"];
        let mut rounds: [Vec<f64>; 4] = Default::default();
        let mut overheads: [Vec<f64>; 2] = Default::default();
        for _ in 0..ROUNDS {
            let (of_ours, of_peers) = rounds.split_at_mut(2);
            for (engine, medians) in ours.iter_mut().zip(of_ours) {
                medians.push(measure::median(engine.time_calls(case, &rows, SECONDS)?));
            }
            let of_peers = of_peers.iter_mut().zip(&mut overheads);
            for (name, (medians, overheads)) in ["lightgbm", "onnxruntime"].iter().zip(of_peers) {
                medians.push(measure::median(peers.time_calls(name, case, SECONDS)?));
                overheads.push(measure::median(peers.time_calls(name, Case { trees: 0, ..case }, SECONDS / 4.0)?));
            }
        }
        for (at, (name, medians)) in names.into_iter().zip(rounds).enumerate() {
            let overhead =
                at.checked_sub(2).and_then(|peer| overheads.get(peer)).map(|all| measure::median(all.clone()));
            report.add(Row::new(name, case, medians, overhead));
        }
        if cache == Cache::Warm {
            measure_stock(&mut stock, case, &rows, report)?;
        }
    }
    Ok(())
}

/// Stock tract's time grows with the square of the trees, so one row shows how long a batch would take.
fn measure_stock(stock: &mut Engine, case: Case, rows: &[f32], report: &mut Report) -> Result<()> {
    let one = measure::median(stock.time_calls(Case { batch: 1, ..case }, rows, 0.0)?);
    let expected = one * case.batch as f64;
    if expected > PATIENCE_MICROSECONDS {
        report.skip("tract", case, expected / case.batch as f64);
        return Ok(());
    }
    let mut medians = Vec::new();
    for _ in 0..ROUNDS.min(3) {
        medians.push(measure::median(stock.time_calls(case, rows, SECONDS)?));
    }
    report.add(Row::new("tract", case, medians, None));
    Ok(())
}
