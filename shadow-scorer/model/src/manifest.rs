//! What a model's folder says about it, and the checks that need no graph.
//!
//! A version is a folder `models/registry/VERSION` with three files: `model.onnx`, `reference.json` (rows with the
//! outputs that training saw) and `manifest.json`, which is written last and holds the hashes of the other two, so
//! that its own hash stands for the whole. A version never changes once it is there.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::feature_schema::FeatureSchema;
use super::refusal::Refusal;

/// File names inside a version's folder.
pub const MANIFEST: &str = "manifest.json";
/// The graph.
pub const MODEL: &str = "model.onnx";
/// Rows with their expected outputs.
pub const REFERENCE: &str = "reference.json";

/// Figures from training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingMetrics {
    /// Macro F1 on the temporal validation split, 0 to 1.
    pub val_f1_macro: f64,
    /// The rest, shown as it is.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A version's manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version, which is also the folder's name.
    pub version: String,
    /// When it was trained, RFC 3339.
    pub created: String,
    /// The same in seconds since 1970: what is labelled later it cannot have learnt. 0 where it is not said.
    #[serde(default)]
    pub created_unix: i64,
    /// SHA-256 of `model.onnx`, hex.
    pub model_sha256: String,
    /// SHA-256 of `reference.json`, hex.
    pub reference_sha256: String,
    /// The features that it reads.
    pub feature_schema: FeatureSchema,
    /// Labels, in the order of the graph's output columns.
    pub classes: Vec<String>,
    /// Figures from training.
    pub metrics: TrainingMetrics,
    /// Everything else (data span, parameters, …), shown as it is.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Rows and the probabilities that training computed for them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Reference {
    /// Feature rows; `null` is a missing value.
    pub rows: Vec<Vec<Option<f32>>>,
    /// One probability per class for each row.
    pub probabilities: Vec<Vec<f64>>,
}

/// A version's files, with hashes, schema and classes checked.
#[derive(Debug)]
pub struct Files {
    /// The manifest.
    pub manifest: Manifest,
    /// SHA-256 of the manifest's file: two versions with one fingerprint are one.
    pub fingerprint: String,
    /// The graph's bytes.
    pub model: Vec<u8>,
    /// The reference rows.
    pub reference: Reference,
}

impl Files {
    /// Reads a version's folder and checks all that can be checked without running the graph.
    ///
    /// # Errors
    /// The first thing that does not match.
    pub fn read(folder: &Path, wanted: &FeatureSchema) -> Result<Self, Refusal> {
        let text = file(folder, MANIFEST)?;
        let manifest: Manifest = serde_json::from_slice(&text)
            .map_err(|error| Refusal::Manifest(format!("{MANIFEST} cannot be read: {error}")))?;
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if manifest.version != name {
            return Err(Refusal::Manifest(format!(
                "{MANIFEST} says version {:?}, but the folder is called {name:?}",
                manifest.version
            )));
        }
        let model = hashed(folder, MODEL, &manifest.model_sha256)?;
        let reference = hashed(folder, REFERENCE, &manifest.reference_sha256)?;
        if manifest.feature_schema != *wanted {
            return Err(Refusal::Schema { said: manifest.feature_schema, wanted: wanted.clone() });
        }
        check_classes(&manifest.classes)?;
        let reference: Reference = serde_json::from_slice(&reference)
            .map_err(|error| Refusal::ReferenceFile(format!("{REFERENCE} cannot be read: {error}")))?;
        check_reference(&reference, wanted.width, manifest.classes.len())?;
        Ok(Self { manifest, fingerprint: sha256(&text), model, reference })
    }
}

/// Bytes of a version's file that are read: 1 GiB, hundreds of times the largest that training writes.
const MOST_BYTES: u64 = 1 << 30;

fn file(folder: &Path, name: &'static str) -> Result<Vec<u8>, Refusal> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(folder.join(name))?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MOST_BYTES {
            return Err(io::Error::other(format!("it has more than {MOST_BYTES} bytes")));
        }
        Ok(bytes)
    };
    read().map_err(|source| Refusal::Missing { file: name, source })
}

fn hashed(folder: &Path, name: &'static str, said: &str) -> Result<Vec<u8>, Refusal> {
    let bytes = file(folder, name)?;
    let found = sha256(&bytes);
    if found.eq_ignore_ascii_case(said) {
        Ok(bytes)
    } else {
        Err(Refusal::Hash { file: name, bytes: bytes.len(), said: said.to_owned(), found })
    }
}

/// SHA-256 in hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn check_classes(classes: &[String]) -> Result<(), Refusal> {
    let mut sorted: Vec<&String> = classes.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    if classes.len() < 2 || sorted.len() != classes.len() || classes.iter().any(String::is_empty) {
        return Err(Refusal::Manifest(format!(
            "classes are {classes:?}: at least two, none empty and none twice, are needed"
        )));
    }
    Ok(())
}

fn check_reference(reference: &Reference, width: usize, classes: usize) -> Result<(), Refusal> {
    let fits = !reference.rows.is_empty()
        && reference.rows.len() == reference.probabilities.len()
        && reference.rows.iter().all(|row| row.len() == width)
        && reference.probabilities.iter().all(|row| row.len() == classes);
    if fits {
        Ok(())
    } else {
        Err(Refusal::ReferenceFile(format!(
            "{REFERENCE} needs at least one row, each of {width} values with {classes} probabilities"
        )))
    }
}
