//! The generated references in `docs/` are what the programs and types say today. `make references` writes them again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that meets the unexpected fails there"
)]

mod cli;
mod configuration;
mod declarations;
mod metrics;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use stack::checkout::Checkout;

/// Set it to write the references instead of comparing them.
const WRITE: &str = "PERCH_WRITE_REFERENCES";

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs a program of the workspace without any variable of this shell, on which defaults in its help would depend.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Output {
    let path = Checkout::find().unwrap().program(program);
    let run = Command::new(&path).args(arguments).env_clear().env("PERCH_ROOT", root()).output();
    run.unwrap_or_else(|error| panic!("{} cannot be run ({error}): `make build PROFILE=dev` makes it", path.display()))
}

fn is_current(name: &str, text: &str) {
    let path = root().join("docs").join(name);
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, text).unwrap();
        eprintln!("wrote {}", path.display());
        return;
    }
    let held = fs::read_to_string(&path).unwrap_or_default();
    let first = held.lines().zip(text.lines()).find(|(held, new)| held != new);
    assert!(held == text, "docs/{name} is not what the code says; `make references` writes it. First: {first:#?}");
}

#[test]
fn the_command_line_reference_is_current() {
    is_current("cli.md", &cli::reference());
}

#[test]
fn the_metrics_reference_is_current() {
    is_current("metrics.md", &metrics::reference());
}

#[test]
fn the_configuration_reference_is_current() {
    is_current("configuration.md", &configuration::reference());
}
