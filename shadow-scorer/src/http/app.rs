//! The program's parts, put together.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;

use super::error::HttpError;
use super::quiet::Quiet;
use super::upkeep::Retraining;
use crate::feedback::Trainer;
use crate::metrics::{self, Metrics};
use crate::model::{Alias, Folder, Loaded, Registry};
use crate::observer::{Observer, Threads};
use crate::settings::Settings;
use crate::store::{Options, Store, StoreError, TransactionWithHistory};

/// Everything that a handler may need.
#[derive(Debug)]
pub struct App {
    /// Checked settings.
    pub settings: Settings,
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// Models.
    pub registry: Arc<Registry>,
    /// Transactions, events, labels, feedback; its connections belong to the runtime of live answers.
    pub store: Store,
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
    pub async fn start(settings: Settings) -> Result<Arc<Self>, StartError> {
        let metrics = Arc::new(Metrics::new()?);
        let store = Store::open(&settings.store, &Options::default()).await?;
        let registry =
            Arc::new(Registry::new(Folder::new(&settings.registry), Loaded::wanted_schema(), Arc::clone(&metrics)));
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
        Ok(Arc::new(Self {
            trainer: Trainer::new(settings.training.clone()),
            retraining: Retraining::new(settings.retrain_cool_down),
            live: Semaphore::new(settings.live.in_flight.min(Semaphore::MAX_PERMITS)),
            settings,
            metrics,
            registry,
            store,
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
        let store = opening.await.map_err(|error| StartError::Threads(io::Error::other(error)))??;
        Ok(Observer::start(threads, settings, Arc::clone(registry), store, Arc::clone(metrics)))
    }

    /// The transactions of `ids` within the deadline of a live answer, unknown ids left out.
    ///
    /// # Errors
    /// 503 with reason `store`.
    pub async fn transactions(&self, ids: &[i64]) -> Result<Vec<Arc<TransactionWithHistory>>, HttpError> {
        let found = self.store.transactions_within(ids, self.settings.live.deadline).await;
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
        if self.registry.champion().is_some() {
            return None;
        }
        let refused = self.registry.refused();
        let champion = refused.iter().find(|refused| refused.alias == Alias::Champion)?;
        Some(format!("champion {:?} is refused: {}", champion.version, champion.message))
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
