//! A version that passed every check: files, hashes, schema, graph, and the reference rows replayed.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use scorer_features::Schema;

use super::manifest::{Files, Manifest, Reference};
use super::refusal::Refusal;
use super::session::{Rows, Session};

/// How far a replayed probability may be from training's.
pub const TOLERANCE: f64 = 1e-5;

/// A model that may serve.
#[derive(Debug)]
pub struct LoadedModel {
    /// What its folder says.
    pub manifest: Manifest,
    /// The features that it reads.
    pub schema: Arc<Schema>,
    /// Stands for the content of its files.
    pub fingerprint: String,
    /// The graph.
    pub session: Session,
    /// When this program loaded it.
    pub loaded: SystemTime,
}

impl LoadedModel {
    /// Loads the version in `folder`, which must have been trained on `schema`, with every check.
    ///
    /// # Errors
    /// The first check that failed.
    pub fn load(folder: &Path, schema: &Arc<Schema>) -> Result<Self, Refusal> {
        let Files { manifest, fingerprint, model, reference } = Files::read(folder, &schema.as_ref().into())?;
        let session = Session::load(&model, schema.width, manifest.classes.len())?;
        replay(&session, &reference)?;
        Ok(Self { manifest, schema: Arc::clone(schema), fingerprint, session, loaded: SystemTime::now() })
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.manifest.version
    }
}

/// Runs the reference rows, as one batch and one by one: both must give what training saw.
fn replay(session: &Session, reference: &Reference) -> Result<(), Refusal> {
    let rows: Vec<f32> = reference.rows.iter().flatten().map(|value| value.unwrap_or(f32::NAN)).collect();
    let predict = |values: &[f32]| {
        let width = session.width();
        // No copy of slices, which panics where they differ in length: the rows are a file's.
        let copy = |rows: &mut [f32]| rows.iter_mut().zip(values).for_each(|(to, from)| *to = *from);
        let rows = Rows::new(values.len() / width.max(1), width, copy);
        rows.and_then(|rows| session.predict(&rows)).map_err(|error| Refusal::graph(error.to_string()))
    };
    let together = predict(&rows)?;
    let mut one_by_one = Vec::with_capacity(together.len());
    for row in rows.chunks(session.width()) {
        one_by_one.extend(predict(row)?);
    }
    for seen in [&together, &one_by_one] {
        for (index, (row, wanted)) in seen.chunks(session.classes()).zip(&reference.probabilities).enumerate() {
            for (class, (seen, wanted)) in row.iter().zip(wanted).enumerate() {
                let close = (f64::from(*seen) - wanted).abs() <= TOLERANCE;
                if !close {
                    return Err(Refusal::Reference(format!(
                        "reference row {index} gives {seen} for class {class}, training saw {wanted}"
                    )));
                }
            }
        }
    }
    Ok(())
}
