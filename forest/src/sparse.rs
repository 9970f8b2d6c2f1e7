//! Products with constant weights, for rows that are mostly zeros, as tract's operator for MatMul.
//!
//! Of a text's thousand n-gram columns some dozens are not zero. tract's product multiplies them all, which is a good
//! part of a row's time and grows with the number of labels; here a zero costs the look at it. Its register is keyed by
//! name, as for the trees.

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::ops::matmul::MatMulInference;

use crate::wide::wide;

const NAME: &str = "MatMul";

/// Columns that are looked at together: as many as fill a cache line.
const GLANCE: usize = 16;

/// Makes `onnx` build every MatMul as a [`Product`].
pub(crate) fn register(onnx: &mut Onnx) {
    onnx.op_register.insert(NAME, build);
}

fn build(_context: &ParsingContext, _node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    Ok((expand(Product(MatMulInference::default())), vec![]))
}

/// A MatMul until its inputs are known: then [`SparseRows`] where that gives what tract's own would, else tract's own.
#[derive(Clone, Debug)]
struct Product(MatMulInference);

impl Expansion for Product {
    fn name(&self) -> StaticName {
        NAME.into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        self.0.rules(solver, inputs, outputs)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let &[rows, weights] = inputs else { bail!("two inputs are expected, got {}", inputs.len()) };
        let rank = model.outlet_fact(rows)?.rank();
        match model.outlet_fact(weights)?.konst.as_deref().map(SparseRows::new).transpose()?.flatten() {
            Some(product) if rank == 2 => model.wire_node(prefix, product, &[rows]),
            _ => self.0.wire(prefix, model, inputs),
        }
    }
}

/// One input (rows), one output (rows × weights).
#[derive(Clone, Debug)]
struct SparseRows {
    /// A line for each column of the input, of one weight for each column of the output.
    weights: Arc<[f32]>,
    /// Weights in a line, at least 1.
    line: usize,
}

impl PartialEq for SparseRows {
    fn eq(&self, other: &Self) -> bool {
        self.line == other.line && Arc::ptr_eq(&self.weights, &other.weights)
    }
}

impl Eq for SparseRows {}

impl SparseRows {
    /// `None` for weights that a zero must be multiplied with (0 × ∞ is no number), and for other than f32 matrices.
    fn new(weights: &Tensor) -> TractResult<Option<Self>> {
        let &[_, line] = weights.shape() else { return Ok(None) };
        if line == 0 || weights.datum_type() != f32::datum_type() {
            return Ok(None);
        }
        let view = weights.try_as_plain_ram()?;
        let weights: Arc<[f32]> = view.as_slice::<f32>()?.into();
        Ok(weights.iter().all(|weight| weight.is_finite()).then_some(Self { weights, line }))
    }

    fn width(&self) -> usize {
        self.weights.len() / self.line
    }
}

wide! {
    /// Adds the products of `rows` to `sums`, each `width` values and a line of weights wide.
    fn add(product: &SparseRows, rows: &[f32], width: usize, sums: &mut [f32]) {
        for (row, sums) in rows.chunks_exact(width.max(1)).zip(sums.chunks_exact_mut(product.line)) {
            let groups = product.weights.chunks(GLANCE * product.line);
            for (values, lines) in row.chunks(GLANCE).zip(groups) {
                // One test for all of them: neither sign of zero has another bit set.
                if values.iter().fold(0, |bits, value| bits | value.to_bits()) << 1 == 0 {
                    continue;
                }
                for (&value, line) in values.iter().zip(lines.chunks_exact(product.line)) {
                    if value != 0.0 {
                        for (sum, weight) in sums.iter_mut().zip(line) {
                            *sum += value * weight;
                        }
                    }
                }
            }
        }
    }
}

impl Op for SparseRows {
    fn name(&self) -> StaticName {
        "SparseRows".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("{} × {}", self.width(), self.line)])
    }

    op_as_typed_op!();
}

impl EvalOp for SparseRows {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let &[count, width] = input.shape() else {
            bail!("a row per line is expected, got the shape {:?}", input.shape())
        };
        ensure!(width == self.width(), "rows have {width} columns, the weights {}", self.width());
        let mut output = Tensor::zero::<f32>(&[count, self.line])?;
        if width > 0 {
            let view = input.try_as_plain_ram()?;
            let mut sums = output.try_as_plain_ram_mut()?;
            add(self, view.as_slice::<f32>()?, width, sums.as_slice_mut::<f32>()?);
        }
        Ok(tvec![output.into_tvalue()])
    }
}

impl TypedOp for SparseRows {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let [input] = inputs else { bail!("one input is expected, got {}", inputs.len()) };
        let [rows, width] = input.shape.dims() else { bail!("rows are expected, got the shape {:?}", input.shape) };
        ensure!(input.datum_type == f32::datum_type(), "f32 is expected, got {:?}", input.datum_type);
        ensure!(*width == self.width().to_dim(), "rows have {width} columns, the weights {}", self.width());
        Ok(tvec![f32::fact([rows.clone(), self.line.to_dim()])])
    }

    as_op!();
}
