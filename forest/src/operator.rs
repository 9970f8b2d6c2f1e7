//! The forest as tract's operator for TreeEnsembleClassifier.
//!
//! tract has an operator of that name, whose time grows with the square of the number of trees. tract's register is
//! keyed by name, so inserting this one replaces it for every model that is loaded through that register.

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use crate::attributes::ensemble_of;
use crate::ensemble::Labels;
use crate::forest::Forest;
use crate::sparse;

const NAME: &str = "TreeEnsembleClassifier";

/// Makes `onnx` build every TreeEnsembleClassifier as a [`Forest`], and every MatMul with constant weights so that it
/// skips the zeros of a row. Call it before loading a model.
///
/// A model whose ensemble is malformed or not supported is then refused when it is loaded.
pub fn register(onnx: &mut Onnx) {
    onnx.op_register.insert(NAME, build);
    sparse::register(onnx);
}

/// Returns `true` if all of a plan's tree ensembles are evaluated by this crate, and there is at least one.
///
/// Check it after each load: if tract renamed the key of its register, models would still load, and be evaluated a
/// thousand times slower.
#[must_use]
pub fn plan_uses_forest(plan: &TypedRunnableModel) -> bool {
    model_uses_forest(plan.model())
}

/// Like [`plan_uses_forest`], for a model without a plan.
#[must_use]
pub fn model_uses_forest(model: &TypedModel) -> bool {
    let mut ours = 0;
    for node in model.nodes() {
        if node.op_is::<ForestOp>() {
            ours += 1;
        } else if node.op().name().contains("TreeEnsemble") {
            return false;
        }
    }
    ours > 0
}

fn build(_context: &ParsingContext, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let forest = Forest::new(&ensemble_of(node)?)?;
    Ok((expand(ForestOp { forest: Arc::new(forest) }), vec![]))
}

/// Two outputs: labels (one per row), scores (one per row and class).
#[derive(Clone, Debug)]
struct ForestOp {
    forest: Arc<Forest>,
}

impl PartialEq for ForestOp {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.forest, &other.forest)
    }
}

impl Eq for ForestOp {}

impl ForestOp {
    fn label_type(&self) -> DatumType {
        match self.forest.labels() {
            Labels::Ints(_) => i64::datum_type(),
            Labels::Strings(_) => String::datum_type(),
        }
    }

    fn labels(&self, winners: &[u32]) -> Tensor {
        match self.forest.labels() {
            Labels::Ints(labels) => tensor1(&pick(labels, winners)),
            Labels::Strings(labels) => tensor1(&pick(labels, winners)),
        }
    }
}

fn pick<T: Clone + Default>(labels: &[T], winners: &[u32]) -> Vec<T> {
    winners.iter().map(|&winner| labels.get(winner as usize).cloned().unwrap_or_default()).collect()
}

impl Expansion for ForestOp {
    fn name(&self) -> StaticName {
        NAME.into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(2)
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 2)?;
        let ([input], [labels, scores]) = (inputs, outputs) else { return Ok(()) };
        solver.equals(&input.datum_type, f32::datum_type())?;
        solver.equals(&input.rank, 2)?;
        solver.equals(&labels.datum_type, self.label_type())?;
        solver.equals(&labels.rank, 1)?;
        solver.equals(&labels.shape[0], &input.shape[0])?;
        solver.equals(&scores.datum_type, f32::datum_type())?;
        solver.equals(&scores.rank, 2)?;
        solver.equals(&scores.shape[0], &input.shape[0])?;
        solver.equals(&scores.shape[1], self.forest.classes().to_dim())?;
        Ok(())
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }
}

impl Op for ForestOp {
    fn name(&self) -> StaticName {
        "Forest".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("{} trees, {} classes", self.forest.trees(), self.forest.classes())])
    }

    op_as_typed_op!();
}

impl EvalOp for ForestOp {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let &[rows, width] = input.shape() else {
            bail!("expected a 2-D input [rows, features], got the shape {:?}", input.shape())
        };
        let view = input.try_as_plain_ram()?;
        let mut scores = vec![0.0; rows * self.forest.classes()];
        let mut winners = vec![0; rows];
        self.forest.predict(view.as_slice::<f32>()?, width, &mut scores, &mut winners)?;
        let scores = Tensor::from_shape(&[rows, self.forest.classes()], &scores)?;
        Ok(tvec![self.labels(&winners).into_tvalue(), scores.into_tvalue()])
    }
}

impl TypedOp for ForestOp {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let [input] = inputs else { bail!("expected one input, got {}", inputs.len()) };
        let [rows, width] = input.shape.dims() else {
            bail!("expected a 2-D input [rows, features], got the shape {:?}", input.shape)
        };
        ensure!(input.datum_type == f32::datum_type(), "expected f32 features, got {:?}", input.datum_type);
        if let Ok(width) = width.to_usize() {
            let needed = self.forest.features();
            ensure!(width >= needed, "rows have {width} features, the trees read {needed}");
        }
        Ok(tvec![self.label_type().fact([rows.clone()]), f32::fact([rows.clone(), self.forest.classes().to_dim()])])
    }

    as_op!();
}
