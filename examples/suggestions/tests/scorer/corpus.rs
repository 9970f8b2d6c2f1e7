//! Models that nobody here made, loaded as the registry loads its own: a folder of cases, one folder each, with
//! `model.onnx`, `input.npy` (rows), `expected.npy` (onnxruntime's scores, where it gives some) and `notes.md`, which
//! says of how many rows the forest and onnxruntime are meant to differ (`forest_vs_ort: …, rows > 1e-5: 0 of 300`), or
//! that the model is to be refused (`forest: refused: …`, `right result here: Refusal::Graph …`).
//!
//! The folder is given by `PERCH_MODEL_CASES`; without it the test says so and passes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use shadow_scorer::features::Schema;
use shadow_scorer::metrics::Metrics;
use shadow_scorer::model::{Caller, Folder, LoadedModel, Registry, Rows, Session, TOLERANCE};

use crate::small_model::{alias, sha256};

const FOLDER: &str = "PERCH_MODEL_CASES";

struct Array {
    shape: Vec<usize>,
    values: Vec<f64>,
}

/// `.npy` of version 1, C order, f4, f8 or i8.
fn npy(path: &Path) -> Option<Array> {
    let bytes = fs::read(path).ok()?;
    assert!(bytes.starts_with(b"\x93NUMPY\x01"), "{}", path.display());
    let data = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..data]).unwrap();
    assert!(header.contains("'fortran_order': False"), "{}: {header}", path.display());
    let shape = header.split_once("'shape': (").unwrap().1.split_once(')').unwrap().0;
    let shape = shape.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    let data = &bytes[data..];
    #[allow(clippy::cast_precision_loss)]
    let values = match header.split_once("'descr': '").unwrap().1.get(..3).unwrap() {
        "<f4" => data.as_chunks().0.iter().map(|&chunk| f64::from(f32::from_le_bytes(chunk))).collect(),
        "<f8" => data.as_chunks().0.iter().map(|&chunk| f64::from_le_bytes(chunk)).collect(),
        "<i8" => data.as_chunks().0.iter().map(|&chunk| i64::from_le_bytes(chunk) as f64).collect(),
        other => panic!("{}: {other}", path.display()),
    };
    Some(Array { shape, values })
}

/// What the notes say of a case.
#[derive(Debug, PartialEq)]
enum Right {
    /// It loads, and gives onnxruntime's scores on every row.
    Equal,
    Refused,
    /// Either: the notes do not say, or it has an operator that is not evaluated yet.
    NotSaid,
}

fn right(notes: &str) -> Right {
    let operators = notes.lines().find(|line| line.starts_with("Operators: ")).unwrap_or_default();
    if ["ZipMap", "TreeEnsembleRegressor", "Scaler"].iter().any(|later| operators.contains(later)) {
        return Right::NotSaid;
    }
    if notes.contains("- right result here: Refusal::Graph") || notes.contains("- forest: refused") {
        return Right::Refused;
    }
    let of = notes.lines().find_map(|line| line.strip_prefix("- forest_vs_ort: "));
    if of.is_some_and(|of| of.contains("rows > 1e-5: 0 of")) { Right::Equal } else { Right::NotSaid }
}

/// A case as a registry with one version, its reference rows those of which JSON can hold the values.
struct Case {
    name: String,
    width: usize,
    classes: usize,
    rows: Vec<f32>,
    expected: Vec<f64>,
    registry: Registry,
    _root: tempfile::TempDir,
}

impl Case {
    #[allow(clippy::cast_possible_truncation)] // f32 or whole numbers in the file
    fn new(folder: &Path) -> Self {
        let input = npy(&folder.join("input.npy")).unwrap();
        let width = input.shape[1];
        let rows: Vec<f32> = input.values.iter().map(|value| *value as f32).collect();
        let expected = npy(&folder.join("expected.npy"));
        let classes = expected.as_ref().map_or(2, |expected| expected.shape.get(1).copied().unwrap_or(1)).max(2);
        let expected = expected.map(|expected| expected.values).unwrap_or_default();
        let expected = if expected.len() == rows.len() / width * classes { expected } else { Vec::new() };
        let none = vec![0.5; classes];
        let reference: Vec<(&[f32], &[f64])> = rows
            .chunks(width)
            .enumerate()
            .map(|(at, row)| (row, expected.get(at * classes..(at + 1) * classes).unwrap_or(&none)))
            .map(|(row, scores)| (row, if scores.iter().all(|p| p.is_finite()) { scores } else { &none }))
            .filter(|(row, _)| !row.iter().any(|v| v.is_infinite()))
            .collect();
        let cells = |row: &[f32]| row.iter().map(|v| (!v.is_nan()).then_some(*v)).collect::<Vec<_>>();
        let reference = json!({
            "rows": reference.iter().map(|(row, _)| cells(row)).collect::<Vec<_>>(),
            "probabilities": reference.iter().map(|(_, scores)| scores).collect::<Vec<_>>(),
        });
        let (onnx, reference) = (fs::read(folder.join("model.onnx")).unwrap(), reference.to_string());
        let manifest = json!({
            "version": "v1",
            "created": "2026-11-24T12:00:00Z",
            "model_sha256": sha256(&onnx),
            "reference_sha256": sha256(reference.as_bytes()),
            "feature_schema": { "version": 1, "hash": "abc", "width": width },
            "classes": (0..classes).map(|class| format!("c{class}")).collect::<Vec<_>>(),
            "metrics": { "val_f1_macro": 0.8 },
        });
        let root = tempfile::tempdir().unwrap();
        let version = root.path().join("v1");
        fs::create_dir(&version).unwrap();
        fs::write(version.join("model.onnx"), onnx).unwrap();
        fs::write(version.join("reference.json"), reference).unwrap();
        fs::write(version.join("manifest.json"), manifest.to_string()).unwrap();
        alias(root.path(), "champion", "v1");
        let schema = Schema { version: 1, hash: "abc".into(), width, ..Schema::default() };
        let registry = Registry::new(Folder::new(root.path()), Arc::new(schema), Arc::new(Metrics::new().unwrap()));
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        Self { name, width, classes, rows, expected, registry, _root: root }
    }

    fn scores(&self, model: &LoadedModel) -> Vec<f32> {
        let rows = Rows::new(self.rows.len() / self.width, self.width, |to| to.copy_from_slice(&self.rows)).unwrap();
        model.session.predict(&rows).unwrap()
    }

    /// Loads it, once, and holds what came of it against the notes.
    fn check(&self, right: &Right) -> Result<String, String> {
        self.registry.reload(&Caller::without_client()).unwrap();
        assert!(
            !self.registry.reload_if_moved(),
            "{}: a refused model is not tried at every check of the aliases",
            self.name
        );
        let refused = self.registry.refused();
        let Some(model) = self.registry.champion() else {
            let refused = refused.first().ok_or("neither loaded nor refused")?;
            let says_how = refused.reason != "graph" || refused.message.contains("To load it, export it as");
            return match right {
                Right::Equal => Err(format!("is refused: {}", refused.message)),
                Right::Refused if refused.reason != "graph" => Err(format!("is refused as {}", refused.reason)),
                _ if !says_how => Err(format!("does not say how to export it: {}", refused.message)),
                _ if refused.message.len() > 2_000 => Err("is refused in too many words".into()),
                _ => Ok(format!("refused: {}", refused.message)),
            };
        };
        let scores = self.scores(&model);
        let far = |(said, wanted): (&f32, &f64)| (f64::from(*said) - wanted).abs() > TOLERANCE;
        let off = scores.iter().zip(&self.expected).filter(|pair| far(*pair)).count();
        match right {
            Right::Refused => Err("loads".into()),
            _ if !refused.is_empty() => Err("loads and is refused".into()),
            // Whatever loads was proved on the reference rows; here on those with infinities too.
            _ if self.expected.is_empty() => Err("loads with nothing to prove it by".into()),
            _ if off > 0 => Err(format!("differs in {off} scores")),
            _ => Ok(format!("loads, {} rows of {} scores equal", scores.len() / self.classes, self.classes)),
        }
    }
}

/// How the documentation of `forest/src/outcome.rs` says that onnxruntime and the forest differ on one sum for two
/// labels.
#[test]
fn of_one_sum_for_two_labels_onnxruntime_says_what_the_documentation_says_case_a22() {
    let Some(cases) = cases() else { return };
    let named = |name: &str| cases.iter().find(|case| case.ends_with(name));
    let mut read = 0;
    for (transform, left) in [("none", 0.0), ("logistic", 0.5)] {
        for sign in ["positive", "signed"] {
            for class in [0, 1] {
                let Some(folder) = named(&format!("spec-one-sum-{transform}-{sign}-class{class}")) else { continue };
                let case = Case::new(folder);
                let onnx = fs::read(folder.join("model.onnx")).unwrap();
                let session = Session::load(&onnx, case.width, case.classes).unwrap();
                let rows = Rows::new(case.rows.len() / case.width, case.width, |to| to.copy_from_slice(&case.rows));
                let scores = session.predict(&rows.unwrap()).unwrap();
                let equal = scores.iter().zip(&case.expected).all(|(a, b)| (f64::from(*a) - b).abs() <= TOLERANCE);
                let first_left = case.expected.chunks(2).all(|row| (row[0] - left).abs() <= TOLERANCE);
                assert_eq!((equal, first_left), (class == 0, class == 1), "{}", case.name);
                read += 1;
            }
        }
    }
    assert_eq!(read, 8, "the cases of one sum are there");
}

fn cases() -> Option<Vec<PathBuf>> {
    let Some(folder) = std::env::var_os(FOLDER) else {
        #[allow(clippy::print_stderr)]
        {
            eprintln!("SKIPPED: {FOLDER} names no folder of model cases, so none was loaded");
        }
        return None;
    };
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{FOLDER} is set, but cannot be read: {error}"));
    let mut cases: Vec<PathBuf> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.join("model.onnx").is_file()).collect();
    cases.sort();
    assert!(!cases.is_empty(), "{FOLDER} is set, but holds no case");
    Some(cases)
}

#[test]
fn models_of_other_programs_load_and_give_their_scores_or_are_refused_with_the_way_out() {
    let Some(cases) = cases() else { return };
    let mut wrong = Vec::new();
    for folder in &cases {
        let case = Case::new(folder);
        let right = right(&fs::read_to_string(folder.join("notes.md")).unwrap_or_default());
        match case.check(&right) {
            #[allow(clippy::print_stdout)] // for people: `-- --nocapture`
            Ok(came) => println!("{:<45} {came}", case.name),
            Err(but) => wrong.push(format!("{} {but} ({right:?})", case.name)),
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
