//! What the documents name must exist: paths, make targets, metrics, folders.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails there")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const DOCUMENTS: [&str; 7] = [
    "README.md",
    "CHANGELOG.md",
    "setup/README.md",
    "envoy/README.md",
    "perch/README.md",
    "perch/docs/console.md",
    "prometheus/RUNBOOK.md",
];

/// Things that are written like paths but are made when Perch runs.
const MADE_AT_RUN_TIME: [&str; 5] = [".perch", "target", "models/registry", "models/features", "grafana/node_modules"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn documents() -> Vec<(&'static str, String)> {
    DOCUMENTS.iter().map(|name| (*name, fs::read_to_string(root().join(name)).unwrap())).collect()
}

/// Everything between single backticks, outside of fenced blocks.
fn quoted(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

#[test]
fn every_path_that_a_document_names_exists() {
    let mut missing = Vec::new();
    for (name, text) in documents() {
        for word in quoted(&text) {
            let path_like = word.contains('/')
                && word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
                && !word.starts_with('/');
            if !path_like || MADE_AT_RUN_TIME.iter().any(|made| word.starts_with(made)) {
                continue;
            }
            let beside = root().join(name).parent().map(|dir| dir.join(&word));
            if !root().join(&word).exists() && !beside.is_some_and(|path| path.exists()) {
                missing.push(format!("{name}: {word}"));
            }
        }
    }
    assert!(missing.is_empty(), "named, but not there: {missing:#?}");
}

#[test]
fn every_make_target_that_a_document_names_exists() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter(|line| !line.starts_with(['\t', '#', ' ']))
        .filter_map(|line| line.split_once(':'))
        .flat_map(|(names, _)| names.split_whitespace())
        .collect();
    let mut missing = Vec::new();
    for (name, text) in documents() {
        for line in text.lines() {
            for command in line.split("make ").skip(1) {
                // `make a b` inside backticks, or a command in a fenced block: `make a   # why`.
                let command = command.split(['`', '#', ';', '|', '&', ')', ',']).next().unwrap_or_default();
                if !line.contains(&format!("`make {command}")) && !line.trim_start().starts_with("make ") {
                    continue;
                }
                for target in command.split_whitespace().filter(|word| !word.contains('=')) {
                    if !targets.contains(target) {
                        missing.push(format!("{name}: make {target}"));
                    }
                }
            }
        }
    }
    assert!(missing.is_empty(), "named, but no target: {missing:#?}");
}

#[test]
fn every_metric_that_readme_names_is_declared() {
    let declared: BTreeSet<&str> = [
        contract::names::COMPARE,
        contract::names::SOURCE,
        contract::names::PREDICT_REQUESTS,
        contract::names::FALLBACK,
    ]
    .into();
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let named: BTreeSet<String> = quoted(&readme)
        .into_iter()
        .filter(|word| word.starts_with("lm_"))
        .map(|word| word.split('{').next().unwrap_or_default().to_owned())
        .collect();
    assert!(!named.is_empty(), "README names the metrics that dashboards rely on");
    for name in &named {
        assert!(declared.contains(name.as_str()), "README names {name}, which nothing declares");
    }
}
