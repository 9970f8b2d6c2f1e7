//! What the models predict for a batch.

use std::collections::HashMap;
use std::sync::Arc;

use contract::names::NotCompared;

use super::drift::WatchedModel;
use crate::features::Entity;
use crate::model::Scores;

/// The predictions for the entities of a batch.
#[derive(Default)]
pub(super) struct Predictions {
    /// Why there is no prediction of the champion, if so.
    pub(super) unavailable: Option<NotCompared>,
    pub(super) rows: HashMap<i64, usize>,
    pub(super) found: Vec<Arc<dyn Entity>>,
    pub(super) champion: Option<Scores>,
    pub(super) challenger: Option<Scores>,
    /// The champion's drift.
    pub(super) watched: Option<Arc<WatchedModel>>,
}

impl Predictions {
    pub(super) fn row(&self, id: &str) -> Option<usize> {
        id.parse::<i64>().ok().and_then(|id| self.rows.get(&id).copied())
    }
}
