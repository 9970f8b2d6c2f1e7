//! Trains models in a bounded child process.
//!
//! Trainings run one at a time, with a deadline, on half of the processors and at the lowest priority but one, since
//! live requests go first; their logs are kept. This program exports the rows itself, so that training and serving
//! compute the same features. `models/train.py` decides whether a model is deployed, by its policy.
//!
//! A training continues if the client that requested it disconnects, but never outlives this program: at the end or at
//! the deadline the child's whole process group is killed. If this program is killed, the child's standard input
//! closes, and the child exits.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tokio::process::Command;
use tokio::sync::{Semaphore, watch};
use tracing::Instrument as _;

use crate::application::{Application, ExportError};
use crate::store::{Store, StoreError};

/// Fewer labelled transactions are not enough for a training.
pub const LEAST_LABELS: i64 = 100;
/// Exit code of `models/train.py` if too few rows are left after its own selection.
const NO_DATA: i32 = 3;
/// Trainings whose logs are kept.
const KEPT_RUNS: usize = 10;
/// Most bytes of the child's output that are read.
const MOST_RESULT: usize = 1024 * 1024;

/// How trainings run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The interpreter of the training environment.
    pub python: PathBuf,
    /// `models/train.py`.
    pub script: PathBuf,
    /// The registry that it writes the model to.
    pub registry: PathBuf,
    /// Folder for rows and logs, with one folder per training.
    pub work: PathBuf,
    /// Longest duration.
    pub deadline: Duration,
    /// What is done with the new model.
    pub deploy: Deploy,
}

/// What is done with a new model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Deploy {
    /// Deploy it if the policy allows
    Policy,
    /// Make it the challenger, which is only compared
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

/// The result of a training.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingOutcome {
    /// The new version.
    pub run_id: String,
    /// `true` if it was deployed.
    pub deployed: bool,
    /// Its macro F1 on the temporal validation split.
    pub val_f1_macro: Option<f64>,
    /// The whole output of `models/train.py`.
    pub result: Value,
}

/// Why a training made no model.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Another one is running.
    #[error("a training is running: wait until it has finished")]
    Busy,
    /// Too few labels.
    #[error("no data: {0}")]
    NoData(String),
    /// The training environment is not installed.
    #[error(
        "{program} cannot be started: run `setup/run training`, or give the right place with --train-python and --train-script"
    )]
    NotSetUp {
        /// The program.
        program: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The deadline passed.
    #[error("the training took longer than {0:?} and was stopped: its log tells how far it got")]
    Late(Duration),
    /// The child failed.
    #[error("the training failed ({status}): its log {log} says why")]
    Failed {
        /// Its exit status.
        status: ExitStatus,
        /// Where its log is.
        log: String,
    },
    /// The registry cannot be written.
    #[error("the registry {folder} cannot be written, so nothing was trained: train where it can be written")]
    ReadOnly {
        /// The registry.
        folder: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// This program is shutting down.
    #[error("the scorer is shutting down, so the training was stopped: repeat it when the scorer runs again")]
    Stopped,
    /// The child succeeded, but its output cannot be read.
    #[error("the training's output cannot be read: use script and scorer of the same version")]
    Unreadable,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The rows could not be written.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The folder of the training cannot be written.
    #[error("{folder} cannot be written: check free space and permissions")]
    Folder {
        /// The folder.
        folder: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Runs trainings one at a time, over all clones.
#[derive(Debug, Clone)]
pub struct Trainer {
    plan: Arc<Plan>,
    application: Arc<dyn Application>,
    permit: Arc<Semaphore>,
    /// `true` once no training may start any more.
    stopping: Arc<watch::Sender<bool>>,
}

impl Trainer {
    /// A trainer by `plan`, on the rows of `application`.
    #[must_use]
    pub fn new(plan: Plan, application: Arc<dyn Application>) -> Self {
        let stopping = Arc::new(watch::Sender::new(false));
        Self { plan: Arc::new(plan), application, permit: Arc::new(Semaphore::new(1)), stopping }
    }

    /// The same trainer, whose models only become challengers: for trainings that no operator requested.
    #[must_use]
    pub fn challenger_only(&self) -> Self {
        let plan = Plan { deploy: Deploy::Challenger, ..Plan::clone(&self.plan) };
        Self { plan: Arc::new(plan), ..self.clone() }
    }

    /// Trains on the labels in `store`, on the newest `limit` of them if given.
    ///
    /// # Errors
    /// See [`TrainError`]. The models that serve are unchanged then.
    pub async fn train(&self, store: &Store, limit: Option<u32>) -> Result<TrainingOutcome, TrainError> {
        let permit = Arc::clone(&self.permit).try_acquire_owned().map_err(|_| TrainError::Busy)?;
        let (plan, store, mut stopping) = (Arc::clone(&self.plan), store.clone(), self.stopping.subscribe());
        let application = Arc::clone(&self.application);
        // A task of its own, so that it is not dropped with its request.
        let run = async move {
            let done = tokio::select! {
                biased;
                // Never an error while the sender exists; once it is dropped, nobody waits for this training.
                _ = stopping.wait_for(|stopping| *stopping) => Err(TrainError::Stopped),
                done = plan.run(&*application, &store, limit) => done,
            };
            drop(permit);
            done
        };
        tokio::spawn(run.in_current_span()).await.unwrap_or(Err(TrainError::Unreadable))
    }

    /// Stops a running training and prevents further ones. Returns when its process is gone.
    pub async fn stop(&self) {
        self.stopping.send_replace(true);
        // The permit is free once the training has ended; it is never returned.
        if let Ok(permit) = self.permit.acquire().await {
            permit.forget();
        }
    }
}

/// The exported rows of a training, which are large; deleted when dropped, however the training ended.
struct ExportedRows(PathBuf);

impl Drop for ExportedRows {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::debug!(folder = %self.0.display(), %error, "training_rows_not_deleted");
        }
    }
}

/// The child and all its descendants; killed when dropped.
struct ProcessGroup(Option<Pid>);

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0
            && let Err(error) = kill_process_group(group, Signal::KILL)
        {
            tracing::debug!(%error, "training_not_killed");
        }
    }
}

impl Plan {
    async fn run(
        &self,
        application: &dyn Application,
        store: &Store,
        limit: Option<u32>,
    ) -> Result<TrainingOutcome, TrainError> {
        let labels = store.count_labels().await?;
        if labels < LEAST_LABELS {
            return Err(TrainError::NoData(format!("{labels} labels, at least {LEAST_LABELS} are needed")));
        }
        self.registry_is_writable()?;
        let folder =
            self.create_run_folder().map_err(|source| TrainError::Folder { folder: shown(&self.work), source })?;
        // The log stays.
        let _rows = ExportedRows(folder.join("features"));
        match tokio::time::timeout(self.deadline, self.export_and_train(application, store, limit, &folder)).await {
            Ok(done) => done,
            Err(_) => Err(TrainError::Late(self.deadline)),
        }
    }

    /// Checks before the training whether its model can be stored.
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
    ) -> Result<TrainingOutcome, TrainError> {
        let features = folder.join("features");
        let rows = application.export(store, &features).await?;
        tracing::info!(rows, log = %folder.join("train.log").display(), "training_started");
        let (status, out) = self.child(limit, &features, folder).await?;
        // The output is the last line.
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
        Ok(TrainingOutcome { run_id, deployed, val_f1_macro, result })
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
        // Standard input stays open, and empty, while this program runs: the child exits when it closes.
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

    /// Creates the folder of this training, and deletes old ones.
    fn create_run_folder(&self) -> io::Result<PathBuf> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let folder = self.work.join(format!("{:013}", now.as_millis()));
        std::fs::create_dir_all(&folder)?;
        // The names are times of one length, so they sort by time.
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
