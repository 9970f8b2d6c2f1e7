//! The flags and variables as they come: names, defaults and help, nothing checked yet.

use clap::{Parser, ValueEnum};
use logging::LogOptions;

use crate::feedback::training::Deploy;

/// What this program does of the scorer's two jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Live answers only.
    Live,
    /// Observations only.
    Observe,
    /// Both, in one program.
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

    /// Does it answer clients of arm "model"?
    #[must_use]
    pub const fn live(self) -> bool {
        matches!(self, Self::Live | Self::Both)
    }

    /// Does it take observations?
    #[must_use]
    pub const fn observe(self) -> bool {
        matches!(self, Self::Observe | Self::Both)
    }
}

/// The shadow-scorer: answers for the model's arm, and works out the other side of every observed answer.
#[derive(Debug, Clone, Parser)]
#[command(name = "shadow-scorer", version)]
pub struct Raw {
    /// Format and level of the log
    #[command(flatten)]
    pub log: LogOptions,

    /// Address and port to listen on, HTTP/1.1 and h2c; port 0 takes a free one [default: PERCH_HOST:PERCH_SCORER_PORT]
    #[arg(long, env = "PERCH_SCORER_LISTEN", value_name = "HOST:PORT")]
    pub listen: Option<String>,

    /// Which of the two jobs this program does
    #[arg(long, env = "PERCH_ROLE", value_enum, default_value = "both")]
    pub role: Role,

    /// Folder of the model registry
    #[arg(long, env = "PERCH_REGISTRY", value_name = "FOLDER", default_value = "models/registry")]
    pub registry: String,

    /// How often the registry's aliases are looked at, so that one deployment reaches every scorer; 0 never
    #[arg(long, env = "PERCH_REGISTRY_POLL_MS", value_name = "MS", default_value_t = 2_000)]
    pub registry_poll_ms: u64,

    /// The store of transactions: sqlite://FILE or postgres://…
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

    /// Longest wait of a live answer for the store; after it the rules answer
    #[arg(long, env = "PERCH_LIVE_DEADLINE_MS", value_name = "MS", default_value_t = 200)]
    pub live_deadline_ms: u64,

    /// Live answers under way at once; more are refused at once
    #[arg(long, env = "PERCH_LIVE_IN_FLIGHT", value_name = "N", default_value_t = 512)]
    pub live_in_flight: usize,

    /// Threads that accept connections and give live answers [default: one per core]
    #[arg(long, env = "PERCH_LIVE_THREADS", value_name = "N")]
    pub live_threads: Option<usize>,

    /// Candidates below this confidence are left out
    #[arg(long, env = "PERCH_MIN_CONFIDENCE", value_name = "0..1", default_value_t = 0.1)]
    pub min_confidence: f64,

    /// Threads for observation work, apart from those of live answers [default: half of the cores, at least 1]
    #[arg(long, env = "PERCH_OBSERVE_THREADS", value_name = "N")]
    pub observe_threads: Option<usize>,

    /// Observations that may wait or be worked on; more are shed, counted
    #[arg(long, env = "PERCH_OBSERVE_QUEUE", value_name = "N", default_value_t = 100_000)]
    pub observe_queue: usize,

    /// Bytes of observation batches that may wait or be worked on
    #[arg(long, env = "PERCH_OBSERVE_QUEUE_BYTES", value_name = "BYTES", default_value_t = 64 * 1024 * 1024)]
    pub observe_queue_bytes: usize,

    /// How long an observation may wait for its turn and for the store; one that had no turn by then is shed
    #[arg(long, env = "PERCH_OBSERVE_DEADLINE_MS", value_name = "MS", default_value_t = 1_000)]
    pub observe_deadline_ms: u64,

    /// Size of a decompressed body, at most; a larger one counts as unreadable
    #[arg(long, env = "PERCH_DECODED_BYTES", value_name = "BYTES", default_value_t = 8 * 1024 * 1024)]
    pub decoded_bytes: usize,

    /// Disagreements that are kept as samples
    #[arg(long, env = "PERCH_SAMPLES", value_name = "N", default_value_t = 1_000)]
    pub samples: usize,

    /// Observations for which the candidate is asked twice and compared with itself, the system's own noise; 0 none
    #[arg(long, env = "PERCH_NOISE_PERCENT", value_name = "0..100", default_value_t = 1.0)]
    pub noise_percent: f64,

    /// How long a suggestion is remembered, so that feedback on it finds who gave it
    #[arg(long, env = "PERCH_KEEP_EVENTS_DAYS", value_name = "DAYS", default_value_t = 30)]
    pub keep_events_days: u64,

    /// How long what users said to suggestions is kept; the labels that followed stay
    #[arg(long, env = "PERCH_KEEP_FEEDBACK_DAYS", value_name = "DAYS", default_value_t = 90)]
    pub keep_feedback_days: u64,

    /// File with the operator's token, which only its owner may read; without it nothing is trained, reloaded, deployed,
    /// rolled back or challenged by request. A second line holds the token before it while it is rotated
    #[arg(long, env = "PERCH_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<String>,

    /// Interpreter of the training environment
    #[arg(long, env = "PERCH_TRAIN_PYTHON", value_name = "FILE", default_value = ".perch/venv/bin/python")]
    pub train_python: String,

    /// The training script
    #[arg(long, env = "PERCH_TRAIN_SCRIPT", value_name = "FILE", default_value = "models/train.py")]
    pub train_script: String,

    /// Folder of the trainings' rows and logs; the last ten logs are kept
    #[arg(long, env = "PERCH_TRAIN_FOLDER", value_name = "FOLDER", default_value = ".perch/train")]
    pub train_folder: String,

    /// Longest training; after it the training is stopped
    #[arg(long, env = "PERCH_TRAIN_DEADLINE_S", value_name = "SECONDS", default_value_t = 840)]
    pub train_deadline_s: u64,

    /// What becomes of a model that was trained on request
    #[arg(long, env = "PERCH_TRAIN_DEPLOY", value_enum, default_value = "policy")]
    pub train_deploy: Deploy,

    /// Rows that must be observed before drift is judged
    #[arg(long, env = "PERCH_DRIFT_ROWS", value_name = "N", default_value_t = 1_000)]
    pub drift_rows: u64,

    /// Hours that they must span, since a morning is no sample of a day; of the last seven days all rows count
    #[arg(long, env = "PERCH_DRIFT_HOURS", value_name = "HOURS", default_value_t = 24)]
    pub drift_hours: u64,

    /// Distinct users that they must come from, where users are known: the habits of few are no sample of a population
    #[arg(long, env = "PERCH_DRIFT_USERS", value_name = "N", default_value_t = 100)]
    pub drift_users: u64,

    /// How often the models are judged on what users said, and drift is looked at; 0 never
    #[arg(long, env = "PERCH_JUDGE_EVERY_MS", value_name = "MS", default_value_t = 60_000)]
    pub judge_every_ms: u64,

    /// Train anew when what the model is asked, or its agreement, has moved away from its training
    #[arg(long, env = "PERCH_RETRAIN_ON_DRIFT")]
    pub retrain_on_drift: bool,

    /// Shortest time between two such trainings
    #[arg(long, env = "PERCH_RETRAIN_COOL_DOWN_HOURS", value_name = "HOURS", default_value_t = 24)]
    pub retrain_cool_down_hours: u64,

    /// Connections at once; more wait in the kernel's queue
    #[arg(long, env = "PERCH_CONNECTIONS", value_name = "N", default_value_t = 1_024)]
    pub connections: usize,

    /// How long a connection may take to send a request's head, and a request's body
    #[arg(long, env = "PERCH_READ_TIMEOUT_MS", value_name = "MS", default_value_t = 10_000)]
    pub read_timeout_ms: u64,

    /// After SIGTERM: how long to go on serving while /readyz already says no, so that health checks see it
    #[arg(long, env = "PERCH_DRAIN_NOTICE_MS", value_name = "MS", default_value_t = 1_000)]
    pub drain_notice_ms: u64,

    /// After that: how long requests under way may take to end
    #[arg(long, env = "PERCH_DRAIN_MS", value_name = "MS", default_value_t = 10_000)]
    pub drain_ms: u64,
}
