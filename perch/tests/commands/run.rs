//! Runs the program.

use std::path::Path;
use std::process::Command;

/// Exit code and output of a run.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Output {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs `perch` in an empty folder, with nothing of this shell's PERCH_ variables, and outside of any checkout.
pub(crate) fn perch(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    perch_of(folder.path(), &[], arguments)
}

/// The same, as the program of a checkout that is elsewhere, with these variables.
pub(crate) fn perch_of(checkout: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_perch"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PERCH_")) {
        command.env_remove(name);
    }
    command.env("PERCH_ROOT", checkout).envs(variables.iter().copied());
    let output = command.args(arguments).current_dir(folder.path()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Output { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}
