//! Every implementation of an operator rejects invalid arguments with the same message.

use candle_core::{DType, Device, Result, Tensor, Var};
use lrlab_kernels::{
    AdamStep, BatchNorm2d, ConvNet, ConvNorm, Dropout, EncoderActivation, EncoderLayer, EncoderNorm,
    LstmLayer, NormMode, Precision, Sequence, SgdStep, Update, adam_update, adam_updates, attention,
    backward, conv2d, cross_entropy, cross_entropy_each, dropout, embedding, embedding_at_positions, gelu,
    global_avg_pool2d, layer_norm, linear, max_pool2d, relu, sgd_update, sgd_updates, weighted_sum,
};
use lrlab_random::{Purpose, Stream};

use crate::harness::lstm;

const FLOATS: [DType; 4] = [DType::F32, DType::F64, DType::BF16, DType::F16];
const CPU: Device = Device::Cpu;

fn ones(dims: &[usize], dtype: DType) -> Tensor {
    Tensor::ones(dims, DType::F32, &CPU).unwrap().to_dtype(dtype).unwrap()
}

fn var(dims: &[usize], dtype: DType) -> Var {
    Var::from_tensor(&ones(dims, dtype)).unwrap()
}

fn drop_at(p: f64) -> Dropout {
    Dropout { p, stream: Stream::new(0, Purpose::Dropout, "arguments") }
}

#[track_caller]
fn assert_error<T>(result: Result<T>, expected: &str) {
    match result {
        Ok(_) => panic!("accepted, expected {expected:?}"),
        Err(error) => {
            let printed = error.to_string();
            assert!(printed.starts_with(expected), "printed {printed:?}, expected {expected:?}");
        }
    }
}

#[track_caller]
fn accepted<T>(result: Result<T>) {
    if let Err(error) = result {
        panic!("rejected: {error}");
    }
}

#[test]
fn labels_must_be_below_the_number_of_classes() {
    for dtype in FLOATS {
        let logits = ones(&[2, 5], dtype);
        let check = |labels: Tensor, expected: &str| {
            assert_error(cross_entropy(&logits, &labels, 0.1), &format!("cross_entropy: {expected}"));
            assert_error(cross_entropy_each(&logits, &labels), &format!("cross_entropy_each: {expected}"));
        };
        let new = |labels: [u32; 2]| Tensor::new(&labels, &CPU).unwrap();
        let signed = |labels: [i64; 2]| Tensor::new(&labels, &CPU).unwrap();
        check(new([0, 5]), "5 in labels at [1], expected 0 to 4");
        check(new([u32::MAX, 4]), "4294967295 in labels at [0], expected 0 to 4");
        check(signed([4, -1]), "-1 in labels at [1], expected 0 to 4");
        check(signed([(1 << 32) + 2, 0]), "4294967298 in labels at [0], expected 0 to 4");
        check(signed([i64::MIN, 0]), "-9223372036854775808 in labels at [0], expected 0 to 4");
        check(Tensor::new(&[255_u8, 0], &CPU).unwrap(), "255 in labels at [0], expected 0 to 4");
        for wrong in FLOATS {
            let expected = format!("labels of type {}, expected u8, u32 or i64", wrong.as_str());
            check(ones(&[2], wrong), &expected);
        }
        check(
            ones(&[2], DType::U32).to_dtype(DType::I32).unwrap(),
            "labels of type i32, expected u8, u32 or i64",
        );
        check(new([0, 1]).reshape((2, 1)).unwrap(), "labels of shape [2, 1], expected [2]");
        // Loss and gradient depend neither on the labels' type nor on their layout.
        let losses = [
            new([4, 1]),
            signed([4, 1]),
            Tensor::new(&[4_u8, 1], &CPU).unwrap(),
            Tensor::new(&[[9_u32, 4], [9, 1]], &CPU).unwrap().narrow(1, 1, 1).unwrap().squeeze(1).unwrap(),
        ]
        .map(|labels| {
            let logits = var(&[2, 5], dtype);
            let loss = cross_entropy(&logits, &labels, 0.1).unwrap();
            let grads = backward(&loss).unwrap();
            let all = [loss.flatten_all().unwrap(), grads.get(&logits).unwrap().flatten_all().unwrap()];
            Tensor::cat(&all, 0).unwrap().to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap()
        });
        assert!(losses.iter().all(|loss| *loss == losses[0]), "{losses:?}");
    }
    for smoothing in [-0.25, 1.5, f64::NAN, f64::INFINITY] {
        let expected = format!("cross_entropy: smoothing is {smoothing:?}, expected 0 to 1");
        assert_error(
            cross_entropy(&ones(&[1, 2], DType::F32), &ones(&[1], DType::U32), smoothing),
            &expected,
        );
    }
    let labels = ones(&[2], DType::U32);
    assert_error(cross_entropy(&labels, &labels, 0.0), "cross_entropy: logits of shape [2], expected (n, c)");
    let logits = ones(&[2, 3], DType::U32);
    assert_error(
        cross_entropy(&logits, &labels, 0.0),
        "cross_entropy: logits of type u32, expected f32, f64, bf16 or f16",
    );
    let nothing = ones(&[0], DType::U32);
    assert_error(
        cross_entropy(&ones(&[0, 3], DType::F64), &nothing, 0.0),
        "cross_entropy: empty logits [0, 3]",
    );
    assert_error(
        cross_entropy_each(&ones(&[2, 0], DType::F64), &labels),
        "cross_entropy_each: empty logits [2, 0]",
    );
}

/// The look-ups by their names, of ids `(2, 3)` in a table of 4 rows.
fn look_ups(ids: &Tensor, table: &Tensor) -> Vec<(&'static str, Result<Tensor>)> {
    let (dtype, d) = (table.dtype(), table.dims().last().copied().unwrap());
    let (positions, mask) = (ones(&[3, d], dtype), ones(&[2, 3], dtype));
    let (w_ih, w_hh, bias) = (ones(&[8, d], dtype), ones(&[8, 2], dtype), ones(&[8], dtype));
    let layer = LstmLayer {
        w_ih: &w_ih,
        w_hh: &w_hh,
        b_ih: &bias,
        b_hh: &bias,
        mask: Some(&mask),
        reverse: false,
        precision: Precision::F32,
    };
    vec![
        ("embedding", embedding(ids, table)),
        ("embedding_at_positions", embedding_at_positions(ids, table, 1.0, &positions, None)),
        ("lstm", layer.last(Sequence::Tokens { ids, table })),
    ]
}

#[test]
fn ids_must_be_below_the_number_of_rows() {
    for dtype in FLOATS {
        let table = ones(&[4, 3], dtype);
        let check = |ids: &Tensor, table: &Tensor, expected: &str| {
            for (name, result) in look_ups(ids, table) {
                assert_error(result, &format!("{name}: {expected}"));
            }
        };
        let ids = |at: usize, id: i64| {
            let mut ids = [0_i64; 6];
            ids[at] = id;
            Tensor::from_slice(&ids, (2, 3), &CPU).unwrap()
        };
        let good = ids(0, 3);
        for as_type in [DType::U8, DType::U32, DType::I64] {
            for (_, result) in look_ups(&good.to_dtype(as_type).unwrap(), &table) {
                accepted(result);
            }
        }
        check(&ids(5, 4), &table, "4 in ids at [1, 2], expected 0 to 3");
        check(&ids(1, -7), &table, "-7 in ids at [0, 1], expected 0 to 3");
        check(&ids(3, (1 << 40) + 1), &table, "1099511627777 in ids at [1, 0], expected 0 to 3");
        let byte = ids(4, 200).to_dtype(DType::U8).unwrap();
        check(&byte, &table, "200 in ids at [1, 1], expected 0 to 3");
        let word = ids(2, i64::from(u32::MAX)).to_dtype(DType::U32).unwrap();
        check(&word, &table, "4294967295 in ids at [0, 2], expected 0 to 3");
        for wrong in FLOATS {
            let expected = format!("ids of type {}, expected u8, u32 or i64", wrong.as_str());
            check(&ones(&[2, 3], wrong), &table, &expected);
        }
        let flat = ids(0, 0).flatten_all().unwrap();
        for (result, name) in [
            (embedding(&flat, &table), "embedding"),
            (embedding_at_positions(&flat, &table, 1.0, &table, None), "embedding_at_positions"),
        ] {
            assert_error(result, &format!("{name}: ids of shape [6], expected (b, l)"));
        }
        assert_error(embedding(&good, &flat), "embedding: table of shape [6], expected (v, d)");
        for empty in [[0, 3], [4, 0], [0, 0]] {
            let expected = format!("empty ids [2, 3] or table {empty:?}");
            check(&good, &ones(&empty, dtype), &expected);
        }
        for empty in [[0, 3], [2, 0]] {
            let result = embedding(&ones(&empty, DType::U32), &table);
            assert_error(result, &format!("embedding: empty ids {empty:?} or table [4, 3]"));
        }
        check(&good, &ones(&[4, 3], DType::U32), "table of type u32, expected f32, f64, bf16 or f16");
        let run =
            |gain, positions: &Tensor, drop| embedding_at_positions(&good, &table, gain, positions, drop);
        let positions = ones(&[3, 3], dtype);
        for gain in [f64::NAN, f64::NEG_INFINITY] {
            let expected = format!("embedding_at_positions: gain is {gain:?}, expected a finite number");
            assert_error(run(gain, &positions, None), &expected);
        }
        let expected = "embedding_at_positions: positions of shape [4, 3], expected [3, 3]";
        assert_error(run(1.0, &table, None), expected);
        let expected = "embedding_at_positions: p is 1.0, expected 0 or more and below 1";
        assert_error(run(1.0, &positions, Some(drop_at(1.0))), expected);
    }
}

#[test]
fn numbers_out_of_range_are_rejected() {
    let finite = "expected a finite number above 0";
    for dtype in FLOATS {
        let row = ones(&[3], dtype);
        let norm = |eps, mode| {
            let (mean, variance) = (var(&[3], dtype), var(&[3], dtype));
            let x = ones(&[2, 3, 2, 2], dtype);
            BatchNorm2d {
                scale: &row,
                shift: &row,
                running_mean: &mean,
                running_var: &variance,
                eps,
                mode,
                residual: None,
                relu: false,
            }
            .forward(&x)
        };
        let net = |eps, momentum| {
            let mut net = ConvNet::new();
            let unit = ConvNorm {
                weight: var(&[3, 3, 1, 1], dtype),
                stride: 1,
                padding: 0,
                scale: var(&[3], dtype),
                shift: var(&[3], dtype),
                running_mean: var(&[3], dtype),
                running_var: var(&[3], dtype),
                eps,
            };
            net.unit(net.input(), unit, None, true);
            net.forward(&ones(&[2, 3, 2, 2], dtype), NormMode::Train { momentum })
        };
        for eps in [0.0, -5.0, f64::NAN, f64::INFINITY, 1e-60] {
            for mode in [NormMode::Eval, NormMode::Train { momentum: 0.1 }] {
                assert_error(
                    norm(eps, mode),
                    &format!("batch_norm2d: eps is {eps:?}, {finite} such as 1e-5"),
                );
            }
            let result = layer_norm(&ones(&[2, 3], dtype), &row, &row, eps);
            assert_error(result, &format!("layer_norm: eps is {eps:?}, {finite} such as 1e-5"));
            assert_error(net(eps, 0.1), &format!("conv_net: node 0: eps is {eps:?}, {finite} such as 1e-5"));
            let result = encoder(dtype, |layer| layer.eps = eps);
            assert_error(result, &format!("encoder: eps is {eps:?}, {finite} such as 1e-5"));
        }
        for momentum in [f64::NAN, -0.1, 1.1, 7.0] {
            let expected = format!("momentum is {momentum:?}, expected 0 to 1");
            assert_error(norm(1e-5, NormMode::Train { momentum }), &format!("batch_norm2d: {expected}"));
            assert_error(net(1e-5, momentum), &format!("conv_net: {expected}"));
        }
        for momentum in [0.0, 1.0] {
            accepted(norm(1e-5, NormMode::Train { momentum }));
            accepted(net(1e-5, momentum));
        }
        for p in [1.0, -0.5, f64::NAN] {
            let expected = format!("p is {p:?}, expected 0 or more and below 1");
            assert_error(dropout(&row, drop_at(p)), &format!("dropout: {expected}"));
            let q = ones(&[1, 1, 2, 2], dtype);
            let result = attention(&q, &q, &q, &ones(&[1, 2], dtype), Some(drop_at(p)), Precision::F32);
            assert_error(result, &format!("attention: {expected}"));
            for place in 0..3 {
                let result = encoder(dtype, |layer| layer.dropouts[place] = Some(drop_at(p)));
                assert_error(result, &format!("encoder: {expected}"));
            }
        }
    }
}

/// An encoder's layer of width 4 over two sequences of three, changed by `change`.
fn encoder(dtype: DType, change: impl FnOnce(&mut EncoderLayer)) -> Result<Tensor> {
    encoder_on(&ones(&[2, 3, 4], dtype), &ones(&[2, 3], DType::F32), dtype, change)
}

fn encoder_on(
    x: &Tensor,
    mask: &Tensor,
    dtype: DType,
    change: impl FnOnce(&mut EncoderLayer),
) -> Result<Tensor> {
    let (wide, wide_bias) = (ones(&[12, 4], dtype), ones(&[12], dtype));
    let (square, row) = (ones(&[4, 4], dtype), ones(&[4], dtype));
    let mut layer = EncoderLayer {
        heads: 2,
        norm: EncoderNorm::Before,
        activation: EncoderActivation::Gelu,
        in_proj: (&wide, &wide_bias),
        out_proj: (&square, &row),
        linear1: (&square, &row),
        linear2: (&square, &row),
        norm1: (&row, &row),
        norm2: (&row, &row),
        eps: 1e-5,
        dropouts: [None; 3],
        precision: Precision::F32,
    };
    change(&mut layer);
    layer.forward(x, mask)
}

#[test]
fn steps_out_of_range_are_rejected() {
    for dtype in FLOATS {
        let (w, m, v, grad) = (var(&[4], dtype), var(&[4], dtype), var(&[4], dtype), ones(&[4], dtype));
        let sgd = SgdStep { lr: 0.1, momentum: 0.5, nesterov: true, weight_decay: 0.1, first: false };
        let adam = AdamStep {
            lr: 0.1,
            beta1: 0.9,
            beta2: 0.9,
            eps: 1e-8,
            weight_decay: 0.1,
            decoupled: true,
            step: 3,
        };
        let run_sgd = |step: SgdStep, expected: &str| {
            let expected = format!("sgd_update: {expected}");
            assert_error(sgd_update(&w, &grad, Some(&m), step), &expected);
            let moments = [m.clone()];
            let update = Update { var: &w, grad: &grad, moments: &moments, weight_decay: step.weight_decay };
            assert_error(sgd_updates(&[update], step), &expected);
        };
        let moments = [m.clone(), v.clone()];
        let update = |weight_decay| Update { var: &w, grad: &grad, moments: &moments, weight_decay };
        let run_adam = |step: AdamStep, expected: &str| {
            let expected = format!("adam_update: {expected}");
            assert_error(adam_update(&w, &grad, &m, &v, step), &expected);
            assert_error(adam_updates(&[update(step.weight_decay)], step), &expected);
        };
        for x in [f64::NAN, f64::INFINITY, -0.25] {
            let expected = "expected a finite number of 0 or more";
            run_sgd(SgdStep { lr: x, ..sgd }, &format!("lr is {x:?}, {expected}"));
            run_sgd(SgdStep { weight_decay: x, ..sgd }, &format!("weight decay is {x:?}, {expected}"));
            run_adam(AdamStep { lr: x, ..adam }, &format!("lr is {x:?}, {expected}"));
            run_adam(AdamStep { weight_decay: x, ..adam }, &format!("weight decay is {x:?}, {expected}"));
            run_adam(AdamStep { eps: x, ..adam }, &format!("eps is {x:?}, {expected}"));
        }
        for x in [f64::NAN, 1.0, 1.5, -0.25] {
            let expected = "expected 0 or more and below 1";
            run_sgd(SgdStep { momentum: x, ..sgd }, &format!("momentum is {x:?}, {expected}"));
            run_adam(AdamStep { beta1: x, ..adam }, &format!("beta1 is {x:?}, {expected}"));
            run_adam(AdamStep { beta2: x, ..adam }, &format!("beta2 is {x:?}, {expected}"));
        }
        run_adam(AdamStep { eps: 0.0, ..adam }, "eps is 0, expected a finite number above 0 such as 1e-8");
        run_adam(AdamStep { step: 0, ..adam }, "step 0, expected 1 or more: steps count from 1");
        let one = &moments[..1];
        let few = Update { moments: one, ..update(0.1) };
        assert_error(adam_updates(&[few], adam), "adam_update: 1 moments for a parameter, expected 2");
        assert_error(
            sgd_updates(&[update(0.1)], sgd),
            "sgd_update: 2 moments for a parameter, expected at most 1",
        );
        for other in FLOATS.into_iter().filter(|other| *other != dtype) {
            let (other, expected) = (ones(&[4], other), dtype.as_str());
            let wrong =
                format!("gradient of type {}, expected {expected} as parameter;", other.dtype().as_str());
            assert_error(sgd_update(&w, &other, None, sgd), &format!("sgd_update: {wrong}"));
            assert_error(adam_update(&w, &other, &m, &v, adam), &format!("adam_update: {wrong}"));
            let moment = Var::from_tensor(&other).unwrap();
            let wrong =
                format!("moment of type {}, expected {expected} as parameter;", other.dtype().as_str());
            assert_error(sgd_update(&w, &grad, Some(&moment), sgd), &format!("sgd_update: {wrong}"));
            assert_error(adam_update(&w, &grad, &m, &moment, adam), &format!("adam_update: {wrong}"));
        }
        let still = ones(&[4], DType::F64).to_vec1::<f64>().unwrap();
        for unmoved in [&w, &m, &v] {
            assert_eq!(unmoved.to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap(), still);
        }
        accepted(sgd_update(&w, &grad, Some(&m), SgdStep { lr: 0.0, ..sgd }));
        accepted(adam_update(&w, &grad, &m, &v, adam));
    }
}

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

#[test]
fn windows_that_do_not_fit_are_rejected() {
    for dtype in FLOATS {
        let pool =
            |x: &[usize], kernel, stride, padding| max_pool2d(&ones(x, dtype), kernel, stride, padding);
        assert_error(pool(&[1, 1, 4, 4], 0, 1, 0), "max_pool2d: kernel 0, expected at least 1");
        assert_error(pool(&[1, 1, 4, 4], 2, 0, 0), "max_pool2d: stride 0, expected at least 1");
        let expected = "max_pool2d: padding 2, expected at most half the kernel of 3";
        assert_error(pool(&[1, 1, 4, 4], 3, 1, 2), expected);
        let expected = "max_pool2d: kernel 7 is larger than the input [1, 1, 9, 4] with padding 1";
        assert_error(pool(&[1, 1, 9, 4], 7, 1, 1), expected);
        assert_error(pool(&[1, 0, 4, 4], 2, 2, 0), "max_pool2d: empty input [1, 0, 4, 4]");
        assert_error(pool(&[4, 4], 2, 2, 0), "max_pool2d: x of shape [4, 4], expected (n, c, h, w)");
        let conv = |x: &[usize], weight: &[usize], stride, padding| {
            conv2d(&ones(x, dtype), &ones(weight, dtype), stride, padding, Precision::F32)
        };
        let picture = [2, 3, 4, 5];
        assert_error(conv(&picture, &[2, 3, 3, 3], 0, 1), "conv2d: stride 0, expected at least 1");
        let expected = "conv2d: kernel (7, 3) is larger than the padded input (6, 7)";
        assert_error(conv(&picture, &[2, 3, 7, 3], 1, 1), expected);
        assert_error(conv(&picture, &[2, 2, 3, 3], 1, 1), "conv2d: input has 3 channels, weight 2");
        assert_error(
            conv(&picture, &[3, 3, 3], 1, 1),
            "conv2d: weight of shape [3, 3, 3], expected (o, c, kh, kw)",
        );
        assert_error(
            conv(&[3, 4, 5], &[2, 3, 3, 3], 1, 1),
            "conv2d: x of shape [3, 4, 5], expected (n, c, h, w)",
        );
        for at in 0..4 {
            let mut dims = picture;
            dims[at] = 0;
            let mut weight = [2, 3, 1, 1];
            weight[1] = dims[1];
            assert!(conv(&dims, &weight, 1, 0).is_err_and(|error| error.to_string().contains("empty input")));
            assert_error(
                global_avg_pool2d(&ones(&dims, dtype)),
                &format!("global_avg_pool2d: empty input {dims:?}"),
            );
        }
    }
}

#[test]
fn empty_inputs_are_rejected() {
    for dtype in FLOATS {
        let x = |dims: &[usize]| ones(dims, dtype);
        for dims in [[0, 2, 3], [2, 0, 3], [2, 2, 0]] {
            let (b, l, d) = (dims[0], dims[1], dims[2]);
            let result = layer_norm(&x(&dims), &x(&[d]), &x(&[d]), 1e-5);
            assert_error(result, &format!("layer_norm: empty input {dims:?}"));
            let result = linear(&x(&dims), &x(&[4, d]), None, Precision::F32);
            assert_error(result, &format!("linear: empty input {dims:?}"));
            assert_error(
                weighted_sum(&x(&dims), &x(&[b, l])),
                &format!("weighted_sum: empty input {dims:?}"),
            );
            let bias = x(&[8]);
            let result = lstm(&x(&dims), [&x(&[8, d]), &x(&[8, 2]), &bias, &bias], &x(&[b, l]), false);
            assert_error(result, &format!("lstm: empty input {:?}", (b, l, d)));
            let q = x(&[b, 1, l, d]);
            let result = attention(&q, &q, &q, &x(&[b, l]), None, Precision::F32);
            assert_error(result, &format!("attention: empty input {:?}", q.dims()));
            let result = encoder_on(&x(&dims), &x(&[b, l]), dtype, |_| ());
            assert_error(result, &format!("encoder: empty input {dims:?}"));
            // Element-wise operators map an empty tensor to an empty tensor.
            for result in [relu(&x(&dims)), gelu(&x(&dims)), dropout(&x(&dims), drop_at(0.5))] {
                assert_eq!(result.unwrap().dims(), dims);
            }
        }
        let expected = "encoder: 3 heads do not divide a width of 4";
        assert_error(encoder(dtype, |layer| layer.heads = 3), expected);
        assert_error(encoder(dtype, |layer| layer.heads = 0), "encoder: empty input [2, 3, 4]");
    }
}
