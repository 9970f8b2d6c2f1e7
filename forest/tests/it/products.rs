//! Products with constant weights: zeros are skipped, and nobody can tell by the result.

use proptest::prelude::*;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;

use crate::onnx as build;

fn load(model: &ModelProto, ours: bool) -> Arc<TypedRunnableModel> {
    let mut onnx = onnx();
    if ours {
        forest::register(&mut onnx);
    }
    onnx.model_for_proto_model(model).unwrap().into_optimized().unwrap().into_runnable().unwrap()
}

fn has(plan: &TypedRunnableModel, operator: &str) -> bool {
    plan.model().nodes().iter().any(|node| node.op().name() == operator)
}

fn skips_zeros(plan: &TypedRunnableModel) -> bool {
    has(plan, "SparseRows")
}

fn run(plan: &Arc<TypedRunnableModel>, width: usize, rows: &[f32]) -> Vec<f32> {
    let input = Tensor::from_shape(&[rows.len() / width, width], rows).unwrap();
    let outputs = plan.run(tvec![input.into()]).unwrap();
    outputs[0].try_as_plain_ram().unwrap().as_slice::<f32>().unwrap().to_vec()
}

/// Whole numbers, whose sums are exact in any order.
fn whole(largest: i16) -> impl Strategy<Value = f32> {
    (-largest..=largest).prop_map(f32::from)
}

/// A row's cell: mostly a zero, of either sign.
fn cell() -> impl Strategy<Value = f32> {
    prop_oneof![6 => Just(0.0), 2 => Just(-0.0), 1 => whole(9)]
}

proptest! {
    #[test]
    fn equal_to_the_operator_it_replaces(
        (line, before, after, weights, rows) in (1_usize..70, 1_usize..80, 0_usize..4, 0_usize..4).prop_flat_map(
            |(columns, line, before, after)| (
                Just(line),
                Just(before),
                Just(after),
                prop::collection::vec(whole(999), columns * line),
                prop::collection::vec(prop::collection::vec(cell(), before + columns + after), 0..9),
            ),
        ),
    ) {
        let model = build::product(&weights, line, before, after);
        let (ours, theirs) = (load(&model, true), load(&model, false));
        prop_assert!(skips_zeros(&ours) && !skips_zeros(&theirs));
        prop_assert!(!has(&ours, "Slice"), "no copy is made of the columns that count");
        let width = before + weights.len() / line + after;
        // Alone and together: a row's sums do not depend on its batch.
        for row in &rows {
            prop_assert_eq!(run(&ours, width, row), run(&theirs, width, row));
        }
        prop_assert_eq!(run(&ours, width, &rows.concat()), run(&theirs, width, &rows.concat()));
    }
}

#[test]
fn a_cell_that_is_no_number_is_not_taken_for_a_zero() {
    let plan = load(&build::product(&[1.0, 2.0, 3.0, 4.0], 2, 0, 0), true);
    let sums = run(&plan, 2, &[f32::NAN, 0.0, f32::INFINITY, 1.0, 0.0, f32::MIN_POSITIVE / 2.0]);
    assert!(sums[0].is_nan() && sums[1].is_nan());
    assert_eq!(sums[2..4], [f32::INFINITY; 2]);
    assert!(sums[4] > 0.0, "a denormal counts: {sums:?}");
}

#[test]
fn weights_that_a_zero_must_be_multiplied_with_stay_tracts() {
    let plan = load(&build::product(&[1.0, f32::INFINITY, 3.0, 4.0], 2, 0, 0), true);
    assert!(!skips_zeros(&plan));
    let sums = run(&plan, 2, &[0.0, 1.0]);
    assert!(sums[0] == 3.0 && sums[1].is_nan(), "{sums:?}");
}
