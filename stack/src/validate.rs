//! Has every configuration checked by the program that will read it, before anything is started.

use std::path::Path;
use std::process::{Command, Output};

use contract::ports::Part;

use crate::error::{Error, name};
use crate::launch;
use crate::layout::Layout;

/// Writes and checks the configurations of all of the stack's parts; returns what was checked.
///
/// # Errors
/// When a program refuses its configuration, with its own words.
pub fn configurations(layout: &Layout) -> Result<Vec<String>, Error> {
    let mut checked = Vec::new();
    if let Some(document) = layout.plugin_config() {
        // By the filter's own code: inside Envoy it would only log, and give everybody the baseline.
        filter::config::Config::parse(document.as_bytes(), layout.module())
            .map_err(|error| Error::Setting(format!("the filter refuses its configuration: {error}")))?;
        checked.push("filter: its configuration".into());
    }
    for part in layout.parts() {
        let Some(file) = launch::configure(layout, part)? else { continue };
        let bin = layout.checkout().state().join("bin");
        let (program, arguments): (_, &[&str]) = match part {
            Part::Gateway => (
                layout.checkout().envoy(),
                &["--mode", "validate", "--disable-hot-restart", "--log-level", "error", "--config-path"],
            ),
            Part::Prometheus => (bin.join("promtool"), &["check", "config"]),
            Part::Alertmanager => (bin.join("amtool"), &["check-config"]),
            _ => continue,
        };
        let mut checker = Command::new(program);
        checker.args(arguments).arg(&file);
        let output = checker.output().map_err(Error::io(format!("running {}", checker.get_program().display())))?;
        if !output.status.success() {
            return Err(refused(part, &file, &output));
        }
        checked.push(format!("{}: {}", name(part), file.display()));
    }
    Ok(checked)
}

fn refused(part: Part, file: &Path, output: &Output) -> Error {
    let message =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).trim().to_owned()).join("\n");
    Error::Setting(format!("{} refuses {}:\n{}", name(part), file.display(), message.trim()))
}
