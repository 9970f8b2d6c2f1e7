//! Products with constant weights, for rows that are mostly zeros, as tract's operator for MatMul.
//!
//! Of a text's thousand n-gram columns some dozens are not zero. tract's product multiplies them all, which takes a
//! good part of a row's time and grows with the number of labels; here a zero costs one comparison, and columns that a
//! Slice would copy are read in place. The operator replaces tract's by name, like that of the trees.

use std::ops::Range;

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::ops::array::Slice;
use tract_onnx::tract_hir::ops::matmul::MatMulInference;

use crate::wide::wide;

const NAME: &str = "MatMul";

/// Columns that are compared with zero together.
const GROUP: usize = 32;

/// Makes `onnx` build every MatMul as a [`Product`].
pub(crate) fn register(onnx: &mut Onnx) {
    onnx.op_register.insert(NAME, build);
}

fn build(_context: &ParsingContext, _node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    Ok((expand(Product(MatMulInference::default())), vec![]))
}

/// A MatMul until its inputs are known: then [`SparseRows`] where its result is the same, else tract's own product.
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
        let &[rows, weights] = inputs else { bail!("expected two inputs, got {}", inputs.len()) };
        let rank = model.outlet_fact(rows)?.rank();
        match model.outlet_fact(weights)?.konst.as_deref().map(SparseRows::new).transpose()?.flatten() {
            Some(product) if rank == 2 => model.wire_node(prefix, product, &[rows]),
            _ => self.0.wire(prefix, model, inputs),
        }
    }
}

/// Sums that stay in registers together: four vectors of eight, so that none waits for its own last
/// addition. Of twice as many the compiler makes no vectors.
const LANES: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(align(64))]
struct Lanes([f32; LANES]);

/// One input (rows), one output (some of their columns × weights).
#[derive(Clone, Debug)]
struct SparseRows {
    /// The first column of the input that is read.
    from: usize,
    /// For each column that is read one weight for each column of the output, and zeros up to whole lanes.
    weights: Arc<[Lanes]>,
    /// The number of columns that are read.
    width: usize,
    /// Columns of the output, at least 1.
    sums: usize,
}

impl PartialEq for SparseRows {
    fn eq(&self, other: &Self) -> bool {
        (self.from, self.width, self.sums) == (other.from, other.width, other.sums)
            && Arc::ptr_eq(&self.weights, &other.weights)
    }
}

impl Eq for SparseRows {}

impl SparseRows {
    /// `None` for weights that a zero must be multiplied with (0 × ∞ is not a number), and for other than f32 matrices.
    fn new(weights: &Tensor) -> TractResult<Option<Self>> {
        let &[width, sums] = weights.shape() else { return Ok(None) };
        if sums == 0 || weights.datum_type() != f32::datum_type() {
            return Ok(None);
        }
        let view = weights.try_as_plain_ram()?;
        let weights = view.as_slice::<f32>()?;
        if !weights.iter().all(|weight| weight.is_finite()) {
            return Ok(None);
        }
        let lanes = |weights: &[f32]| {
            let mut lanes = Lanes([0.0; LANES]);
            lanes.0.iter_mut().zip(weights).for_each(|(lane, &weight)| *lane = weight);
            lanes
        };
        let weights = weights.chunks_exact(sums).flat_map(|line| line.chunks(LANES).map(lanes)).collect();
        Ok(Some(Self { from: 0, weights, width, sums }))
    }

    fn columns(&self) -> Range<usize> {
        self.from..self.from + self.width
    }

    /// Checks that rows of `width` columns are wide enough.
    fn check(&self, width: usize) -> TractResult<()> {
        let needed = self.from + self.width;
        ensure!(width >= needed, "rows have {width} columns, the weights are for {needed}");
        Ok(())
    }
}

/// A value that is not zero, and its column.
#[derive(Clone, Copy)]
struct Cell {
    column: u32,
    value: f32,
}

wide! {
    /// Writes the products of `rows` to `products`.
    fn multiply(product: &SparseRows, rows: &[f32], width: usize, products: &mut [f32]) {
        let mut cells = Vec::with_capacity(product.width);
        let lines = product.sums.div_ceil(LANES);
        for (row, sums) in rows.chunks_exact(width.max(1)).zip(products.chunks_exact_mut(product.sums)) {
            gather(row.get(product.columns()).unwrap_or_default(), &mut cells);
            for (part, sums) in sums.chunks_mut(LANES).enumerate() {
                add(product.weights.get(part..).unwrap_or_default(), lines, &cells, sums);
            }
        }
    }
}

/// Gathers the values of a row that are not zero.
#[inline(always)]
fn gather(row: &[f32], cells: &mut Vec<Cell>) {
    cells.clear();
    for (first, values) in (0..).step_by(GROUP).zip(row.chunks(GROUP)) {
        let mut marks =
            values.iter().enumerate().fold(0_u32, |marks, (at, &value)| marks | u32::from(value != 0.0) << at);
        while marks != 0 {
            let at = marks.trailing_zeros();
            marks &= marks - 1;
            cells.extend(values.get(at as usize).map(|&value| Cell { column: first + at, value }));
        }
    }
}

/// Up to [`LANES`] sums, of every `line`-th of the weights. They stay in registers, and since the cells are known
/// before, the loads of their weights do not wait for one another.
#[inline(always)]
fn add(weights: &[Lanes], line: usize, cells: &[Cell], out: &mut [f32]) {
    let mut sums = [0.0; LANES];
    for cell in cells {
        if let Some(weights) = weights.get(cell.column as usize * line) {
            for (sum, weight) in sums.iter_mut().zip(&weights.0) {
                *sum += cell.value * weight;
            }
        }
    }
    out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum);
}

impl Op for SparseRows {
    fn name(&self) -> StaticName {
        "SparseRows".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("columns {:?} × {}", self.columns(), self.sums)])
    }

    op_as_typed_op!();
}

impl EvalOp for SparseRows {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let &[count, width] = input.shape() else {
            bail!("expected a 2-D input [rows, columns], got the shape {:?}", input.shape())
        };
        self.check(width)?;
        let mut output = Tensor::zero::<f32>(&[count, self.sums])?;
        let view = input.try_as_plain_ram()?;
        multiply(self, view.as_slice::<f32>()?, width, output.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?);
        Ok(tvec![output.into_tvalue()])
    }
}

impl TypedOp for SparseRows {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let [input] = inputs else { bail!("expected one input, got {}", inputs.len()) };
        let [rows, width] = input.shape.dims() else {
            bail!("expected a 2-D input [rows, columns], got the shape {:?}", input.shape)
        };
        ensure!(input.datum_type == f32::datum_type(), "expected f32, got {:?}", input.datum_type);
        if let Ok(width) = width.to_usize() {
            self.check(width)?;
        }
        Ok(tvec![f32::fact([rows.clone(), self.sums.to_dim()])])
    }

    /// Reads the columns in place instead of copying them first.
    fn declutter(&self, model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
        let &[input] = node.inputs.as_slice() else { return Ok(None) };
        let before = model.node(input.node);
        let Some(slice) = before.op_as::<Slice>().filter(|slice| slice.axis == 1) else { return Ok(None) };
        let Some(start) = slice.start.as_usize() else { return Ok(None) };
        let product = Self { from: self.from + start, ..self.clone() };
        TypedModelPatch::replace_single_op(model, node, &before.inputs, product).map(Some)
    }

    as_op!();
}
