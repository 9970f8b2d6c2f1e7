//! A PostgreSQL server of a test's own, empty, gone when dropped.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};
use stack::checkout::Checkout;

/// The server. It runs under the script that the store's own tests run under, for as long as its input is open.
#[derive(Debug)]
pub struct Postgres {
    script: Child,
    url: String,
    pid: String,
}

impl Postgres {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// When PostgreSQL is not installed or does not start.
    pub fn start() -> anyhow::Result<Self> {
        let script = Checkout::find()?.file("shadow-scorer/tests/with-postgres");
        let say = "echo \"$PERCH_TEST_POSTGRES_URL $PERCH_TEST_POSTGRES_PID\"; cat >/dev/null";
        let mut script = Command::new(&script)
            .args(["sh", "-c", say])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| script.display().to_string())?;
        let mut line = String::new();
        BufReader::new(script.stdout.take().context("no output")?).read_line(&mut line)?;
        let (url, pid) =
            line.trim().split_once(' ').context("no PostgreSQL server: `setup/run postgres` installs it")?;
        Ok(Self { url: url.to_owned(), pid: pid.to_owned(), script })
    }

    /// The URL of its empty database.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Kills it as the end of its machine would: connections break without notice, and nothing listens afterwards.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.signal("-KILL")
    }

    /// Suspends it: connections stay, and nothing is served.
    ///
    /// # Errors
    /// When it is gone.
    pub fn suspend(&self) -> anyhow::Result<()> {
        self.signal("-STOP")
    }

    /// Ends [`Self::suspend`].
    ///
    /// # Errors
    /// When it is gone.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.signal("-CONT")
    }

    /// To the server and to the processes that serve its connections.
    fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let sent = Command::new("kill").args([signal, &self.pid]).status()?;
        ensure!(sent.success(), "the server {} is gone", self.pid);
        // None of them may be left by now.
        Command::new("pkill").args([signal, "--parent", &self.pid]).status()?;
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}
