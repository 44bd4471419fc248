//! Numbers out of range, of operators and of steps of update rules.

use candle_core::{DType, Var};
use lrlab_kernels::{
    AdamStep, BatchNorm2d, ConvNet, ConvNorm, NormMode, Precision, SgdStep, Update, adam_update,
    adam_updates, attention, dropout, layer_norm, sgd_update, sgd_updates,
};

use super::{FLOATS, accepted, assert_error, drop_at, encoder, ones, var};

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
        }
        for x in [f64::NAN, 1.0, 1.5, -0.25] {
            let expected = "expected 0 or more and below 1";
            run_sgd(SgdStep { momentum: x, ..sgd }, &format!("momentum is {x:?}, {expected}"));
            run_adam(AdamStep { beta1: x, ..adam }, &format!("beta1 is {x:?}, {expected}"));
            run_adam(AdamStep { beta2: x, ..adam }, &format!("beta2 is {x:?}, {expected}"));
        }
        for eps in [0.0, -1e-8, f64::NAN, f64::INFINITY, 1e-60] {
            let expected = format!("eps is {eps:?}, expected a finite number above 0 such as 1e-8");
            run_adam(AdamStep { eps, ..adam }, &expected);
        }
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
