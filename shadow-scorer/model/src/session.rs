//! A model that can be asked. The only file that names tract, so that another runtime is a change to this file.
//!
//! One plan with a symbolic batch serves every batch size. A session is immutable and shared: any number of threads
//! may ask it at once.

use std::any::Any;
use std::fmt;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tract_onnx::prelude::*;

use super::graph;
use super::refusal::Refusal;

/// Characters of a cause from the runtime that are kept: it may print whole tensors.
const MOST_CAUSE: usize = 500;

/// A loaded graph: rows of `width` values in, one probability per class out.
pub struct Session {
    plan: Arc<TypedRunnableModel>,
    width: usize,
    classes: usize,
    /// Which of the graph's outputs holds the probabilities.
    output: usize,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("width", &self.width).field("classes", &self.classes).finish_non_exhaustive()
    }
}

/// Rows of features one after the other, where the runtime reads them: models that are asked about the same rows share
/// them.
#[derive(Debug, Clone)]
pub struct Rows {
    tensor: Arc<Tensor>,
}

impl Rows {
    /// `count` rows of `width` values each, zeros that `write` writes over.
    ///
    /// # Errors
    /// When there is no room for them.
    pub fn new(count: usize, width: usize, write: impl FnOnce(&mut [f32])) -> Result<Self, PredictError> {
        let make = || -> TractResult<Tensor> {
            let mut tensor = Tensor::zero::<f32>(&[count, width])?;
            write(tensor.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?);
            Ok(tensor)
        };
        let tensor = make().map_err(|error| PredictError { rows: count, cause: format!("{error:#}") })?;
        Ok(Self { tensor: Arc::new(tensor) })
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.tensor.shape().first().copied().unwrap_or(0)
    }

    /// Their values, row by row.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        let values = self.tensor.try_as_plain_ram().and_then(|view| view.as_slice::<f32>());
        values.unwrap_or_default()
    }
}

/// A graph that failed while it ran. Reference rows ran through it at load, so this is a defect, not an input.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the model failed on {rows} rows: {cause}")]
pub struct PredictError {
    /// Rows that were asked.
    pub rows: usize,
    /// What the runtime said.
    pub cause: String,
}

impl Session {
    /// Loads a graph of ONNX bytes.
    ///
    /// # Errors
    /// [`Refusal::Graph`] when it cannot be loaded, or has no output of `classes` probabilities per row.
    pub fn load(onnx: &[u8], width: usize, classes: usize) -> Result<Self, Refusal> {
        let plan = guarded(|| plan(onnx, width)).map_err(Refusal::graph)?;
        if !forest::plan_uses_forest(&plan) {
            // It would work, in time quadratic in its leaves.
            return Err(Refusal::graph("it has no tree ensemble, or one that only the slow evaluator takes"));
        }
        let output = guarded(|| probabilities(&plan, classes)).map_err(Refusal::graph)?;
        Ok(Self { plan, width, classes, output })
    }

    /// Values in one row.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Probabilities per row.
    #[must_use]
    pub const fn classes(&self) -> usize {
        self.classes
    }

    /// The probabilities of `rows`, one per class for each row.
    ///
    /// # Errors
    /// When the rows have another width than the model's, or the graph fails.
    pub fn predict(&self, rows: &Rows) -> Result<Vec<f32>, PredictError> {
        let count = rows.count();
        if count == 0 {
            return Ok(Vec::new());
        }
        let fault = |cause: String| PredictError { rows: count, cause };
        let run = || -> TractResult<Vec<f32>> {
            let outputs = self.plan.run(tvec!(Arc::clone(&rows.tensor).into_tvalue()))?;
            Ok(match outputs.get(self.output) {
                Some(output) => output.try_as_plain_ram()?.as_slice::<f32>()?.to_vec(),
                None => Vec::new(),
            })
        };
        let probabilities = guarded(run).map_err(fault)?;
        if probabilities.len() == count * self.classes {
            Ok(probabilities)
        } else {
            Err(fault(format!("{} probabilities instead of {count} × {}", probabilities.len(), self.classes)))
        }
    }
}

/// Runs `work` of the runtime, whose panics are errors here: what makes it panic is in the file that it reads.
fn guarded<T>(work: impl FnOnce() -> TractResult<T>) -> Result<T, String> {
    let cause = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(error)) => format!("{error:#}"),
        Err(panic) => format!("the ONNX runtime panicked on it: {}", words(panic.as_ref())),
    };
    Err(match cause.char_indices().nth(MOST_CAUSE) {
        Some((at, _)) => format!("{}…", cause.get(..at).unwrap_or_default()),
        None => cause,
    })
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it did not say why")
}

fn plan(onnx: &[u8], width: usize) -> TractResult<Arc<TypedRunnableModel>> {
    // Converters write output shapes into the file that are wrong; they follow from the input anyway.
    let mut format = tract_onnx::onnx().with_ignore_output_shapes(true);
    forest::register(&mut format);
    let proto = format.proto_model_for_read(&mut Cursor::new(onnx))?;
    graph::check(&proto, width, |operator| format.op_register.0.contains_key(operator)).map_err(TractError::msg)?;
    let graph = format.model_for_proto_model(&proto)?;
    let batch = graph.symbols.sym("N");
    graph.with_input_fact(0, f32::fact([batch.to_dim(), width.to_dim()]).into())?.into_optimized()?.into_runnable()
}

fn probabilities(plan: &TypedRunnableModel, classes: usize) -> TractResult<usize> {
    let graph = plan.model();
    let wanted = classes.to_dim();
    for index in 0..graph.outputs.len() {
        let fact = graph.output_fact(index)?;
        if fact.datum_type == f32::datum_type() && fact.rank() == 2 && fact.shape.get(1) == Some(&wanted) {
            return Ok(index);
        }
    }
    let seen: Vec<String> = graph.outputs.iter().map(|outlet| format!("{:?}", graph.outlet_fact(*outlet))).collect();
    Err(TractError::msg(format!("no output gives {classes} probabilities per row; outputs are {}", seen.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_runtime_is_an_error_in_its_words_case_a10() {
        let index = |at: usize| move || Ok([0_u8; 3].get(at).copied().unwrap_or_else(|| panic!("no entry {at}")));
        assert_eq!(guarded(index(2)), Ok(0));
        assert_eq!(guarded(index(9)).unwrap_err(), "the ONNX runtime panicked on it: no entry 9");
        let silent = || -> TractResult<()> { std::panic::panic_any(7) };
        assert_eq!(guarded(silent).unwrap_err(), "the ONNX runtime panicked on it: it did not say why");
        let long = || -> TractResult<()> { Err(TractError::msg("é".repeat(100_000))) };
        assert_eq!(guarded(long).unwrap_err().chars().count(), MOST_CAUSE + 1);
    }
}
