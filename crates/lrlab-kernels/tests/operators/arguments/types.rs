//! Types that are not floats or differ, and masks of other values and shapes.

use candle_core::{DType, Tensor};
use lrlab_kernels::{
    BatchNorm2d, NormMode, Precision, attention, backward, conv2d, dropout, embedding_at_positions, gelu,
    global_avg_pool2d, layer_norm, linear, max_pool2d, relu, weighted_sum,
};

use super::{CPU, FLOATS, accepted, assert_error, drop_at, encoder, encoder_on, ones, var};
use crate::harness::lstm;

#[test]
fn masks_of_other_values_and_shapes_are_rejected() {
    for dtype in FLOATS {
        let run = |mask: &Tensor| {
            let (heads, x) = (ones(&[2, 1, 3, 2], dtype), ones(&[2, 3, 4], dtype));
            let (w_ih, w_hh, bias) = (ones(&[8, 4], dtype), ones(&[8, 2], dtype), ones(&[8], dtype));
            vec![
                ("attention", attention(&heads, &heads, &heads, mask, None, Precision::F32)),
                ("lstm", lstm(&x, [&w_ih, &w_hh, &bias, &bias], mask, true)),
                ("encoder", encoder_on(&x, mask, dtype, |_| ())),
            ]
        };
        for (value, printed) in [(0.5_f32, "0.5"), (-1.0, "-1"), (f32::NAN, "NaN"), (2.0, "2")] {
            let mask = Tensor::new(&[[1.0, 1.0, 0.0], [1.0, value, 1.0]], &CPU).unwrap();
            for (name, result) in run(&mask) {
                assert_error(result, &format!("{name}: {printed} in mask at [1, 1], expected 0 or 1"));
            }
        }
        for shape in [vec![3, 2], vec![2, 4], vec![2], vec![6]] {
            for (name, result) in run(&ones(&shape, dtype)) {
                assert_error(result, &format!("{name}: mask of shape {shape:?}, expected [2, 3]"));
            }
        }
        for as_type in [DType::U8, DType::U32, DType::I64, DType::BF16, DType::F64] {
            for (_, result) in run(&ones(&[2, 3], as_type)) {
                accepted(result);
            }
        }
    }
}

#[test]
fn types_that_are_not_floats_or_differ_are_rejected() {
    let u32s = |dims: &[usize]| ones(dims, DType::U32);
    let no_float = "u32, expected f32, f64, bf16 or f16";
    assert_error(relu(&u32s(&[3])), &format!("relu: x of type {no_float}"));
    assert_error(gelu(&u32s(&[3])), &format!("gelu: x of type {no_float}"));
    assert_error(dropout(&u32s(&[3]), drop_at(0.5)), &format!("dropout: x of type {no_float}"));
    assert_error(dropout(&u32s(&[3]), drop_at(0.0)), &format!("dropout: x of type {no_float}"));
    assert_error(max_pool2d(&u32s(&[1, 1, 2, 2]), 2, 2, 0), &format!("max_pool2d: x of type {no_float}"));
    assert_error(
        global_avg_pool2d(&u32s(&[1, 1, 2, 2])),
        &format!("global_avg_pool2d: x of type {no_float}"),
    );
    let expected = format!("weighted_sum: weights of type {no_float}");
    assert_error(weighted_sum(&ones(&[1, 2, 3], DType::F64), &u32s(&[1, 2])), &expected);
    assert_error(backward(&u32s(&[1])), &format!("backward: loss of type {no_float}"));
    let loss = var(&[2, 2], DType::F32);
    assert_error(backward(&loss), "backward: loss of shape [2, 2], expected a scalar");
    for dtype in FLOATS {
        for wrong in FLOATS.into_iter().filter(|other| *other != dtype) {
            let (x, w) = (|dims: &[usize]| ones(dims, dtype), |dims: &[usize]| ones(dims, wrong));
            let printed = |name: &str, what: &str, first: &str| {
                let (dtype, wrong) = (dtype.as_str(), wrong.as_str());
                format!(
                    "{name}: {what} of type {wrong}, expected {dtype} as {first}; convert one with `to_dtype`"
                )
            };
            let picture = [1, 1, 2, 2];
            assert_error(
                conv2d(&x(&picture), &w(&[1, 1, 1, 1]), 1, 0, Precision::F32),
                &printed("conv2d", "weight", "x"),
            );
            assert_error(
                linear(&x(&[2, 3]), &w(&[4, 3]), None, Precision::F32),
                &printed("linear", "weight", "x"),
            );
            let result = linear(&x(&[2, 3]), &x(&[4, 3]), Some(&w(&[4])), Precision::F32);
            assert_error(result, &printed("linear", "bias", "x"));
            assert_error(
                layer_norm(&x(&[2, 3]), &x(&[3]), &w(&[3]), 1e-5),
                &printed("layer_norm", "shift", "x"),
            );
            let running = var(&[1], wrong);
            let (row, mode) = (x(&[1]), NormMode::Eval);
            let result = BatchNorm2d {
                scale: &row,
                shift: &row,
                running_mean: &running,
                running_var: &running,
                eps: 1e-5,
                mode,
                residual: None,
                relu: true,
            }
            .forward(&x(&picture));
            assert_error(result, &printed("batch_norm2d", "running mean", "x"));
            let q = x(&[1, 1, 2, 2]);
            let result = attention(&q, &q, &w(&[1, 1, 2, 2]), &x(&[1, 2]), None, Precision::F32);
            assert_error(result, &printed("attention", "v", "q"));
            let (w_ih, w_hh, bias) = (x(&[8, 4]), x(&[8, 2]), w(&[8]));
            let result = lstm(&x(&[2, 3, 4]), [&w_ih, &w_hh, &bias, &bias], &x(&[2, 3]), false);
            assert_error(result, &printed("lstm", "b_ih", "x"));
            let row = w(&[4]);
            let result = encoder(dtype, |layer| layer.norm2.1 = Box::leak(Box::new(row)));
            assert_error(result, &printed("encoder", "norm2 shift", "x"));
            let (ids, table) = (u32s(&[1, 1]), x(&[2, 3]));
            let result = embedding_at_positions(&ids, &table, 1.0, &w(&[1, 3]), None);
            assert_error(result, &printed("embedding_at_positions", "positions", "table"));
        }
    }
}
