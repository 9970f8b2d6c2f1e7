//! A stack on this machine: its parts start in the order in which they depend on each other, each is waited for until
//! it is ready, and all of them end when the value is dropped, unless [`Stack::leave_running`] is called.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Deref;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clients::Admin;
use contract::ports::Part;
use rustix::process::Signal;

use crate::builder::{Builder, Upstream};
use crate::error::{Error, name};
use crate::launch;
use crate::layout::Layout;
use crate::part;
use crate::process::Process;

const READY: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(30);

/// A prepared, and usually running, stack.
#[derive(Debug)]
pub struct Stack {
    layout: Layout,
    pub(crate) admin: Admin,
    http: reqwest::Client,
    pub(crate) running: BTreeMap<&'static str, (Part, Process)>,
}

impl Deref for Stack {
    type Target = Layout;

    fn deref(&self) -> &Layout {
        &self.layout
    }
}

impl Builder {
    /// Prepares directory, ports and salt, and starts nothing.
    ///
    /// # Errors
    /// When a program is missing or a directory cannot be made.
    pub fn prepare(self) -> Result<Stack, Error> {
        Stack::prepare(self)
    }

    /// Starts everything and waits until it is ready. On an error all parts that were started are stopped.
    ///
    /// # Errors
    /// When a port is taken, a program missing, or a part does not become ready.
    pub async fn start(self) -> Result<Stack, Error> {
        let mut stack = self.prepare()?;
        stack.start().await?;
        Ok(stack)
    }
}

impl Stack {
    /// A [`Builder`] with the defaults for tests.
    ///
    /// # Errors
    /// When no repository is found.
    pub fn builder() -> Result<Builder, Error> {
        Builder::new()
    }

    fn prepare(settings: Builder) -> Result<Self, Error> {
        let layout = Layout::prepare(settings)?;
        let admin = Admin::new(&layout.ports.url(Part::Admin))?;
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(5))
            .no_proxy()
            .build()
            .map_err(clients::ClientError::Setup)?;
        Ok(Self { layout, admin, http, running: BTreeMap::new() })
    }

    /// Starts all parts and waits for each. All ports are checked first; on an error what was started is stopped.
    ///
    /// # Errors
    /// When a port is taken, a program missing, or a part does not become ready.
    pub async fn start(&mut self) -> Result<(), Error> {
        self.start_these(&self.parts()).await
    }

    /// Starts the parts that do not run ([`Stack::missing`]) and waits until every part is ready. What ran before goes
    /// on as it is, also after an error, when what was started here is stopped.
    ///
    /// # Errors
    /// As for [`Stack::start`], and when a part that runs does not become ready.
    pub async fn start_missing(&mut self) -> Result<(), Error> {
        self.record_parts()?;
        self.start_these(&self.missing()).await
    }

    /// The parts that no earlier command left running: never started, or ended since.
    #[must_use]
    pub fn missing(&self) -> Vec<Part> {
        self.parts().into_iter().filter(|part| self.left_running(*part).is_none()).collect()
    }

    /// The parts that [`Stack::start_missing`] was last told to start, and any that an earlier call left running; all
    /// parts of this stack where it was not called since [`Stack::stop_left_running`].
    #[must_use]
    pub fn expected_parts(&self) -> Vec<Part> {
        let Ok(recorded) = fs::read_to_string(self.parts_file()) else { return self.parts() };
        let is_recorded = |part: Part| recorded.lines().any(|name| name == part::file_name(part));
        let mut parts = self.parts();
        parts.retain(|part| is_recorded(*part) || self.left_running(*part).is_some());
        parts
    }

    fn parts_file(&self) -> PathBuf {
        self.run().join("parts")
    }

    fn record_parts(&self) -> Result<(), Error> {
        let file = self.parts_file();
        let names: Vec<&str> = self.parts().into_iter().map(part::file_name).collect();
        fs::write(&file, names.join("\n")).map_err(Error::io(format!("writing {}", file.display())))
    }

    async fn start_these(&mut self, wanted: &[Part]) -> Result<(), Error> {
        self.check_ports(wanted)?;
        // Every command is made before the first is run: a missing program must not leave half a stack.
        for part in wanted {
            launch::command(self, *part)?;
        }
        for part in self.parts() {
            let started =
                if wanted.contains(&part) { self.start_part(part).await } else { self.wait_running(part).await };
            if let Err(error) = started {
                self.stop();
                return Err(error);
            }
        }
        Ok(())
    }

    /// # Errors
    /// When something listens where one of these parts wants to, named with its variable.
    pub fn check_ports(&self, wanted: &[Part]) -> Result<(), Error> {
        wanted.iter().flat_map(|part| part::listens(*part)).try_for_each(|listening| self.ports.check_free(*listening))
    }

    /// Waits until `part`, which an earlier command left running, is ready.
    async fn wait_running(&self, part: Part) -> Result<(), Error> {
        let began = Instant::now();
        loop {
            let Err(state) = self.ready(part).await else { return Ok(()) };
            let log = self.run().join(format!("{}.log", part::file_name(part)));
            match self.left_running(part) {
                None => return Err(Error::Ended { part: name(part), log, tail: String::new() }),
                Some(process) if began.elapsed() > READY => {
                    return Err(Error::NotReady { part: name(part), waited: READY, state, log, tail: process.tail() });
                }
                Some(_) => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// Starts one part (again) and waits until it is ready.
    ///
    /// # Errors
    /// When its port is taken, its program missing, or it does not become ready.
    pub async fn start_part(&mut self, part: Part) -> Result<(), Error> {
        self.launch(part)?;
        self.wait_ready(part).await
    }

    /// Starts one part without waiting for it.
    ///
    /// # Errors
    /// When its port is taken or its program missing.
    pub fn launch(&mut self, part: Part) -> Result<(), Error> {
        for listening in part::listens(part) {
            self.ports.check_free(*listening)?;
        }
        let command = launch::command(self, part)?;
        let process = Process::start(part::file_name(part), &self.run(), &command)?;
        self.running.insert(part::file_name(part), (part, process));
        Ok(())
    }

    /// Waits until `part` is ready.
    ///
    /// # Errors
    /// When it ends, or is not ready after half a minute; with the end of its log.
    pub async fn wait_ready(&mut self, part: Part) -> Result<(), Error> {
        let began = Instant::now();
        loop {
            let state = match self.ready(part).await {
                Ok(()) => return Ok(()),
                Err(state) => state,
            };
            if let Some((_, process)) = self.running.get_mut(part::file_name(part)) {
                if !process.running() {
                    return Err(Error::Ended {
                        part: name(part),
                        log: process.log().to_path_buf(),
                        tail: process.tail(),
                    });
                }
                if began.elapsed() > READY {
                    let (log, tail) = (process.log().to_path_buf(), process.tail());
                    return Err(Error::NotReady { part: name(part), waited: READY, state, log, tail });
                }
            } else {
                return Err(Error::Setting(format!("the {} is not started by this stack", name(part))));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Succeeds if `part` is ready.
    ///
    /// # Errors
    /// With its state in words if it is not.
    pub async fn ready(&self, part: Part) -> Result<(), String> {
        let url = self.ports.url(part);
        match part {
            Part::Gateway => {
                let state = self.admin.get("/ready").await.map_err(|error| error.to_string())?;
                if state.trim() != "LIVE" {
                    return Err(format!("Envoy is {}", state.trim()));
                }
                // Until its first health check passes a host is not used, and the first requests would fall back.
                let watched = self.settings.scorer_checks && self.settings.scorer != Upstream::Refused;
                if watched && !self.admin.healthy("perch_scorer_live").await.map_err(|error| error.to_string())? {
                    return Err("the scorer has not passed Envoy's health check".into());
                }
                Ok(())
            }
            Part::Scorer | Part::Rules => self.check_health(&format!("{url}/healthz")).await,
            Part::Console => self.check_health(&format!("{url}/healthz")).await,
            _ => self.check_health(&format!("{url}/-/ready")).await,
        }
    }

    async fn check_health(&self, url: &str) -> Result<(), String> {
        let response = self.http.get(url).send().await.map_err(|error| clients::error_chain(&error))?;
        if response.status().is_success() { Ok(()) } else { Err(format!("{url} responds with {}", response.status())) }
    }

    /// Stops all parts, the last started first.
    pub fn stop(&mut self) {
        for part in self.parts().into_iter().rev() {
            self.stop_part(part);
        }
        self.running.clear();
    }

    /// SIGTERM to one part, SIGKILL if it stays.
    pub fn stop_part(&mut self, part: Part) {
        if let Some((_, mut process)) = self.running.remove(part::file_name(part)) {
            process.stop();
        }
    }

    /// SIGKILL to one part; [`Stack::start_part`] starts it again on the same port.
    pub fn kill(&mut self, part: Part) {
        if let Some((_, mut process)) = self.running.remove(part::file_name(part)) {
            process.kill();
        }
    }

    /// A signal to one part, e.g. STOP and CONT to suspend and resume it.
    pub fn signal(&mut self, part: Part, signal: Signal) {
        if let Some((_, process)) = self.running.get_mut(part::file_name(part)) {
            process.signal(signal);
        }
    }

    /// Stops Envoy and starts it again with the same ports; the admin layer's values are lost, the disk layer's stay.
    ///
    /// # Errors
    /// As [`Stack::start_part`].
    pub async fn restart_gateway(&mut self) -> Result<(), Error> {
        self.stop_part(Part::Gateway);
        self.start_part(Part::Gateway).await
    }

    /// Leaves everything running; `stack down` finds it by its pid files.
    pub fn leave_running(mut self) {
        for (_, (_, process)) in std::mem::take(&mut self.running) {
            process.detach();
        }
    }

    /// A part that an earlier command left running, by its pid file.
    #[must_use]
    pub fn left_running(&self, part: Part) -> Option<Process> {
        Process::known(part::file_name(part), &self.run())
    }

    /// Stops what an earlier command left running, the gateway first so that no client meets a half-stopped stack.
    #[must_use]
    pub fn stop_left_running(&self) -> Vec<Part> {
        let mut order = Part::ALL.to_vec();
        order.sort_by_key(|part| *part != Part::Gateway);
        order.retain(|part| *part != Part::Admin);
        // A record that cannot be removed costs no more than a part that `stack status` does not show.
        let _ = fs::remove_file(self.parts_file());
        let mut stopped = Vec::new();
        for part in order {
            match self.left_running(part) {
                Some(mut process) => {
                    process.stop();
                    stopped.push(part);
                }
                // One that ended by itself leaves its pid file.
                None => Process::remove_stale_pid_file(part::file_name(part), &self.run()),
            }
        }
        stopped
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
#[path = "stack_tests.rs"]
mod tests;
