//! One program that the stack runs: started detached with its log in a file, known again by its pid file, stopped by
//! signal.
//!
//! A pid file holds the pid and the process's start time, since a pid alone may meanwhile belong to another process.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::Error;

/// How long a part gets to end by itself after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
const TAIL_LINES: usize = 25;

/// A running (or ended) program.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    started_at: u64,
    /// Present when this process is its parent and so has to reap it.
    child: Option<Child>,
    pid_file: PathBuf,
    log: PathBuf,
}

impl Process {
    /// Starts `command` in a session of its own, so that it outlives the terminal; output goes to `RUN/NAME.log`, the
    /// pid to `RUN/NAME.pid`. An older log is kept as `NAME.log.1`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(name: &str, run: &Path, command: &Command) -> Result<Self, Error> {
        let log = run.join(format!("{name}.log"));
        let pid_file = run.join(format!("{name}.pid"));
        if log.exists() {
            fs::rename(&log, run.join(format!("{name}.log.1")))
                .map_err(Error::io(format!("keeping {}", log.display())))?;
        }
        let out = File::create(&log).map_err(Error::io(format!("creating {}", log.display())))?;
        let err = out.try_clone().map_err(Error::io("sharing a log file"))?;
        // `setsid` becomes the program (a fresh child leads no group, so it does not fork) and keeps the pid.
        let mut detached = Command::new("setsid");
        detached.arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => detached.env(key, value),
                None => detached.env_remove(key),
            };
        }
        if let Some(dir) = command.get_current_dir() {
            detached.current_dir(dir);
        }
        let child = detached.stdin(Stdio::null()).stdout(out).stderr(err).spawn().map_err(Error::io(format!(
            "starting {} (through `setsid` of util-linux)",
            command.get_program().display()
        )))?;
        let pid = child.id();
        let started_at = started_at(pid).unwrap_or(0);
        let process = Self { pid, started_at, child: Some(child), pid_file, log };
        fs::write(&process.pid_file, format!("{pid} {started_at}\n"))
            .map_err(Error::io(format!("writing {}", process.pid_file.display())))?;
        Ok(process)
    }

    /// The program that `RUN/NAME.pid` names, if it still runs.
    pub(crate) fn known(name: &str, run: &Path) -> Option<Self> {
        let pid_file = run.join(format!("{name}.pid"));
        let text = fs::read_to_string(&pid_file).ok()?;
        let (pid, recorded_start) = text.trim().split_once(' ')?;
        let pid = pid.parse().ok()?;
        let recorded_start = recorded_start.parse().ok()?;
        (started_at(pid) == Some(recorded_start)).then(|| Self {
            pid,
            started_at: recorded_start,
            child: None,
            pid_file,
            log: run.join(format!("{name}.log")),
        })
    }

    /// Removes the pid file of a program that has ended by itself.
    pub(crate) fn remove_stale_pid_file(name: &str, run: &Path) {
        let _ = fs::remove_file(run.join(format!("{name}.pid")));
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The log's last lines.
    #[must_use]
    pub fn tail(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(TAIL_LINES);
        lines.get(from..).unwrap_or_default().join("\n")
    }

    /// Returns `true` if it runs.
    pub fn running(&mut self) -> bool {
        match &mut self.child {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => started_at(self.pid) == Some(self.started_at),
        }
    }

    /// Sends a signal, if it still runs.
    pub fn signal(&mut self, signal: Signal) {
        if self.running()
            && let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
        {
            // The only failure is that it has just ended, which is as good.
            let _ = kill_process(pid, signal);
        }
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait(GRACE);
        self.remove_pid_file();
    }

    /// SIGTERM, then SIGKILL after ten seconds; waits until it is gone.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        if !self.wait(GRACE) {
            self.kill();
        }
        self.remove_pid_file();
    }

    /// Leaves it running; a later command finds it by its pid file.
    pub(crate) fn detach(mut self) {
        self.child = None;
    }

    fn wait(&mut self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while self.running() {
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(POLL);
        }
        true
    }

    fn remove_pid_file(&self) {
        let _ = fs::remove_file(&self.pid_file);
    }
}

impl Drop for Process {
    /// A part that was started here and not left running ends here, also when a test panics.
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

/// When the process was started, in clock ticks after boot; `None` when there is none, or only a zombie.
fn started_at(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name, in brackets, may hold anything; the fields after it are numbered from 3.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if state == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(run: &Path) -> Process {
        let mut command = Command::new("sleep");
        command.arg("60");
        Process::start("sleeper", run, &command).unwrap()
    }

    #[test]
    fn it_is_known_by_its_pid_file_until_it_ends() {
        let run = tempfile::tempdir().unwrap();
        let mut process = sleeper(run.path());
        assert!(process.running());
        assert_eq!(Process::known("sleeper", run.path()).map(|known| known.pid()), Some(process.pid()));
        process.stop();
        assert!(Process::known("sleeper", run.path()).is_none());
    }

    #[test]
    fn another_process_with_the_same_pid_is_not_taken_for_it() {
        let run = tempfile::tempdir().unwrap();
        fs::write(run.path().join("sleeper.pid"), format!("{} 1\n", std::process::id())).unwrap();
        assert!(Process::known("sleeper", run.path()).is_none());
    }

    #[test]
    fn dropping_it_ends_it() {
        let run = tempfile::tempdir().unwrap();
        let process = sleeper(run.path());
        let pid = process.pid();
        drop(process);
        assert_eq!(started_at(pid), None);
    }
}
