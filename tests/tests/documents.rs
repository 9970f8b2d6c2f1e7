//! Everything that the documents name must exist: paths, make targets, metrics, commands, tests.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails there")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Besides everything in `docs/`.
const DOCUMENTS: [&str; 13] = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "RELEASING.md",
    "setup/README.md",
    "envoy/README.md",
    "filter/README.md",
    "grafana/README.md",
    "models/registry/README.md",
    "perch/README.md",
    "perch/docs/console.md",
    "prometheus/RUNBOOK.md",
];

/// Written by the test `references`, whose subject is the code itself.
const GENERATED: [&str; 3] = ["docs/cli.md", "docs/configuration.md", "docs/metrics.md"];

/// The one page that says where the older names come from.
const NAMES: &str = "docs/names.md";

/// Things that are written like paths but are made when Perch runs.
const MADE_AT_RUN_TIME: [&str; 5] = [".perch", "target", "models/registry", "models/features", "grafana/node_modules"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn documents() -> Vec<(String, String)> {
    let in_docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    let in_docs = in_docs.map(|name| format!("docs/{}", name.to_str().unwrap())).filter(|name| name.ends_with(".md"));
    let names = DOCUMENTS.iter().map(|name| (*name).to_owned()).chain(in_docs);
    names.map(|name| (name.clone(), fs::read_to_string(root().join(&name)).unwrap())).collect()
}

/// Those that people write.
fn written() -> Vec<(String, String)> {
    documents().into_iter().filter(|(name, _)| !GENERATED.contains(&name.as_str())).collect()
}

fn generated(name: &str) -> String {
    fs::read_to_string(root().join("docs").join(name)).unwrap()
}

/// Every file below `folder` with one of these endings.
fn files(folder: &Path, endings: &[&str], into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules" {
            files(&path, endings, into);
        } else if path.is_file() && endings.iter().any(|ending| name.ends_with(ending)) {
            into.push(path);
        }
    }
}

fn source(endings: &[&str]) -> String {
    let mut found = Vec::new();
    files(&root(), endings, &mut found);
    found.iter().filter_map(|path| fs::read_to_string(path).ok()).collect()
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
    for (name, text) in written() {
        for word in quoted(&text) {
            let path_like = word.contains('/')
                && word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
                && !word.starts_with('/');
            if !path_like
                || word.starts_with("application/")
                || MADE_AT_RUN_TIME.iter().any(|made| word.starts_with(made))
            {
                continue;
            }
            let beside = root().join(&name).parent().map(|dir| dir.join(&word));
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
fn every_file_that_a_document_links_to_exists() {
    let mut missing = Vec::new();
    for (name, text) in written() {
        let folder = root().join(&name).parent().unwrap().to_path_buf();
        for link in text.split("](").skip(1).chain(text.split("srcset=\"").skip(1)).chain(text.split("src=\"").skip(1))
        {
            let link = link.split([')', '#', '"', ' ']).next().unwrap_or_default();
            if !link.is_empty() && !link.contains("://") && !folder.join(link).exists() {
                missing.push(format!("{name}: {link}"));
            }
        }
    }
    assert!(missing.is_empty(), "linked, but not there: {missing:#?}");
}

#[test]
fn every_metric_that_a_document_names_is_declared() {
    let declared = generated("metrics.md");
    let mut missing = Vec::new();
    let mut named = 0;
    for (name, text) in written() {
        for word in quoted(&text) {
            let word = word.split('{').next().unwrap_or_default();
            let ends = ["_total", "_seconds", "_ratio", "_psi", "_macro", "_writable"];
            let is_metric =
                word.starts_with("lm_") || word.starts_with("perch_") && ends.iter().any(|end| word.ends_with(end));
            if !is_metric || word.contains(['*', ' ', '(']) || word == "lm_" {
                continue;
            }
            named += 1;
            if !declared.contains(&format!("| `{word}` |")) {
                missing.push(format!("{name}: {word}"));
            }
        }
    }
    assert!(named > 0, "the documents name the metrics that dashboards rely on");
    // What was renamed or removed is named by the changelog.
    missing.retain(|of| !of.starts_with("CHANGELOG.md"));
    assert!(missing.is_empty(), "named, but not in docs/metrics.md: {missing:#?}");
}

#[test]
fn every_command_that_a_document_names_exists() {
    let reference = generated("cli.md");
    let mut missing = Vec::new();
    for (name, text) in written() {
        let lines = text.lines().map(|line| line.trim().trim_start_matches("$ ").to_owned());
        for command in
            lines.chain(quoted(&text)).filter(|line| line.starts_with("perch ") || line.starts_with("stack "))
        {
            let plain = |word: &&str| word.chars().all(|letter| letter.is_ascii_lowercase());
            let words: Vec<&str> = command.split([' ', ';', '`']).take_while(plain).collect();
            let [program, first, rest @ ..] = words.as_slice() else { continue };
            let heading = |words: &[&str]| format!("\n### {}", words.join(" "));
            let has_subcommands = reference.contains(&format!("{} ", heading(&[program, first])));
            let found = match rest.first() {
                Some(second) if has_subcommands => {
                    reference.contains(&format!("{}\n", heading(&[program, first, second])))
                }
                _ => reference.contains(&format!("{}\n", heading(&[program, first]))),
            };
            // A line of prose may begin with the program's name too.
            if !found && quoted(&text).contains(&command) {
                missing.push(format!("{name}: {command}"));
            }
        }
    }
    assert!(missing.is_empty(), "named, but not in docs/cli.md: {missing:#?}");
}

#[test]
fn every_test_that_a_document_names_exists() {
    let source = source(&[".rs"]);
    let mut missing = Vec::new();
    for (name, text) in written().into_iter().filter(|(name, _)| name.starts_with("docs/")) {
        for word in quoted(&text) {
            let is_test = word.matches('_').count() > 3
                && word.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
                && !word.starts_with("perch_")
                && !word.starts_with("lm_");
            if is_test && !source.contains(&format!("fn {word}(")) {
                missing.push(format!("{name}: {word}"));
            }
        }
    }
    assert!(missing.is_empty(), "named, but no function: {missing:#?}");
}

#[test]
fn every_variable_that_a_document_names_is_read() {
    let source =
        source(&[".rs", ".sh", ".env", ".yml", ".j2", ".ts", "Makefile", "ask", "build-filter", "with-postgres"]);
    let mut missing = Vec::new();
    for (name, text) in written() {
        for word in text.split(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_') {
            // The changelog also says what a variable was called before.
            let is_old_name = name == "CHANGELOG.md" && text.contains(&format!("`{word}` → "));
            if word.starts_with("PERCH_") && !is_old_name && !source.contains(word) {
                missing.push(format!("{name}: {word}"));
            }
        }
    }
    assert!(missing.is_empty(), "named, but nothing reads it: {missing:#?}");
}

#[test]
fn only_one_document_says_what_was_replaced() {
    let mut found = Vec::new();
    for (name, text) in documents().into_iter().filter(|(name, _)| name != NAMES) {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
        found.extend(
            ["replaced system", "system that perch replaced"]
                .iter()
                .filter(|words| text.contains(*words))
                .map(|words| format!("{name}: {words}")),
        );
    }
    assert!(found.is_empty(), "say it in {NAMES}, and link to that page: {found:#?}");
}

#[test]
fn the_images_are_built_with_the_pinned_compiler() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    let dockerfile = fs::read_to_string(root().join("docker/Dockerfile")).unwrap();
    assert!(
        dockerfile.contains(&format!("ARG RUST={version}.")),
        "docker/Dockerfile takes another Rust than {version}"
    );
}

#[test]
fn the_architecture_lists_every_member_of_the_workspace() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = manifest.split("members = [").nth(1).unwrap().split(']').next().unwrap();
    let architecture = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let missing: Vec<&str> = members
        .split(',')
        .map(|member| member.trim().trim_matches('"'))
        .filter(|member| !architecture.contains(&format!("| `{member}` |")))
        .collect();
    assert_eq!(missing, [""], "not in the table of folders of docs/architecture.md");
}

#[test]
fn the_images_are_built_from_every_member_of_the_workspace() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = manifest.split("members = [").nth(1).unwrap().split(']').next().unwrap().to_owned();
    let ignored = fs::read_to_string(root().join(".dockerignore")).unwrap();
    for member in members.split(',').map(|member| member.trim().trim_matches('"')).filter(|member| !member.is_empty()) {
        let folder = member.split('/').next().unwrap();
        let taken = ignored.lines().any(|line| line == format!("!{folder}"));
        assert!(taken, "cargo needs {folder} to read the workspace, and .dockerignore keeps it from docker/Dockerfile");
    }
}
