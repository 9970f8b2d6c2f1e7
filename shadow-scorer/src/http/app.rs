//! The program's parts, put together.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;

use super::error::HttpError;
use super::ml_v2::seconds;
use super::quiet::Quiet;
use super::upkeep::Retraining;
use super::{feedback, operator};
use crate::application::Application;
use crate::features::Entity;
use crate::feedback::Trainer;
use crate::metrics::{self, Metrics};
use crate::model::{Alias, Folder, Registry};
use crate::observer::{Observer, Threads};
use crate::settings::Settings;
use crate::store::{Options, Store, StoreError};

/// Everything that a handler may need.
#[derive(Debug)]
pub struct App {
    /// Checked settings.
    pub settings: Settings,
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// Whose entities the models judge.
    pub application: Arc<dyn Application>,
    /// Models.
    pub registry: Arc<Registry>,
    /// Entities, events, labels; its connections belong to the runtime of live answers.
    pub store: Store,
    /// The same store, by connections that live answers do not share.
    pub feedback_store: Store,
    /// Feedback that may ask the store at once.
    pub(super) feedback_turns: Semaphore,
    /// Trainings, on request or by drift.
    pub trainer: Trainer,
    /// Whether drift may ask for one.
    pub(super) retraining: Retraining,
    /// Observation work; `None` when the role leaves it out.
    pub observer: Option<Observer>,
    /// Live answers that may be under way.
    pub(super) live: Semaphore,
    pub(super) quiet: Quiet,
    draining: AtomicBool,
}

/// Why the program did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No threads for observation work.
    #[error("the system gives no threads for observation work ({0}): lower --observe-threads")]
    Threads(io::Error),
    /// The operator's token cannot be used.
    #[error("--token-file: {0}")]
    Token(String),
    /// Metrics clash, a defect.
    #[error("metrics cannot be declared: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl App {
    /// Opens the store, loads the models and starts the observer. To be called on the runtime of live answers.
    ///
    /// A registry without a usable model is not an error: the log, `/readyz`, status and metrics say so, and live
    /// answers are 503 until there is one.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(settings: Settings, application: Arc<dyn Application>) -> Result<Arc<Self>, StartError> {
        let metrics = Arc::new(Metrics::new()?);
        let store = Store::open(&settings.store, &Options::default(), application.clone()).await?;
        match &settings.token {
            Some(file) => drop(file.read().map_err(|error| StartError::Token(operator::describe(&error)))?),
            None => log::warn!(
                "no operator's token (--token-file): training, reload, deploy, rollback and challenge are refused"
            ),
        }
        let folder = Folder::new(&settings.registry);
        let registry = Arc::new(Registry::new(folder, application.schema(), Arc::clone(&metrics)));
        blocking(&registry, |registry| registry.reload_if_moved()).await;
        // The last training that is known of, until there is another.
        if let Some(champion) = registry.champion() {
            metrics::set(&metrics.train_f1, champion.manifest.metrics.val_f1_macro);
        }
        if registry.champion().is_none() && registry.refused().is_empty() {
            log::warn!(
                "no model: the registry {} names no champion. Live answers are refused until `make ml-train` deployed one",
                settings.registry.display()
            );
        }
        let observer = if settings.role.observe() {
            Some(Self::observer(&settings, &registry, &store, &metrics).await?)
        } else {
            None
        };
        let feedback_store = store.beside(&Options::for_feedback()).await?;
        tokio::spawn(feedback::keep(feedback_store.clone(), settings.keep_feedback, Arc::clone(&metrics)));
        probe(&feedback_store, &metrics).await;
        tokio::spawn(keep_probing(feedback_store.clone(), Arc::clone(&metrics)));
        Ok(Arc::new(Self {
            trainer: Trainer::new(settings.training.clone(), Arc::clone(&application)),
            retraining: Retraining::new(settings.retrain_cool_down),
            live: Semaphore::new(settings.live.in_flight.min(Semaphore::MAX_PERMITS)),
            settings,
            metrics,
            application,
            registry,
            store,
            feedback_store,
            feedback_turns: Semaphore::new(feedback::MOST_AT_ONCE),
            observer,
            quiet: Quiet::default(),
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
                // Dropped here, inside a runtime, they would panic: they wait for their threads to end.
                if let Err(panicked) = tokio::task::spawn_blocking(move || drop(threads)).await {
                    log::debug!("threads for observation work ended badly: {panicked}");
                }
                Err(error)
            }
        }
    }

    /// The entities of `ids` within the deadline of a live answer, unknown ids left out.
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

    /// Looks at the aliases every so often, until the program ends.
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

    /// Ends a training that is under way, stores what is still to be stored and closes the store. To be called when nothing is served any more.
    pub async fn finish(&self) {
        self.trainer.stop().await;
        if let Some(observer) = &self.observer {
            observer.finish().await;
        }
        self.feedback_store.close().await;
        self.store.close().await;
    }

    /// From now on `/readyz` says no.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Why the program should be sent no requests; `None` while it should.
    ///
    /// A champion that is named but was refused, with none before it, makes a new scorer unready: it would replace one
    /// that has a model. A registry that names no champion does not: that is how a first scorer starts, whose
    /// observations count without a model.
    pub(super) fn not_ready(&self) -> Option<String> {
        if self.draining.load(Ordering::Relaxed) {
            return Some("it is about to end".to_owned());
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

/// How often it is found out whether the store takes writes.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// Writes to the store, since what it says of reads says nothing of its disk; why it failed is in the log.
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

/// Runs work on the registry where blocking is allowed. A panic in it is logged and otherwise no news.
pub(super) async fn blocking<T: Send + 'static>(
    registry: &Arc<Registry>,
    work: impl FnOnce(&Registry) -> T + Send + 'static,
) -> Option<T> {
    let registry = Arc::clone(registry);
    tokio::task::spawn_blocking(move || work(&registry))
        .await
        .inspect_err(|error| log::error!("work on the registry failed: {error}"))
        .ok()
}
