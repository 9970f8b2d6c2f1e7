//! Every configuration judged by the program that will read it, before anything is started.

use std::path::Path;
use std::process::{Command, Output};

use contract::ports::Part;

use crate::error::{Error, name};
use crate::parts;
use crate::stack::Stack;

/// Writes and checks the configurations of all of the stack's parts; returns what was checked.
///
/// # Errors
/// When a program refuses its configuration, with its own words.
pub fn configurations(stack: &Stack) -> Result<Vec<String>, Error> {
    let mut checked = Vec::new();
    if let Some(document) = stack.plugin_config() {
        // By the filter's own code: inside Envoy it would only log, and leave everybody on the rules.
        filter::config::Config::parse(document.as_bytes(), stack.module())
            .map_err(|error| Error::Setting(format!("the filter refuses its configuration: {error}")))?;
        checked.push("filter: its configuration".into());
    }
    for part in stack.parts() {
        let Some(file) = parts::configure(stack, part)? else { continue };
        let bin = stack.place().state().join("bin");
        let (program, arguments): (_, &[&str]) = match part {
            Part::Gateway => (
                stack.place().envoy(),
                &["--mode", "validate", "--disable-hot-restart", "--log-level", "error", "--config-path"],
            ),
            Part::Prometheus => (bin.join("promtool"), &["check", "config"]),
            Part::Alertmanager => (bin.join("amtool"), &["check-config"]),
            _ => continue,
        };
        let mut judge = Command::new(program);
        judge.args(arguments).arg(&file);
        let output = judge.output().map_err(Error::io(format!("running {}", judge.get_program().display())))?;
        if !output.status.success() {
            return Err(refused(part, &file, &output));
        }
        checked.push(format!("{}: {}", name(part), file.display()));
    }
    Ok(checked)
}

fn refused(part: Part, file: &Path, output: &Output) -> Error {
    let said = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).trim().to_owned()).join("\n");
    Error::Setting(format!("{} refuses {}:\n{}", name(part), file.display(), said.trim()))
}
