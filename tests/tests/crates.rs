//! Which crate may depend on which, and how large one may be.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails there")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use e2e::workspace::{self, Package};

/// What is there for development only: it starts, measures, tests and demonstrates what is delivered.
const DEVELOPMENT: [&str; 4] = ["stack", "bench", "e2e", "suggestions"];
/// Most lines in a crate's `src`, with its unit tests: more than that nobody reads in a day.
const MOST_LINES: usize = 7_000;

/// The packages of the workspace that `package` needs, itself among them.
fn needed<'a>(package: &'a str, packages: &'a BTreeMap<String, Package>) -> BTreeSet<&'a str> {
    let (mut needed, mut next) = (BTreeSet::new(), vec![package]);
    while let Some(name) = next.pop() {
        let Some(package) = packages.get(name) else { continue };
        if needed.insert(name) {
            next.extend(package.dependencies.iter().map(String::as_str));
        }
    }
    needed
}

fn by_name() -> BTreeMap<String, Package> {
    workspace::packages().unwrap().into_iter().map(|package| (package.name.clone(), package)).collect()
}

#[test]
fn what_is_delivered_depends_on_nothing_of_development() {
    let packages = by_name();
    for name in ["stack", "bench", "e2e", "perch", "shadow-scorer", "filter"] {
        assert!(packages.contains_key(name), "there is no package {name} any more: correct this test");
    }
    assert!(needed("e2e", &packages).contains("stack"), "dependencies are not seen");
    let mut faults = Vec::new();
    for name in packages.keys().filter(|name| !DEVELOPMENT.contains(&name.as_str())) {
        let needed = needed(name, &packages);
        faults.extend(DEVELOPMENT.iter().filter(|one| needed.contains(*one)).map(|one| format!("{name} needs {one}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_crate_is_larger_than_can_be_read() {
    let packages = by_name();
    let mut faults = Vec::new();
    for package in packages.values() {
        let nested: Vec<&Path> = packages
            .values()
            .map(|other| other.folder.as_path())
            .filter(|folder| *folder != package.folder && folder.starts_with(&package.folder))
            .collect();
        let lines = lines(&package.folder.join("src"), &nested);
        assert!(lines > 0, "{} has no source", package.name);
        if lines > MOST_LINES {
            faults.push(format!("{} has {lines} lines, more than {MOST_LINES}: split it", package.name));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Lines of the Rust files below `folder`, but for `nested` packages.
fn lines(folder: &Path, nested: &[&Path]) -> usize {
    if nested.contains(&folder) {
        return 0;
    }
    let entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries
        .iter()
        .map(|path| match path.extension() {
            _ if path.is_dir() => lines(path, nested),
            Some(extension) if extension == "rs" => std::fs::read_to_string(path).unwrap().lines().count(),
            _ => 0,
        })
        .sum()
}
