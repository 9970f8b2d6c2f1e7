//! What a model sees of an application: entities, feature rows, and the distribution that it was trained on.
//!
//! The scorer knows of no application. One that wants predictions implements [`Entity`] for what a prediction is about
//! and [`FeatureEncoder`] for the features of it; everything else (models, store, comparison, drift) works with these.
//!
//! **One computation.** [`Entity::write_features`] is used for serving; the rows that training reads must come from the
//! same function, so that the two cannot differ. The schema has a version and a hash, and the registry refuses a model
//! that was trained on another one.

pub mod drift;
mod schema;

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use serde_json::{Map, Value};

pub use schema::Schema;

/// What one prediction is about, e.g. a transaction with the history of its user. It carries no user id.
pub trait Entity: Any + Debug + Send + Sync {
    /// Its id, by which requests and responses name it.
    fn id(&self) -> i64;

    /// Writes its features over all of `row`, which has [`Schema::width`] places.
    fn write_features(&self, row: &mut [f32]);
}

/// How an application's entities become feature rows.
pub trait FeatureEncoder: Debug + Send + Sync {
    /// The features, in the order of a row.
    fn schema(&self) -> Arc<Schema>;

    /// An entity from the raw fields of a prediction request.
    ///
    /// # Errors
    /// A message for the client: the field, its value, and what to give instead.
    fn entity(&self, fields: &Map<String, Value>) -> Result<Arc<dyn Entity>, String>;
}
