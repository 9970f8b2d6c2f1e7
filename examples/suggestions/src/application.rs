//! Plugs the demo's labels, features and transactions into the scorer: its `shadow_scorer::Application`.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use scorer_features::{Entity, FeatureEncoder, Schema};
use scorer_store::{EntityReader, Options, Reading, Store, StoreError};
use serde_json::{Map, Value};
use shadow_scorer::{Application, Exporting};

use crate::export;
use crate::features::{History, SCHEMA, drift_layout, request};
use crate::labels::SPENDING_LABELS;
use crate::transactions::{self, TransactionWithHistory};

/// Suggestions of spending labels for transactions.
#[derive(Debug)]
struct SpendingSuggestions;

/// The demo application.
#[must_use]
pub fn application() -> Arc<dyn Application> {
    Arc::new(SpendingSuggestions)
}

/// Opens a store that is there.
///
/// # Errors
/// As [`Store::open`].
pub async fn open_store(url: &str, options: &Options) -> Result<Store, StoreError> {
    Store::open(url, options, application()).await
}

/// Opens a store; an SQLite file that is not there is made.
///
/// # Errors
/// As [`Store::create`].
pub async fn create_store(url: &str, options: &Options) -> Result<Store, StoreError> {
    Store::create(url, options, application()).await
}

static SCORER_SCHEMA: LazyLock<Arc<Schema>> = LazyLock::new(|| {
    Arc::new(Schema {
        version: SCHEMA.version,
        hash: SCHEMA.hash().to_owned(),
        width: SCHEMA.width(),
        drift: drift_layout(),
    })
});

impl FeatureEncoder for SpendingSuggestions {
    fn schema(&self) -> Arc<Schema> {
        Arc::clone(&SCORER_SCHEMA)
    }

    fn entity(&self, fields: &Map<String, Value>) -> Result<Arc<dyn Entity>, String> {
        let transaction = request::transaction(fields)?;
        Ok(Arc::new(TransactionWithHistory { id: 0, transaction, history: History::default() }))
    }
}

impl EntityReader for SpendingSuggestions {
    fn labels(&self) -> &[&'static str] {
        &SPENDING_LABELS
    }

    fn seed_command(&self) -> &'static str {
        "rules-backend seed"
    }

    fn read<'a>(&'a self, store: &'a Store, ids: &'a [i64]) -> Reading<'a> {
        Box::pin(async move {
            let found = transactions::find(store, ids).await?;
            Ok(found.into_iter().map(|found| Arc::new(found) as Arc<dyn Entity>).collect())
        })
    }
}

impl Application for SpendingSuggestions {
    fn export<'a>(&'a self, store: &'a Store, folder: &'a Path) -> Exporting<'a> {
        Box::pin(async move { Ok(export::run(store, folder, |_, _| {}).await?.rows) })
    }
}
