//! What runs in this process: the forest by itself, the forest inside tract, and tract as it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use forest::Forest;
use tract_onnx::Onnx;
use tract_onnx::prelude::*;

use crate::measure::{self, Case, Junk};

const WIDTH: usize = 60;

/// The rows that every engine evaluates, one after the other.
pub(crate) fn rows(folder: &Path) -> Result<Vec<f32>> {
    let bytes = std::fs::read(folder.join("rows.f32"))?;
    Ok(bytes.as_chunks().0.iter().map(|&four| f32::from_le_bytes(four)).collect())
}

enum Kind {
    Direct(Box<Forest>),
    Plan(Arc<TypedRunnableModel>),
}

pub(crate) struct Engine {
    kind: Kind,
    width: usize,
    junk: Junk,
}

impl Engine {
    pub(crate) fn direct(folder: &Path, trees: usize) -> Result<Engine> {
        let proto = onnx().proto_model_for_path(file(folder, trees))?;
        let graph = proto.graph.context("a graph")?;
        let node = graph.node.iter().find(|node| node.op_type == "TreeEnsembleClassifier").context("trees")?;
        let forest = Forest::new(&forest::ensemble_of(node)?)?;
        Ok(Engine { kind: Kind::Direct(Box::new(forest)), width: WIDTH, junk: Junk::new() })
    }

    pub(crate) fn in_tract(folder: &Path, trees: usize) -> Result<Engine> {
        let mut onnx = onnx();
        forest::register(&mut onnx);
        let plan = plan(&onnx, &file(folder, trees), WIDTH)?;
        anyhow::ensure!(forest::plan_uses_forest(&plan), "the plan does not hold the forest");
        Ok(Engine { kind: Kind::Plan(plan), width: WIDTH, junk: Junk::new() })
    }

    pub(crate) fn stock(folder: &Path, trees: usize) -> Result<Engine> {
        Ok(Engine { kind: Kind::Plan(plan(&onnx(), &file(folder, trees), WIDTH)?), width: WIDTH, junk: Junk::new() })
    }

    /// A served model, by the plan that the scorer makes of it.
    pub(crate) fn served(path: &Path, width: usize) -> Result<Engine> {
        let mut onnx = onnx().with_ignore_output_shapes(true);
        forest::register(&mut onnx);
        let plan = plan(&onnx, path, width)?;
        anyhow::ensure!(forest::plan_uses_forest(&plan), "the plan does not hold the forest");
        Ok(Engine { kind: Kind::Plan(plan), width, junk: Junk::new() })
    }

    /// Microseconds of each call.
    pub(crate) fn time_calls(&mut self, case: Case, rows: &[f32], seconds: f64) -> Result<Vec<f64>> {
        let width = self.width;
        let chunks = || rows.chunks_exact(case.batch * width);
        let count = chunks().len().max(1);
        let chunk = |call: usize| chunks().nth(call % count).unwrap_or_default();
        match &self.kind {
            Kind::Direct(forest) => {
                let (mut scores, mut winners) = (vec![0.0; case.batch * forest.classes()], vec![0; case.batch]);
                measure::calls(case.cache, seconds, &mut self.junk, |call| {
                    Ok(forest.predict(chunk(call), width, &mut scores, &mut winners)?)
                })
            }
            Kind::Plan(plan) => measure::calls(case.cache, seconds, &mut self.junk, |call| {
                let input = Tensor::from_shape(&[case.batch, width], chunk(call))?;
                std::hint::black_box(plan.run(tvec![input.into()])?);
                Ok(())
            }),
        }
    }
}

fn file(folder: &Path, trees: usize) -> PathBuf {
    folder.join(format!("{trees}.onnx"))
}

fn plan(onnx: &Onnx, path: &Path, width: usize) -> Result<Arc<TypedRunnableModel>> {
    let mut model = onnx.model_for_path(path)?;
    let batch = model.symbols.sym("N");
    model.set_input_fact(0, f32::fact([batch.to_dim(), width.to_dim()]).into())?;
    model.into_optimized()?.into_runnable()
}
