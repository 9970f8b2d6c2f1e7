//! The parts of the program, and their start and end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;

use super::error::HttpError;
use super::rate_limited_log::RateLimitedLog;
use super::retraining::Retraining;
use super::time::seconds;
use super::{feedback_joining, operator};
use crate::application::Application;
use crate::features::Entity;
use crate::feedback::Trainer;
use crate::metrics::{self, Metrics};
use crate::model::{Alias, Folder, Registry};
use crate::observer::{Observer, Threads};
use crate::settings::Settings;
use crate::store::{Options, Store, StoreError};

/// What handlers use.
#[derive(Debug)]
pub struct App {
    /// Checked settings.
    pub settings: Settings,
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// Whose entities the models judge.
    pub application: Arc<dyn Application>,
    /// The models that are loaded.
    pub registry: Arc<Registry>,
    /// Entities, events and labels, over connections of the runtime that responds to live requests.
    pub store: Store,
    /// The same store, over connections that live requests do not share.
    pub feedback_store: Store,
    /// Permits for feedback that uses the store.
    pub(super) feedback_permits: Semaphore,
    /// Runs trainings, on request or triggered by drift.
    pub trainer: Trainer,
    /// Whether drift may trigger a training.
    pub(super) retraining: Retraining,
    /// Observation work; `None` if the role excludes it.
    pub observer: Option<Observer>,
    /// Permits for live requests.
    pub(super) live_permits: Semaphore,
    pub(super) failures: RateLimitedLog,
    draining: AtomicBool,
}

/// Why the program did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The threads for observation work cannot be started.
    #[error("cannot start threads for observation work: {0}; lower --observe-threads")]
    Threads(io::Error),
    /// The file with the operator's token cannot be used.
    #[error("--token-file: {0}")]
    Token(String),
    /// Two metrics have one name, which is a defect.
    #[error("cannot declare metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl App {
    /// Opens the store, loads the models and starts the observer. Call it on the runtime that responds to live
    /// requests.
    ///
    /// A registry without a usable model is not an error: the log, `/readyz`, the status and metrics tell, and live
    /// requests get 503 until there is one.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(settings: Settings, application: Arc<dyn Application>) -> Result<Arc<Self>, StartError> {
        let metrics = Arc::new(Metrics::new()?);
        let store = Store::open(&settings.store, &Options::default(), application.clone()).await?;
        match &settings.token {
            Some(file) => drop(file.read().map_err(|error| StartError::Token(operator::describe(&error)))?),
            None => tracing::warn!(
                refused = "train, reload, deploy, rollback, challenge",
                fix = "start with --token-file",
                "operator_token_missing"
            ),
        }
        let folder = Folder::new(&settings.registry);
        let registry = Arc::new(Registry::new(folder, application.schema(), Arc::clone(&metrics)));
        blocking(&registry, |registry| registry.reload_if_moved()).await;
        // The last training that is known, until there is another.
        if let Some(champion) = registry.champion() {
            metrics::set(&metrics.train_f1, champion.manifest.metrics.val_f1_macro);
        }
        if registry.champion().is_none() && registry.refused().is_empty() {
            tracing::warn!(
                registry = %settings.registry.display(),
                refused = "live requests",
                fix = "train and deploy a model, e.g. with `make ml-train`",
                "champion_missing"
            );
        }
        let observer = if settings.role.observe() {
            Some(Self::observer(&settings, &registry, &store, &metrics).await?)
        } else {
            None
        };
        let feedback_store = store.beside(&Options::for_feedback()).await?;
        tokio::spawn(feedback_joining::keep(feedback_store.clone(), settings.keep_feedback, Arc::clone(&metrics)));
        probe(&feedback_store, &metrics).await;
        tokio::spawn(keep_probing(feedback_store.clone(), Arc::clone(&metrics)));
        Ok(Arc::new(Self {
            trainer: Trainer::new(settings.training.clone(), Arc::clone(&application)),
            retraining: Retraining::new(settings.retrain_cool_down),
            live_permits: Semaphore::new(settings.live.in_flight.min(Semaphore::MAX_PERMITS)),
            settings,
            metrics,
            application,
            registry,
            store,
            feedback_store,
            feedback_permits: Semaphore::new(feedback_joining::MOST_AT_ONCE),
            observer,
            failures: RateLimitedLog::default(),
            draining: AtomicBool::new(false),
        }))
    }

    async fn observer(
        settings: &Settings,
        registry: &Arc<Registry>,
        store: &Store,
        metrics: &Arc<Metrics>,
    ) -> Result<Observer, StartError> {
        let threads = Threads::start(settings.observe.threads).map_err(StartError::Threads)?;
        let live = store.clone();
        let opening = threads.handle().spawn(async move { live.beside(&Options::default()).await });
        let opened: Result<Store, StartError> = match opening.await {
            Ok(opened) => opened.map_err(StartError::Store),
            Err(error) => Err(StartError::Threads(io::Error::other(error))),
        };
        match opened {
            Ok(store) => Ok(Observer::start(threads, settings, Arc::clone(registry), store, Arc::clone(metrics))),
            Err(error) => {
                // They wait for their threads when dropped, which panics inside a runtime.
                if let Err(panicked) = tokio::task::spawn_blocking(move || drop(threads)).await {
                    tracing::debug!(error = %panicked, "observation_threads_panicked");
                }
                Err(error)
            }
        }
    }

    /// Finds the entities of `ids` within the deadline of a live request; unknown ids are left out.
    ///
    /// # Errors
    /// 503 with reason `store`.
    pub async fn entities(&self, ids: &[i64]) -> Result<Vec<Arc<dyn Entity>>, HttpError> {
        let found = self.store.entities_within(ids, self.settings.live.deadline).await;
        if found.is_err() {
            self.metrics.store_failures.with_label_values(&["live"]).inc();
        }
        found.map_err(HttpError::from)
    }

    /// Reads the aliases at regular intervals, until the program ends.
    pub async fn watch_registry(self: Arc<Self>) {
        let Some(every) = self.settings.registry_poll else { return };
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            blocking(&self.registry, |registry| {
                registry.reload_if_moved();
            })
            .await;
        }
    }

    /// Ends a running training, writes pending events and closes the store. Call it when nothing is served any more.
    pub async fn finish(&self) {
        self.trainer.stop().await;
        if let Some(observer) = &self.observer {
            observer.finish().await;
        }
        self.feedback_store.close().await;
        self.store.close().await;
    }

    /// From now on `/readyz` returns 503.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Why the scorer is not ready for requests; `None` if it is.
    ///
    /// A scorer whose only champion was refused is not ready: in a rolling update it would replace one that has a
    /// model. A registry that names no champion does not matter: a first scorer starts like that, and its observations
    /// count without a model.
    pub(super) fn not_ready(&self) -> Option<String> {
        if self.draining.load(Ordering::Relaxed) {
            return Some("the scorer is shutting down".to_owned());
        }
        if let Some(trouble) = self.store.trouble() {
            return Some(trouble);
        }
        if self.registry.champion().is_some() {
            return None;
        }
        let refused = self.registry.refused();
        let champion = refused.iter().find(|refused| refused.alias == Alias::Champion)?;
        Some(format!("champion {:?} is refused: {}", champion.version, champion.message))
    }
}

/// Interval at which a write to the store is tried.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// Writes to the store, since successful reads say nothing about its disk. The store logs a failure.
async fn probe(store: &Store, metrics: &Metrics) {
    let _ = store.probe_writes(i64::try_from(seconds(SystemTime::now())).unwrap_or(i64::MAX)).await;
    metrics.store_writable.set(i64::from(store.trouble().is_none()));
}

async fn keep_probing(store: Store, metrics: Arc<Metrics>) {
    let mut ticks = tokio::time::interval(PROBE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        probe(&store, &metrics).await;
    }
}

/// Runs `work` on the registry where blocking is allowed; `None` if it panicked, which is logged.
pub(super) async fn blocking<T: Send + 'static>(
    registry: &Arc<Registry>,
    work: impl FnOnce(&Registry) -> T + Send + 'static,
) -> Option<T> {
    let registry = Arc::clone(registry);
    // What is logged in there belongs to the request that asks for it.
    let request = tracing::Span::current();
    tokio::task::spawn_blocking(move || request.in_scope(|| work(&registry)))
        .await
        .inspect_err(|error| tracing::error!(%error, "registry_task_panicked"))
        .ok()
}
