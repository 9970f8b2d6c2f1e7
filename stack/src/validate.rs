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
    for part in stack.parts() {
        // Making the command writes the part's configuration.
        let command = parts::command(stack, part)?;
        let run = stack.run();
        let bin = stack.place().state().join("bin");
        let (mut judge, file) = match part {
            Part::Gateway => {
                let file = run.join("envoy.yaml");
                let mut judge = Command::new(command.get_program());
                judge.args(["--mode", "validate", "--disable-hot-restart", "--log-level", "error", "--config-path"]);
                judge.arg(&file);
                (judge, file)
            }
            Part::Prometheus => {
                let file = run.join("prometheus.yml");
                let mut judge = Command::new(bin.join("promtool"));
                judge.args(["check", "config"]).arg(&file);
                (judge, file)
            }
            Part::Alertmanager => {
                let file = run.join("alertmanager.yml");
                let mut judge = Command::new(bin.join("amtool"));
                judge.arg("check-config").arg(&file);
                (judge, file)
            }
            _ => continue,
        };
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
