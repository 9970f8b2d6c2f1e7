//! Against LightGBM itself, through the exporter of served models and through tract: the same label for every row and
//! probabilities within 1e-5, on 100,000 rows and more whose cells are thresholds, their neighbours, infinities,
//! denormals and missing values.
//!
//! Needs Python with LightGBM: `PERCH_PYTHON`, or the environment that `setup/run training` makes. Without it the test
//! says so and passes, since nothing else in this crate needs Python.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tract_onnx::prelude::*;

fn python() -> Option<PathBuf> {
    let made_by_setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.perch/venv/bin/python");
    std::env::var_os("PERCH_PYTHON").map(PathBuf::from).or_else(|| made_by_setup.exists().then_some(made_by_setup))
}

fn numbers<const SIZE: usize, T>(path: &Path, read: fn([u8; SIZE]) -> T) -> Vec<T> {
    let bytes = fs::read(path).unwrap();
    bytes.as_chunks::<SIZE>().0.iter().map(|&chunk| read(chunk)).collect()
}

struct Difference {
    labels: usize,
    largest: f64,
}

fn compare(case: &Path) -> Difference {
    let shape = fs::read_to_string(case.join("shape")).unwrap();
    let [count, width, classes] = shape.split_whitespace().map(|n| n.parse().unwrap()).collect::<Vec<usize>>()[..]
    else {
        panic!("shape holds rows, features and classes: {shape:?}")
    };
    let rows = numbers(&case.join("rows.f32"), f32::from_le_bytes);
    let labels = numbers(&case.join("labels.i64"), i64::from_le_bytes);
    let probabilities = numbers(&case.join("probabilities.f64"), f64::from_le_bytes);
    assert_eq!((rows.len(), labels.len(), probabilities.len()), (count * width, count, count * classes));

    let mut onnx = onnx();
    forest::register(&mut onnx);
    let plan = onnx.model_for_path(case.join("model.onnx")).unwrap().into_optimized().unwrap().into_runnable().unwrap();
    assert!(forest::plan_uses_forest(&plan));

    let mut difference = Difference { labels: 0, largest: 0.0 };
    // The first rows one by one, as in live requests, the others in batches.
    let mut at = 0;
    while at < count {
        let batch = if at < 2_000 { 1 } else { 500.min(count - at) };
        let input = Tensor::from_shape(&[batch, width], &rows[at * width..(at + batch) * width]).unwrap();
        let outputs = plan.run(tvec![input.into()]).unwrap();
        let (said, scores) = (outputs[0].try_as_plain_ram().unwrap(), outputs[1].try_as_plain_ram().unwrap());
        let expected = &labels[at..at + batch];
        difference.labels += said.as_slice::<i64>().unwrap().iter().zip(expected).filter(|(a, b)| a != b).count();
        let expected = &probabilities[at * classes..(at + batch) * classes];
        for (&score, &probability) in scores.as_slice::<f32>().unwrap().iter().zip(expected) {
            difference.largest = difference.largest.max((f64::from(score) - probability).abs());
        }
        at += batch;
    }
    difference
}

#[test]
fn the_same_labels_and_probabilities() {
    let Some(python) = python() else {
        println!("not compared with LightGBM: there is no PERCH_PYTHON and no .perch/venv (setup/run training)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/parity.py");
    let trained = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    assert!(trained.status.success(), "{}", String::from_utf8_lossy(&trained.stderr));
    let cases: Vec<&str> = str::from_utf8(&trained.stdout).unwrap().lines().collect();
    assert_eq!(cases.len(), 5, "{cases:?}");
    for case in cases {
        let difference = compare(&folder.path().join(case));
        println!("{case}: {} other labels, probabilities at most {:e} apart", difference.labels, difference.largest);
        assert_eq!(difference.labels, 0, "{case}: labels differ");
        assert!(difference.largest <= 1e-5, "{case}: probabilities are {:e} apart", difference.largest);
    }
}
