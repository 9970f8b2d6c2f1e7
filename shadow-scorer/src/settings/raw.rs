//! Flags and environment variables as given: names, defaults and help. Nothing is checked yet.

use clap::{Parser, ValueEnum};
use logging::LogOptions;

use crate::feedback::training::Deploy;

/// Which of the scorer's two jobs this process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Respond to live requests only
    Live,
    /// Work on observations only
    Observe,
    /// Both, in one process
    Both,
}

impl Role {
    /// The role as its flag writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Observe => "observe",
            Self::Both => "both",
        }
    }

    /// Returns `true` if it responds to live requests of canary users.
    #[must_use]
    pub const fn live(self) -> bool {
        matches!(self, Self::Live | Self::Both)
    }

    /// Returns `true` if it accepts observations.
    #[must_use]
    pub const fn observe(self) -> bool {
        matches!(self, Self::Observe | Self::Both)
    }
}

/// The shadow-scorer: gives canary users the candidate's response, and compares the candidate with the baseline on
/// observed requests.
#[derive(Debug, Clone, Parser)]
#[command(name = "shadow-scorer", version)]
pub struct Raw {
    /// Format and level of the log
    #[command(flatten)]
    pub log: LogOptions,

    /// Address and port to listen on, for HTTP/1.1 and h2c; port 0 takes a free one [default:
    /// PERCH_HOST:PERCH_SCORER_PORT]
    #[arg(long, env = "PERCH_SCORER_LISTEN", value_name = "HOST:PORT")]
    pub listen: Option<String>,

    /// Which of its two jobs this process does
    #[arg(long, env = "PERCH_ROLE", value_enum, default_value = "both")]
    pub role: Role,

    /// Folder of the model registry
    #[arg(long, env = "PERCH_REGISTRY", value_name = "FOLDER", default_value = "models/registry")]
    pub registry: String,

    /// Interval at which the registry's aliases (champion, challenger) are read, so that a deployment reaches every
    /// scorer; 0 turns it off
    #[arg(long, env = "PERCH_REGISTRY_POLL_MS", value_name = "MS", default_value_t = 2_000)]
    pub registry_poll_ms: u64,

    /// Store of transactions: sqlite://FILE or postgres://USER@HOST:PORT/DATABASE
    #[arg(
        long,
        env = "PERCH_STORE",
        value_name = "URL",
        default_value = "sqlite://.perch/data/perch.sqlite",
        hide_env_values = true
    )]
    pub store: String,

    /// Path of the intercepted request
    #[arg(long, env = "PERCH_INTERCEPT_PATH", value_name = "PATH", default_value = "/ml/suggestions")]
    pub intercept_path: String,

    /// Longest wait of a live request for the store; after it the scorer returns 503 and the client is given the baseline
    #[arg(long, env = "PERCH_LIVE_DEADLINE_MS", value_name = "MS", default_value_t = 200)]
    pub live_deadline_ms: u64,

    /// Live requests (requests of canary users that the gateway sends here) in progress at once; further ones get 503
    /// immediately
    #[arg(long, env = "PERCH_LIVE_IN_FLIGHT", value_name = "N", default_value_t = 512)]
    pub live_in_flight: usize,

    /// Threads that accept connections and respond to live requests [default: one per core]
    #[arg(long, env = "PERCH_LIVE_THREADS", value_name = "N")]
    pub live_threads: Option<usize>,

    /// The candidate gives an item no label whose confidence is below this
    #[arg(long, env = "PERCH_MIN_CONFIDENCE", value_name = "0..1", default_value_t = 0.1)]
    pub min_confidence: f64,

    /// Threads for observation work, separate from those of live requests [default: half of the cores, at least 1]
    #[arg(long, env = "PERCH_OBSERVE_THREADS", value_name = "N")]
    pub observe_threads: Option<usize>,

    /// Observations that may be queued or in progress; further ones are shed and counted
    #[arg(long, env = "PERCH_OBSERVE_QUEUE", value_name = "N", default_value_t = 100_000)]
    pub observe_queue: usize,

    /// Bytes of observation batches that may be queued or in progress
    #[arg(long, env = "PERCH_OBSERVE_QUEUE_BYTES", value_name = "BYTES", default_value_t = 64 * 1024 * 1024)]
    pub observe_queue_bytes: usize,

    /// Deadline of an observation. If no thread is free by then, it is shed; if the store has not responded by then,
    /// its items count as not compared (candidate_unavailable)
    #[arg(long, env = "PERCH_OBSERVE_DEADLINE_MS", value_name = "MS", default_value_t = 1_000)]
    pub observe_deadline_ms: u64,

    /// Largest decompressed body; a larger one counts as unreadable
    #[arg(long, env = "PERCH_DECODED_BYTES", value_name = "BYTES", default_value_t = 8 * 1024 * 1024)]
    pub decoded_bytes: usize,

    /// Disagreements kept in memory as samples; 0 keeps none
    #[arg(long, env = "PERCH_SAMPLES", value_name = "N", default_value_t = 1_000)]
    pub samples: usize,

    /// Percentage of observations for which the candidate is called twice and compared with itself, to measure its own
    /// noise
    #[arg(long, env = "PERCH_NOISE_PERCENT", value_name = "0..100", default_value_t = 1.0)]
    pub noise_percent: f64,

    /// How long a suggestion is kept, so that feedback on it can be attributed to an arm
    #[arg(long, env = "PERCH_KEEP_EVENTS_DAYS", value_name = "DAYS", default_value_t = 30)]
    pub keep_events_days: u64,

    /// How long feedback is kept; labels derived from it stay
    #[arg(long, env = "PERCH_KEEP_FEEDBACK_DAYS", value_name = "DAYS", default_value_t = 90)]
    pub keep_feedback_days: u64,

    /// File with the operator's token, readable by its owner only. Without it, requests to train, reload, deploy, roll
    /// back and challenge are refused. While the token is rotated, a second line holds the previous one
    #[arg(long, env = "PERCH_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<String>,

    /// Python interpreter of the training environment
    #[arg(long, env = "PERCH_TRAIN_PYTHON", value_name = "FILE", default_value = ".perch/venv/bin/python")]
    pub train_python: String,

    /// The training script
    #[arg(long, env = "PERCH_TRAIN_SCRIPT", value_name = "FILE", default_value = "models/train.py")]
    pub train_script: String,

    /// Folder for training rows and logs; the last ten logs are kept
    #[arg(long, env = "PERCH_TRAIN_FOLDER", value_name = "FOLDER", default_value = ".perch/train")]
    pub train_folder: String,

    /// Longest duration of a training; after it the training is stopped
    #[arg(long, env = "PERCH_TRAIN_DEADLINE_S", value_name = "SECONDS", default_value_t = 840)]
    pub train_deadline_s: u64,

    /// What is done with a model that was trained on request
    #[arg(long, env = "PERCH_TRAIN_DEPLOY", value_enum, default_value = "policy")]
    pub train_deploy: Deploy,

    /// Rows that must be observed before drift is evaluated
    #[arg(long, env = "PERCH_DRIFT_ROWS", value_name = "N", default_value_t = 1_000)]
    pub drift_rows: u64,

    /// Shortest span, in hours, of the rows that --drift-rows counts (a morning does not represent a day). Only rows of
    /// the last seven days are counted
    #[arg(long, env = "PERCH_DRIFT_HOURS", value_name = "HOURS", default_value_t = 24)]
    pub drift_hours: u64,

    /// Distinct users that the rows counted for --drift-rows must come from, where users are known: a few users do not
    /// represent all
    #[arg(long, env = "PERCH_DRIFT_USERS", value_name = "N", default_value_t = 100)]
    pub drift_users: u64,

    /// Interval at which models are evaluated on feedback, and drift is evaluated; 0 turns both off
    #[arg(long, env = "PERCH_JUDGE_EVERY_MS", value_name = "MS", default_value_t = 60_000)]
    pub judge_every_ms: u64,

    /// Train a new model when the champion's inputs, or its agreement with the baseline, have moved away from those at
    /// its training
    #[arg(long, env = "PERCH_RETRAIN_ON_DRIFT")]
    pub retrain_on_drift: bool,

    /// Shortest time between two trainings that drift triggered
    #[arg(long, env = "PERCH_RETRAIN_COOL_DOWN_HOURS", value_name = "HOURS", default_value_t = 24)]
    pub retrain_cool_down_hours: u64,

    /// Open connections at once; further ones wait in the kernel's queue
    #[arg(long, env = "PERCH_CONNECTIONS", value_name = "N", default_value_t = 1_024)]
    pub connections: usize,

    /// Longest time for a client to send a request's head, and again for its body
    #[arg(long, env = "PERCH_READ_TIMEOUT_MS", value_name = "MS", default_value_t = 10_000)]
    pub read_timeout_ms: u64,

    /// Time after SIGTERM to keep serving while /readyz returns 503, so that health checks notice
    #[arg(long, env = "PERCH_DRAIN_NOTICE_MS", value_name = "MS", default_value_t = 1_000)]
    pub drain_notice_ms: u64,

    /// Time after --drain-notice-ms for requests in progress to finish
    #[arg(long, env = "PERCH_DRAIN_MS", value_name = "MS", default_value_t = 10_000)]
    pub drain_ms: u64,
}
