//! The bounded cache over the application's entities.

use std::sync::Arc;

use moka::sync::Cache as Moka;
use scorer_features::Entity;

use super::options::Options;

/// Entities by their ids.
pub(crate) type Cache = Moka<i64, Arc<dyn Entity>>;

pub(crate) fn new(options: &Options) -> Cache {
    Moka::builder().max_capacity(options.cached_entities).time_to_live(options.cached_for).build()
}
