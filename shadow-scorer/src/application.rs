//! What an application implements, so that the scorer can serve its model.

use std::path::Path;
use std::pin::Pin;

use scorer_features::FeatureEncoder;
use scorer_store::{EntityReader, Store, StoreError};

/// What [`Application::export`] returns.
pub type Exporting<'a> = Pin<Box<dyn Future<Output = Result<u64, ExportError>> + Send + 'a>>;

/// An application whose responses a model is to give: its entities, their features, and its training rows.
pub trait Application: FeatureEncoder + EntityReader {
    /// Writes every labelled entity of `store` to `folder`, in the form that the training script reads; the number of
    /// rows.
    fn export<'a>(&'a self, store: &'a Store, folder: &'a Path) -> Exporting<'a>;
}

/// Training rows that were not written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store did not give its rows.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder did not take them.
    #[error("the rows cannot be written to {folder}: check that there is room and that the folder may be written")]
    Disk {
        /// The folder.
        folder: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
