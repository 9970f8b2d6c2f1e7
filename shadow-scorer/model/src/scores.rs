//! From entities to labels: rows are encoded once and asked of every model that wants them.
//!
//! Work goes in chunks with a pause between, so that a request of a thousand entities does not hold a thread of
//! live answers for long, and the rows of a chunk stay in the cache from encoding to prediction.

use std::sync::Arc;
use std::time::Instant;

use scorer_features::Entity;
use scorer_metrics::Metrics;

use super::loaded::LoadedModel;
use super::session::{PredictError, Rows};

/// Rows of one chunk.
const CHUNK: usize = 64;

/// One model's scores of some entities.
#[derive(Debug, Clone)]
pub struct Scores {
    model: Arc<LoadedModel>,
    /// One probability per class, row after row.
    probabilities: Vec<f32>,
}

/// A class with its probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoredLabel<'a> {
    /// The label.
    pub label: &'a str,
    /// `0.0..=1.0`.
    pub confidence: f32,
}

impl Scores {
    /// Asks each of `models` about `found`, in that order. A model that fails says why in its own place.
    pub async fn of(
        models: &[&Arc<LoadedModel>],
        found: &[Arc<dyn Entity>],
        metrics: &Metrics,
    ) -> Vec<Result<Self, PredictError>> {
        Self::watched(models, found, metrics, |_, _| {}).await
    }

    /// As [`Scores::of`]; `watch` sees the feature rows of each chunk with the first model's likeliest classes of them,
    /// unless that model failed.
    pub async fn watched(
        models: &[&Arc<LoadedModel>],
        found: &[Arc<dyn Entity>],
        metrics: &Metrics,
        mut watch: impl FnMut(&[f32], &[usize]) + Send,
    ) -> Vec<Result<Self, PredictError>> {
        let room = |model: &LoadedModel| Vec::with_capacity(found.len() * model.session.classes());
        let mut scores: Vec<Result<Self, PredictError>> =
            models.iter().map(|model| Ok(Self { model: Arc::clone(model), probabilities: room(model) })).collect();
        // All models of a registry are of one schema.
        let width = models.first().map_or(0, |model| model.schema.width);
        let mut best = Vec::with_capacity(CHUNK.min(found.len()));
        for (index, chunk) in found.chunks(CHUNK).enumerate() {
            if index > 0 {
                tokio::task::yield_now().await;
            }
            let rows = match encoded(chunk, width) {
                Ok(rows) => rows,
                Err(error) => return models.iter().map(|_| Err(error.clone())).collect(),
            };
            for score in &mut scores {
                let Ok(so_far) = score else { continue };
                let started = Instant::now();
                match so_far.model.session.predict(&rows) {
                    Ok(more) => {
                        metrics.predict_seconds.observe(started.elapsed().as_secs_f64());
                        so_far.probabilities.extend(more);
                    }
                    Err(error) => *score = Err(error),
                }
            }
            if let Some(Ok(first)) = scores.first() {
                let from = index * CHUNK;
                best.clear();
                best.extend((from..from + chunk.len()).map(|row| first.best(row)));
                watch(rows.values(), &best);
            }
        }
        scores
    }

    /// The model that was asked.
    #[must_use]
    pub fn model(&self) -> &LoadedModel {
        &self.model
    }

    /// The model that was asked, to ask it again.
    #[must_use]
    pub fn shared_model(&self) -> Arc<LoadedModel> {
        Arc::clone(&self.model)
    }

    /// The probabilities of one row, in the order of the model's classes.
    #[must_use]
    pub fn row(&self, row: usize) -> &[f32] {
        let classes = self.model.session.classes();
        self.probabilities.get(row * classes..(row + 1) * classes).unwrap_or_default()
    }

    /// The place of the likeliest class of one row among the model's classes; of two alike the first counts.
    fn best(&self, row: usize) -> usize {
        let row = self.row(row);
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter().position(|&p| p >= most).unwrap_or(0)
    }

    /// The likeliest class of one row, if it has at least `least` confidence. Of two alike the first counts.
    #[must_use]
    pub fn top(&self, row: usize, least: f32) -> Option<ScoredLabel<'_>> {
        self.scored(row).nth(self.best(row)).filter(|scored| scored.confidence >= least)
    }

    /// The likeliest classes of one row in falling order, at most `most`, each of at least `least` confidence.
    #[must_use]
    pub fn candidates(&self, row: usize, most: usize, least: f32) -> Vec<ScoredLabel<'_>> {
        let mut candidates: Vec<ScoredLabel<'_>> =
            self.scored(row).filter(|scored| scored.confidence >= least).collect();
        candidates.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
        candidates.truncate(most);
        candidates
    }

    fn scored(&self, row: usize) -> impl Iterator<Item = ScoredLabel<'_>> {
        let labels = self.model.manifest.classes.iter();
        // A softmax over f32 may end a hair above 1.
        labels.zip(self.row(row)).map(|(label, p)| ScoredLabel { label, confidence: p.clamp(0.0, 1.0) })
    }
}

/// The feature rows of some entities.
fn encoded(found: &[Arc<dyn Entity>], width: usize) -> Result<Rows, PredictError> {
    Rows::new(found.len(), width, |rows| {
        for (entity, row) in found.iter().zip(rows.chunks_exact_mut(width.max(1))) {
            entity.write_features(row);
        }
    })
}
