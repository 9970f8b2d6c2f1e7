//! Training anew, as a child process with bounds.
//!
//! One at a time; a deadline, after which the child is killed; its log kept; half of the processors and the lowest
//! priority but one, since live answers go first. The rows are exported by this program's own function, so they are
//! those that it serves. What the training decides (deploy or not) is the contract's policy, in `models/train.py`.
//!
//! A run goes on when the client that asked for it goes away, and never longer than this program: when it ends, or the
//! deadline passes, the child's whole process group is killed. Should this program be killed itself, the child sees its
//! standard input close, and ends.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tokio::process::Command;
use tokio::sync::{Semaphore, watch};

use crate::application::{Application, ExportError};
use crate::store::{Store, StoreError};

/// Fewer labelled transactions are no data.
pub const LEAST_LABELS: i64 = 100;
/// Exit code by which `models/train.py` says the same, of what is left after its own choice of rows.
const NO_DATA: i32 = 3;
/// Runs whose logs are kept.
const KEPT_RUNS: usize = 10;
/// Bytes of the child's result that are read.
const MOST_RESULT: usize = 1024 * 1024;

/// How a training is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The interpreter of the training environment.
    pub python: PathBuf,
    /// `models/train.py`.
    pub script: PathBuf,
    /// The registry that it writes to.
    pub registry: PathBuf,
    /// Where rows and logs go: a folder a run.
    pub work: PathBuf,
    /// Longest run.
    pub deadline: Duration,
    /// Let a good model serve at once, or only be judged beside the champion first?
    pub deploy: Deploy,
}

/// What becomes of a new model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Deploy {
    /// It serves if the policy allows.
    Policy,
    /// It is judged in shadow.
    Challenger,
}

impl Deploy {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Challenger => "challenger",
        }
    }
}

/// What a training came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// The new version.
    pub run_id: String,
    /// Does it serve?
    pub deployed: bool,
    /// Its macro F1 on the temporal validation split.
    pub val_f1_macro: Option<f64>,
    /// The whole result as `models/train.py` printed it.
    pub result: Value,
}

/// A training that did not come to a model.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Another one is under way.
    #[error("a training is under way: wait until it is done")]
    Busy,
    /// Too few labels.
    #[error("no data: {0}")]
    NoData(String),
    /// The training environment is not there.
    #[error(
        "{program} cannot be started: run `setup/run training`, or give the right place with --train-python and --train-script"
    )]
    NotSetUp {
        /// What was to be started.
        program: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The deadline passed.
    #[error("the training took longer than {0:?} and was stopped: its log says how far it came")]
    Late(Duration),
    /// It failed.
    #[error("the training failed ({status}): its log {log} says why")]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// Where its log is.
        log: String,
    },
    /// The registry takes no new version.
    #[error("the registry {folder} cannot be written, so nothing was trained: train where it can be written")]
    ReadOnly {
        /// The registry.
        folder: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// This program is about to end.
    #[error("the scorer is about to end, so the training was stopped: ask again when it is back")]
    Stopped,
    /// It ended well but said nothing that can be read.
    #[error("the training's result cannot be read: script and program are of different versions")]
    Unreadable,
    /// The store did not give the rows.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The rows could not be written.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The folder of the run could not be made.
    #[error("{folder} cannot be written: check that there is room and that the folder may be written")]
    Folder {
        /// The folder.
        folder: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Runs trainings, one at a time; clones share the turn.
#[derive(Debug, Clone)]
pub struct Trainer {
    plan: Arc<Plan>,
    application: Arc<dyn Application>,
    turn: Arc<Semaphore>,
    /// `true` once no training may run any more.
    stopping: Arc<watch::Sender<bool>>,
}

impl Trainer {
    /// A trainer by `plan`, on the rows of `application`.
    #[must_use]
    pub fn new(plan: Plan, application: Arc<dyn Application>) -> Self {
        let stopping = Arc::new(watch::Sender::new(false));
        Self { plan: Arc::new(plan), application, turn: Arc::new(Semaphore::new(1)), stopping }
    }

    /// The same trainer, whose models are only judged in shadow: for trainings that the operator did not ask for.
    #[must_use]
    pub fn judged_only(&self) -> Self {
        let plan = Plan { deploy: Deploy::Challenger, ..Plan::clone(&self.plan) };
        Self { plan: Arc::new(plan), ..self.clone() }
    }

    /// Trains on the labels in `store`, on the newest `limit` of them if given.
    ///
    /// # Errors
    /// See [`TrainError`]. Nothing that serves has changed then.
    pub async fn train(&self, store: &Store, limit: Option<u32>) -> Result<Trained, TrainError> {
        let turn = Arc::clone(&self.turn).try_acquire_owned().map_err(|_| TrainError::Busy)?;
        let (plan, store, mut stopping) = (Arc::clone(&self.plan), store.clone(), self.stopping.subscribe());
        let application = Arc::clone(&self.application);
        // A task of its own, so that it is not dropped with the request that asked for it.
        let run = tokio::spawn(async move {
            let done = tokio::select! {
                biased;
                // Never an error: the sender is in `self`; were it gone, so would be every use of this run.
                _ = stopping.wait_for(|stopping| *stopping) => Err(TrainError::Stopped),
                done = plan.run(&*application, &store, limit) => done,
            };
            drop(turn);
            done
        });
        run.await.unwrap_or(Err(TrainError::Unreadable))
    }

    /// Ends the training that is under way and lets no other begin. Returns when its process is gone.
    pub async fn stop(&self) {
        self.stopping.send_replace(true);
        // The turn is free once the run is over; it is never given back.
        if let Ok(turn) = self.turn.acquire().await {
            turn.forget();
        }
    }
}

/// The exported rows of a run; removed when dropped, however the run ended. They are large and can be made again.
struct Rows(PathBuf);

impl Drop for Rows {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            log::debug!("{}: {error}", self.0.display());
        }
    }
}

/// The child with all that it started; killed when dropped.
struct ProcessGroup(Option<Pid>);

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0
            && let Err(error) = kill_process_group(group, Signal::KILL)
        {
            log::debug!("process group of the training: {error}");
        }
    }
}

impl Plan {
    async fn run(
        &self,
        application: &dyn Application,
        store: &Store,
        limit: Option<u32>,
    ) -> Result<Trained, TrainError> {
        let labels = store.count_labels().await?;
        if labels < LEAST_LABELS {
            return Err(TrainError::NoData(format!("{labels} labels, at least {LEAST_LABELS} are needed")));
        }
        self.registry_is_writable()?;
        let folder = self.begin().map_err(|source| TrainError::Folder { folder: shown(&self.work), source })?;
        // The log stays.
        let _rows = Rows(folder.join("features"));
        match tokio::time::timeout(self.deadline, self.export_and_train(application, store, limit, &folder)).await {
            Ok(done) => done,
            Err(_) => Err(TrainError::Late(self.deadline)),
        }
    }

    /// Finds out before the training, not after it, whether its model could be stored.
    fn registry_is_writable(&self) -> Result<(), TrainError> {
        let probe = self.registry.join(format!(".probe-{}", std::process::id()));
        let write = || {
            std::fs::create_dir_all(&self.registry)?;
            std::fs::write(&probe, [])?;
            std::fs::remove_file(&probe)
        };
        write().map_err(|source| TrainError::ReadOnly { folder: shown(&self.registry), source })
    }

    async fn export_and_train(
        &self,
        application: &dyn Application,
        store: &Store,
        limit: Option<u32>,
        folder: &Path,
    ) -> Result<Trained, TrainError> {
        let features = folder.join("features");
        let rows = application.export(store, &features).await?;
        log::info!("training on {rows} rows, log {}", shown(&folder.join("train.log")));
        let (status, out) = self.child(limit, &features, folder).await?;
        // The result is the last line.
        let result = out.lines().last().and_then(|line| serde_json::from_str::<Value>(line).ok());
        if status.code() == Some(NO_DATA) {
            let detail = result.as_ref().and_then(|result| result.get("detail")?.as_str().map(str::to_owned));
            let detail = detail.unwrap_or_default();
            return Err(TrainError::NoData(detail.strip_prefix("no data: ").unwrap_or(&detail).to_owned()));
        }
        if !status.success() {
            return Err(TrainError::Failed { status, log: shown(&folder.join("train.log")) });
        }
        let result = result.ok_or(TrainError::Unreadable)?;
        let run_id = result.get("run_id").and_then(Value::as_str).ok_or(TrainError::Unreadable)?.to_owned();
        let deployed = result.get("deployed").and_then(Value::as_bool).ok_or(TrainError::Unreadable)?;
        let val_f1_macro = result.pointer("/metrics/val_f1_macro").and_then(Value::as_f64);
        Ok(Trained { run_id, deployed, val_f1_macro, result })
    }

    async fn child(
        &self,
        limit: Option<u32>,
        features: &Path,
        folder: &Path,
    ) -> Result<(ExitStatus, String), TrainError> {
        let not_started = |source| TrainError::NotSetUp { program: shown(&self.python), source };
        if !self.python.exists() || !self.script.exists() {
            let missing = if self.python.exists() { &self.script } else { &self.python };
            return Err(TrainError::NotSetUp { program: shown(missing), source: io::ErrorKind::NotFound.into() });
        }
        let failed = |source| TrainError::Folder { folder: shown(folder), source };
        let log = std::fs::File::create(folder.join("train.log")).map_err(failed)?;
        let threads = std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1));
        let mut command = Command::new("nice");
        command.args(["-n", "18"]).arg(&self.python).arg(&self.script);
        command.arg("--features").arg(features).arg("--registry").arg(&self.registry);
        command.args(["--deploy", self.deploy.as_str(), "--quick", "--end-with-stdin"]);
        if let Some(limit) = limit {
            command.arg("--limit").arg(limit.to_string());
        }
        for name in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"] {
            command.env(name, threads.to_string());
        }
        // Standard input stays open, and empty, for as long as this program runs: the child ends with it.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true).process_group(0);
        let mut child = command.spawn().map_err(not_started)?;
        let _input = child.stdin.take();
        let _group = ProcessGroup(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
        let mut out = Vec::new();
        if let Some(pipe) = child.stdout.take() {
            use tokio::io::AsyncReadExt;
            pipe.take(MOST_RESULT as u64).read_to_end(&mut out).await.map_err(failed)?;
        }
        let status = child.wait().await.map_err(failed)?;
        Ok((status, String::from_utf8_lossy(&out).into_owned()))
    }

    /// The folder of this run; old ones are removed.
    fn begin(&self) -> io::Result<PathBuf> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let folder = self.work.join(format!("{:013}", now.as_millis()));
        std::fs::create_dir_all(&folder)?;
        // Names are times of one length: their order is that of time.
        let mut runs: Vec<PathBuf> = std::fs::read_dir(&self.work)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| is_run(path))
            .collect();
        runs.sort();
        let old = runs.len().saturating_sub(KEPT_RUNS);
        for run in runs.iter().take(old) {
            std::fs::remove_dir_all(run)?;
        }
        Ok(folder)
    }
}

fn is_run(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.len() == 13 && name.bytes().all(|byte| byte.is_ascii_digit()))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
