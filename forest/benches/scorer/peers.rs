//! LightGBM and onnxruntime, in a Python process that gets requests on its stdin.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::measure::{Cache, Case};

pub(crate) struct Peers {
    process: Child,
    requests: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl Peers {
    /// Starts the process, after training the models if an earlier run has not left them.
    pub(crate) fn start(folder: &Path) -> Result<Peers> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = std::env::var_os("PERCH_PYTHON").unwrap_or_else(|| here.join("../.perch/venv/bin/python").into());
        let script = here.join("python/peers.py");
        if !folder.join("rows.f32").exists() {
            eprintln!("training the models, which takes some minutes");
            let status = command(&python, &script, "prepare", folder).status().with_context(|| hint(&python))?;
            ensure!(status.success(), "{} prepare failed", script.display());
        }
        let mut process = command(&python, &script, "serve", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| hint(&python))?;
        let requests = process.stdin.take().context("stdin")?;
        let replies = BufReader::new(process.stdout.take().context("stdout")?);
        Ok(Peers { process, requests, replies })
    }

    /// Microseconds of each call.
    pub(crate) fn time_calls(&mut self, engine: &str, case: Case, seconds: f64) -> Result<Vec<f64>> {
        let cache = if case.cache == Cache::Cold { "cold" } else { "warm" };
        writeln!(self.requests, "{engine} {} {} {cache} {seconds}", case.trees, case.batch)?;
        self.requests.flush()?;
        let mut reply = String::new();
        self.replies.read_line(&mut reply)?;
        serde_json::from_str(&reply).with_context(|| format!("{engine} replied {reply:?}"))
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        // Its stdin closes with this process in any case; a peer that still works is not waited for.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn command(python: &OsString, script: &PathBuf, verb: &str, folder: &Path) -> Command {
    let mut command = Command::new(python);
    command.arg(script).arg(verb).arg(folder);
    command
}

fn hint(python: &OsString) -> String {
    format!("{}: `setup/run training` makes it, or name another in PERCH_PYTHON", Path::new(python).display())
}
