//! Writes versions of the small model into a registry, as training would: for unit and integration tests alike.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The model's labels in the order of its outputs.
pub const CLASSES: [&str; 3] = ["coffee", "groceries", "transfers"];
/// The same with two labels swapped: a model that is wrong wherever the other is right.
pub const SWAPPED: [&str; 3] = ["groceries", "coffee", "transfers"];

const ONNX: &[u8] = include_bytes!("../fixtures/small.onnx");
const REFERENCE: &str = include_str!("../fixtures/small.json");

/// The feature schema that the version claims: version, hash, width.
#[derive(Debug, Clone)]
pub struct Schema(pub u32, pub String, pub usize);

/// A version about to be written.
#[derive(Debug, Clone)]
pub struct Version {
    pub name: String,
    pub schema: Schema,
    pub classes: [&'static str; 3],
    pub f1: f64,
}

impl Version {
    pub fn new(name: &str, schema: &Schema) -> Self {
        Self { name: name.to_owned(), schema: schema.clone(), classes: CLASSES, f1: 0.8 }
    }

    /// Writes it into the registry at `root`; its folder.
    pub fn write(&self, root: &Path) -> PathBuf {
        let folder = root.join(&self.name);
        fs::create_dir_all(&folder).unwrap();
        let small: Value = serde_json::from_str(REFERENCE).unwrap();
        let Schema(version, hash, width) = &self.schema;
        let rows: Vec<Vec<Value>> = small["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| {
                let mut row = row.as_array().unwrap().clone();
                row.resize(*width, json!(0.0));
                row
            })
            .collect();
        let reference = json!({ "rows": rows, "probabilities": small["probabilities"] }).to_string();
        let manifest = json!({
            "version": self.name,
            "created": "2026-11-24T12:00:00Z",
            "model_sha256": sha256(ONNX),
            "reference_sha256": sha256(reference.as_bytes()),
            "feature_schema": { "version": version, "hash": hash, "width": width },
            "classes": self.classes,
            "metrics": { "val_f1_macro": self.f1 },
            "data_span": { "from": "2026-01-01", "to": "2026-10-31" },
        });
        fs::write(folder.join("model.onnx"), ONNX).unwrap();
        fs::write(folder.join("reference.json"), reference).unwrap();
        fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
        folder
    }
}

/// Lets an alias name a version, as an operator's tool would.
pub fn alias(root: &Path, alias: &str, version: &str) {
    fs::write(root.join(format!(".{alias}.test")), format!("{version}\n")).unwrap();
    fs::rename(root.join(format!(".{alias}.test")), root.join(alias)).unwrap();
}

/// Rewrites a version's manifest through `change`.
pub fn edit_manifest(folder: &Path, change: impl FnOnce(&mut Value)) {
    let path = folder.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut manifest);
    fs::write(path, manifest.to_string()).unwrap();
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
