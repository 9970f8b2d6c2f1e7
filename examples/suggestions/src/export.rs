//! Training rows, written where `models/train.py` reads them.
//!
//! A folder of arrays with one entry per labelled transaction, the feature rows themselves as a compressed sparse
//! matrix (most of a row is zero): `indptr`, `indices`, `values`; then `id`, `time`, `label`, `rules` (what the rules
//! say, −1 for nothing) and `brand` (a coarse hash of the merchant, by which a split holds whole brands out).
//! `schema.json` has the schema, its hash and the names behind the label numbers; it is written last, so a folder
//! without it is half an export.

use std::path::Path;

use scorer_store::Store;
use serde::Serialize;
use shadow_scorer::ExportError;
use shadow_scorer::suggestions::UNKNOWN_LABEL;

use crate::features::text::Normalised;
use crate::features::{SCHEMA, WIDTH, encode};
use crate::npy::Array;
use crate::rules;
use crate::transactions::{self, LabelledRow};

/// What was written.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Rows.
    pub rows: u64,
    /// The labels behind the numbers in `label` and `rules`.
    pub labels: Vec<String>,
}

/// Writes every labelled transaction of `store` to `folder`; `progress` hears (users done, users in all).
///
/// # Errors
/// See [`ExportError`].
pub async fn run(store: &Store, folder: &Path, mut progress: impl FnMut(usize, usize)) -> Result<Summary, ExportError> {
    let disk = |source| ExportError::Disk { folder: folder.display().to_string(), source };
    let mut writer = Writer::create(folder).map_err(disk)?;
    let mut users = transactions::users(store).await?;
    let total = users.left();
    while let Some(rows) = users.next_user().await? {
        for row in &rows {
            writer.push(row).map_err(disk)?;
        }
        progress(total - users.left(), total);
    }
    writer.finish(folder).map_err(disk)
}

struct Writer {
    indptr: Array<i64>,
    indices: Array<u16>,
    values: Array<f32>,
    id: Array<i64>,
    time: Array<i64>,
    label: Array<i16>,
    rules: Array<i16>,
    brand: Array<u64>,
    labels: Vec<String>,
    row: Vec<f32>,
}

/// Places of a row are written as u16.
const _: () = assert!(WIDTH <= u16::MAX as usize);

impl Writer {
    fn create(folder: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        match std::fs::remove_file(folder.join("schema.json")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut indptr = Array::create(&folder.join("indptr.npy"))?;
        indptr.push(0)?;
        Ok(Self {
            indptr,
            indices: Array::create(&folder.join("indices.npy"))?,
            values: Array::create(&folder.join("values.npy"))?,
            id: Array::create(&folder.join("id.npy"))?,
            time: Array::create(&folder.join("time.npy"))?,
            label: Array::create(&folder.join("label.npy"))?,
            rules: Array::create(&folder.join("rules.npy"))?,
            brand: Array::create(&folder.join("brand.npy"))?,
            labels: Vec::new(),
            row: vec![0.0; WIDTH],
        })
    }

    fn push(&mut self, labelled: &LabelledRow) -> std::io::Result<()> {
        encode(&labelled.transaction, &labelled.history, &mut self.row).map_err(std::io::Error::other)?;
        for (place, value) in (0_u16..).zip(&self.row) {
            // By bits: a missing value is not zero, and no feature is ever −0.
            if value.to_bits() != 0 {
                self.indices.push(place)?;
                self.values.push(*value)?;
            }
        }
        self.indptr.push(i64::try_from(self.indices.len()).unwrap_or(i64::MAX))?;
        self.id.push(labelled.id)?;
        self.time.push(labelled.occurred_at)?;
        let label = self.number_of(&labelled.label);
        self.label.push(label)?;
        let said = rules::suggest(&labelled.transaction, 1);
        let said = said.first().map(|candidate| candidate.label.as_str());
        let said = said.filter(|label| *label != UNKNOWN_LABEL);
        let said = said.map_or(-1, |label| self.number_of(label));
        self.rules.push(said)?;
        self.brand.push(brand(&labelled.transaction.merchant))
    }

    fn number_of(&mut self, label: &str) -> i16 {
        let place = self.labels.iter().position(|known| known == label).unwrap_or_else(|| {
            self.labels.push(label.to_owned());
            self.labels.len() - 1
        });
        i16::try_from(place).unwrap_or(i16::MAX)
    }

    fn finish(self, folder: &Path) -> std::io::Result<Summary> {
        let summary = Summary { rows: self.id.len(), labels: self.labels };
        self.indptr.finish()?;
        self.indices.finish()?;
        self.values.finish()?;
        self.id.finish()?;
        self.time.finish()?;
        self.label.finish()?;
        self.rules.finish()?;
        self.brand.finish()?;
        let about = serde_json::json!({
            "hash": SCHEMA.hash(),
            "width": SCHEMA.width(),
            "schema": &*SCHEMA,
            "rows": summary.rows,
            "labels": summary.labels,
        });
        std::fs::write(folder.join("schema.json"), serde_json::to_vec_pretty(&about)?)?;
        Ok(summary)
    }
}

/// The first five letters: coarse enough that cut and mistyped spellings of a brand mostly fall together. Unrelated
/// brands that fall together too are then held out together, which does no harm.
fn brand(merchant: &str) -> u64 {
    let merchant = Normalised::merchant(merchant);
    let letters: Vec<u8> = merchant.as_bytes().iter().copied().filter(|byte| *byte != b' ').take(5).collect();
    xxhash_rust::xxh3::xxh3_64(&letters)
}
