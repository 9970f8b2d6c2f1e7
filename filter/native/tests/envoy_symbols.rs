//! The ABI as this module declares it beside the Envoy that `setup/run envoy` pins: every function that the module
//! calls is one that Envoy has, every hook that Envoy looks for is there, and no other, and the version is that of
//! Envoy's ABI. What Envoy's binary does not show are the types of parameters: those the end-to-end tests exercise. Its
//! header would, but no package registry that the set-up uses has it in this version (`docs/decisions.md`).

// A test's own mistake may end the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const PREFIX: &str = "envoy_dynamic_module_";
/// Hooks of the extensions that the module is: Envoy resolves all of theirs when it loads it.
const FAMILIES: [&str; 3] = ["on_program_", "on_http_filter_", "on_access_logger_"];

/// The pinned Envoy, or `None` where it is not installed, which CI is not excused for.
fn envoy() -> Option<Vec<u8>> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.perch/bin/envoy");
    let path = std::env::var_os("PERCH_ENVOY").map_or(installed, PathBuf::from);
    if path.exists() {
        return Some(std::fs::read(path).unwrap());
    }
    assert!(std::env::var_os("CI").is_none(), "{} is not there: setup/run envoy", path.display());
    eprintln!("skipped: {} is not there (setup/run envoy)", path.display());
    None
}

/// Runs of letters, digits and underscores that begin with the prefix. The linker puts constant strings one after the
/// other, so that a run may hold several names, and the beginning of something else.
fn runs(binary: &[u8]) -> Vec<String> {
    let prefix = PREFIX.as_bytes();
    let mut runs = Vec::new();
    let mut at = 0;
    while let Some(found) = binary[at..].windows(prefix.len()).position(|window| window == prefix) {
        let start = at + found;
        let length = binary[start..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        runs.push(String::from_utf8(binary[start..start + length].to_vec()).unwrap());
        at = start + length;
    }
    runs
}

/// Names in this module's sources that follow `before`.
fn declared(before: &str) -> BTreeSet<String> {
    let sources = [
        include_str!("../src/abi.rs"),
        include_str!("../src/hooks.rs"),
        include_str!("../src/admin_hooks.rs"),
        include_str!("../src/unused_hooks.rs"),
    ];
    let name = |rest: &str| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    let find = |source: &'static str| source.split(before).skip(1).map(name).collect::<Vec<String>>();
    sources.into_iter().flat_map(find).map(|rest| format!("{before}{rest}")).collect()
}

#[test]
fn every_function_that_the_module_calls_is_one_of_the_pinned_envoys() {
    let Some(binary) = envoy() else { return };
    let known: BTreeSet<String> = runs(&binary).into_iter().collect();
    let ours = declared("envoy_dynamic_module_callback_");
    assert!(ours.len() > 20, "{ours:?}");
    assert_eq!(ours.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn the_module_has_all_hooks_that_the_pinned_envoy_looks_for_and_no_other() {
    let Some(binary) = envoy() else { return };
    let runs = runs(&binary);
    let ours = declared("envoy_dynamic_module_on_");
    let unknown: Vec<_> = ours.iter().filter(|hook| !runs.iter().any(|run| run.contains(hook.as_str()))).collect();
    assert!(unknown.is_empty(), "Envoy has none of {unknown:?}");
    let wanted = |name: &&str| FAMILIES.iter().any(|family| name.starts_with(family));
    for name in runs.iter().flat_map(|run| run.split(PREFIX)).filter(wanted) {
        let name = format!("{PREFIX}{name}");
        assert!(ours.iter().any(|hook| name.starts_with(hook.as_str())), "Envoy looks for {name}");
    }
}

#[test]
fn the_version_is_that_of_the_pinned_envoys_abi() {
    let Some(binary) = envoy() else { return };
    let source = include_str!("../src/abi.rs");
    let after = source.split("VERSION: &std::ffi::CStr = c\"").nth(1).unwrap();
    let version = after.split('"').next().unwrap();
    assert!(version.starts_with('v'), "{version}");
    assert!(binary.windows(version.len()).any(|window| window == version.as_bytes()), "Envoy is not of {version}");
}
