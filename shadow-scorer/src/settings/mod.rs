//! The scorer's settings: [`Raw`] holds flags and environment variables as given, [`Settings`] holds them checked.
//!
//! The scorer only starts with valid settings. Every error names the flag, its value and the fix.

mod raw;

use std::fmt::Display;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use contract::ports::{self, Part, PortError};
use contract::token::TokenFile;
use http::Uri;

pub use raw::{Raw, Role};

use crate::features::drift::Patience;
use crate::feedback::training::Plan;

/// Checked settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Which jobs this process does.
    pub role: Role,
    /// The registry's folder; it may not exist until a first model is trained.
    pub registry: PathBuf,
    /// Interval at which the aliases are read; `None` turns it off.
    pub registry_poll: Option<Duration>,
    /// Interval at which models are evaluated on feedback, and drift is evaluated; `None` turns both off.
    pub judge_every: Option<Duration>,
    /// Shortest time between two trainings that drift triggered; `None` if drift triggers none.
    pub retrain_cool_down: Option<Duration>,
    /// URL of the store. It may contain a password, so it is never logged.
    pub store: String,
    /// Path of the intercepted request, starting with `/`.
    pub intercept_path: String,
    /// Live requests.
    pub live: Live,
    /// Observation work.
    pub observe: Observe,
    /// How long a suggestion event is kept, at least a day.
    pub keep_events: Duration,
    /// How long feedback is kept, at least a day. Labels derived from it stay.
    pub keep_feedback: Duration,
    /// The operator's token; without one, requests that change something are refused.
    pub token: Option<TokenFile>,
    /// Trainings on request.
    pub training: Plan,
    /// The listener.
    pub server: Server,
}

/// Settings of live requests.
#[derive(Debug, Clone)]
pub struct Live {
    /// Longest wait for the store.
    pub deadline: Duration,
    /// Requests in progress at once, at least 1.
    pub in_flight: usize,
    /// Threads of the listener's runtime, at least 1.
    pub threads: usize,
    /// Suggestions below it are left out, `0.0..=1.0`.
    pub min_confidence: f32,
}

/// Settings of observation work.
#[derive(Debug, Clone)]
pub struct Observe {
    /// Threads of their own, at least 1.
    pub threads: usize,
    /// Observations queued or in progress, at least 1.
    pub queue: usize,
    /// Bytes of batches queued or in progress, at least one whole batch.
    pub queue_bytes: usize,
    /// Longest wait for a thread and for the store, counted from the arrival.
    pub deadline: Duration,
    /// Largest decompressed body in bytes, at least 1.
    pub decoded_bytes: usize,
    /// Disagreements kept as samples; 0 keeps none.
    pub samples: usize,
    /// Percentage of observations for which the candidate is called twice, `0.0..=100.0`.
    pub noise_percent: f64,
    /// What must be observed before drift is evaluated.
    pub drift: Patience,
}

/// Limits of the listener.
#[derive(Debug, Clone)]
pub struct Server {
    /// Connections at once, at least 1.
    pub connections: usize,
    /// Time for a request's head, and for its body.
    pub read_timeout: Duration,
    /// Time from the signal until the listener closes.
    pub drain_notice: Duration,
    /// Time from then until requests in progress are aborted.
    pub drain: Duration,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A port variable does not hold a port.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The address to listen on cannot be resolved.
    #[error(
        "--listen is {value:?}, which is not an address and a port: give e.g. 127.0.0.1:0, where 0 takes a free port"
    )]
    Listen {
        /// Its value.
        value: String,
    },
    /// The path cannot occur in a request.
    #[error("--intercept-path is {value:?}: give a path that starts with '/' and has no query, e.g. /ml/suggestions")]
    Path {
        /// Its value.
        value: String,
    },
    /// A number outside its range.
    #[error("--{flag} is {value}: {rule}")]
    Range {
        /// The flag, without its dashes.
        flag: &'static str,
        /// Its value.
        value: String,
        /// The rule, as a fix.
        rule: &'static str,
    },
}

impl Raw {
    /// Checks everything; `lookup` is the environment, for the ports that all parts share.
    ///
    /// # Errors
    /// The first setting that is invalid, with its value and the fix.
    pub fn check(self, lookup: impl Fn(&str) -> Option<String>) -> Result<Settings, SettingsError> {
        let listen = match self.listen {
            Some(text) => text,
            None => ports::address(Part::Scorer, &lookup)?,
        };
        let path_is_good = self.intercept_path.starts_with('/')
            && !self.intercept_path.contains(['?', '#'])
            && self.intercept_path.parse::<Uri>().is_ok();
        if !path_is_good {
            return Err(SettingsError::Path { value: self.intercept_path });
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let at_least_1 = |flag, value: usize| in_range(flag, value, 1, usize::MAX, "give at least 1");
        #[allow(clippy::cast_possible_truncation)]
        let min_confidence = self.min_confidence as f32;
        if !(0.0..=1.0).contains(&min_confidence) {
            let value = self.min_confidence.to_string();
            return Err(SettingsError::Range { flag: "min-confidence", value, rule: "give a number from 0 to 1" });
        }
        let keep_events_days = in_range("keep-events-days", self.keep_events_days, 1, 3_650, "give 1 to 3650 days")?;
        let keep_feedback_days =
            in_range("keep-feedback-days", self.keep_feedback_days, 1, 3_650, "give 1 to 3650 days")?;
        let train_seconds = in_range("train-deadline-s", self.train_deadline_s, 1, 86_400, "give 1 to 86400 seconds")?;
        let cool_down_hours =
            in_range("retrain-cool-down-hours", self.retrain_cool_down_hours, 1, 8_760, "give 1 to 8760 hours")?;
        Ok(Settings {
            listen: resolve(&listen)?,
            role: self.role,
            keep_events: Duration::from_secs(keep_events_days * 86_400),
            keep_feedback: Duration::from_secs(keep_feedback_days * 86_400),
            token: self.token_file.map(TokenFile::new),
            training: Plan {
                python: self.train_python.into(),
                script: self.train_script.into(),
                registry: self.registry.clone().into(),
                work: self.train_folder.into(),
                deadline: Duration::from_secs(train_seconds),
                deploy: self.train_deploy,
            },
            registry: self.registry.into(),
            registry_poll: (self.registry_poll_ms > 0).then(|| Duration::from_millis(self.registry_poll_ms)),
            judge_every: (self.judge_every_ms > 0).then(|| Duration::from_millis(self.judge_every_ms)),
            retrain_cool_down: self.retrain_on_drift.then_some(Duration::from_secs(cool_down_hours * 3_600)),
            store: self.store,
            intercept_path: self.intercept_path,
            live: Live {
                deadline: wait("live-deadline-ms", self.live_deadline_ms)?,
                in_flight: at_least_1("live-in-flight", self.live_in_flight)?,
                threads: at_least_1("live-threads", self.live_threads.unwrap_or(cores))?,
                min_confidence,
            },
            observe: Observe {
                threads: at_least_1("observe-threads", self.observe_threads.unwrap_or((cores / 2).max(1)))?,
                queue: at_least_1("observe-queue", self.observe_queue)?,
                queue_bytes: in_range(
                    "observe-queue-bytes",
                    self.observe_queue_bytes,
                    contract::frame::MAX_BATCH_BYTES,
                    usize::MAX,
                    "give at least 4194304, the size of one batch",
                )?,
                deadline: wait("observe-deadline-ms", self.observe_deadline_ms)?,
                decoded_bytes: at_least_1("decoded-bytes", self.decoded_bytes)?,
                samples: in_range("samples", self.samples, 0, 100_000, "give 0 to 100000; they are held in memory")?,
                noise_percent: in_range(
                    "noise-percent",
                    self.noise_percent,
                    0.0,
                    100.0,
                    "give a number from 0 to 100",
                )?,
                drift: Patience {
                    rows: in_range("drift-rows", self.drift_rows, 1, 1_000_000, "give 1 to 1000000 rows")?,
                    users: in_range("drift-users", self.drift_users, 0, 1_000_000, "give 0 to 1000000 users")?,
                    span: 3_600 * in_range("drift-hours", self.drift_hours, 0, 168, "give 0 to 168 hours, a week")?,
                },
            },
            server: Server {
                connections: at_least_1("connections", self.connections)?,
                read_timeout: wait("read-timeout-ms", self.read_timeout_ms)?,
                drain_notice: Duration::from_millis(self.drain_notice_ms),
                drain: Duration::from_millis(self.drain_ms),
            },
        })
    }
}

fn in_range<N: PartialOrd + Display>(
    flag: &'static str,
    value: N,
    low: N,
    high: N,
    rule: &'static str,
) -> Result<N, SettingsError> {
    if (low..=high).contains(&value) {
        Ok(value)
    } else {
        Err(SettingsError::Range { flag, value: value.to_string(), rule })
    }
}

fn wait(flag: &'static str, ms: u64) -> Result<Duration, SettingsError> {
    in_range(flag, ms, 1, 600_000, "give 1 to 600000 milliseconds").map(Duration::from_millis)
}

fn resolve(text: &str) -> Result<SocketAddr, SettingsError> {
    let fault = || SettingsError::Listen { value: text.to_owned() };
    text.to_socket_addrs().map_err(|_| fault())?.next().ok_or_else(fault)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn check(flags: &[&str]) -> Result<Settings, SettingsError> {
        Raw::try_parse_from([&["shadow-scorer"], flags].concat()).unwrap().check(|_| None)
    }

    #[test]
    fn the_defaults_are_good_and_take_the_shared_ports() {
        let settings = check(&[]).unwrap();
        assert_eq!(settings.listen.to_string(), ports::address(Part::Scorer, |_| None).unwrap());
        assert!(settings.role.live() && settings.role.observe());
    }

    #[test]
    fn the_shared_variables_move_the_ports() {
        let raw = Raw::try_parse_from(["shadow-scorer"]).unwrap();
        let moved = |name: &str| (name == "PERCH_SCORER_PORT").then(|| "18020".to_owned());
        assert_eq!(raw.clone().check(moved).unwrap().listen.port(), 18020);
        let error = raw.check(|name| (name == "PERCH_SCORER_PORT").then(|| "x".into())).unwrap_err().to_string();
        assert!(error.contains("PERCH_SCORER_PORT") && error.contains("\"x\""), "{error}");
    }

    #[test]
    fn each_error_names_its_value_and_the_fix() {
        let cases: &[(&[&str], &str, &str)] = &[
            (&["--listen", "nowhere"], "\"nowhere\"", "127.0.0.1:0"),
            (&["--intercept-path", "ml"], "\"ml\"", "starts with '/'"),
            (&["--min-confidence", "1.5"], "1.5", "0 to 1"),
            (&["--live-deadline-ms", "0"], "--live-deadline-ms is 0", "milliseconds"),
            (&["--observe-queue-bytes", "5"], "is 5", "4194304"),
            (&["--drift-hours", "200"], "is 200", "168"),
            (&["--keep-events-days", "0"], "is 0", "3650 days"),
            (&["--keep-feedback-days", "5000"], "is 5000", "3650 days"),
            (&["--noise-percent", "NaN"], "is NaN", "0 to 100"),
            (&["--train-deadline-s", "90000"], "is 90000", "86400 seconds"),
        ];
        for (flags, value, fix) in cases {
            let error = check(flags).unwrap_err().to_string();
            assert!(error.contains(value) && error.contains(fix), "{flags:?}: {error}");
        }
    }
}
