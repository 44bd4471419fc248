//! State, gradient clipping and accumulation, and averages.
#![allow(clippy::expect_used, clippy::panic, reason = "panics fail the test")]

mod common;

use std::collections::BTreeMap;

use candle_core::{Result, Tensor};
use common::{grads, params, values};
use lrlab_kernels::Params;
use lrlab_optim::{
    AdamConfig, OptimizerConfig, SgdConfig, WeightAverage, accumulate, build, clip_finite_grad_norm,
    clip_grad_norm,
};

fn two() -> Result<Params> {
    params(&[("fc.weight", &[2, 2], &[1.0, -2.0, 3.0, 0.5]), ("fc.bias", &[2], &[0.25, -1.0])])
}

fn gradients(step: usize) -> Vec<(&'static str, Vec<f32>)> {
    let value = |i: usize| ((step * 7 + i * 3) % 11) as f32 / 5.0 - 1.0;
    vec![("fc.weight", (0..4).map(value).collect()), ("fc.bias", (4..6).map(value).collect())]
}

fn rules() -> [OptimizerConfig; 4] {
    let adam = AdamConfig { weight_decay: 0.01, ..AdamConfig::default() };
    [
        OptimizerConfig::Sgd(SgdConfig { momentum: 0.0, ..SgdConfig::default() }),
        OptimizerConfig::Sgd(SgdConfig { nesterov: true, ..SgdConfig::default() }),
        OptimizerConfig::Adam(adam.clone()),
        OptimizerConfig::AdamW(adam),
    ]
}

fn bits(params: &Params) -> Result<Vec<u32>> {
    let all = [values(params, "fc.weight")?, values(params, "fc.bias")?].concat();
    Ok(all.iter().map(|v| v.to_bits()).collect())
}

#[test]
fn a_restored_run_continues_with_the_same_bits() -> Result<()> {
    for rule in rules() {
        let straight = two()?;
        let mut optimizer = build(&rule, &straight)?;
        let mut saved = None;
        for step in 0..8 {
            if step == 4 {
                saved = Some((straight.snapshot()?, optimizer.state()?));
            }
            optimizer.step(0.1, &grads(&straight, &gradients(step))?)?;
        }
        let (weights, state) = saved.expect("saved at step 4");
        let resumed = two()?;
        let mut optimizer = build(&rule, &resumed)?;
        resumed.restore(&weights)?;
        optimizer.restore(&state)?;
        for step in 4..8 {
            optimizer.step(0.1, &grads(&resumed, &gradients(step))?)?;
        }
        assert_eq!(bits(&straight)?, bits(&resumed)?, "{rule:?}");
    }
    Ok(())
}

#[test]
fn state_is_a_copy_with_the_names_of_torch() -> Result<()> {
    let params = two()?;
    let mut optimizer = build(&OptimizerConfig::Adam(AdamConfig::default()), &params)?;
    optimizer.step(0.1, &grads(&params, &gradients(0))?)?;
    let state = optimizer.state()?;
    let names: Vec<_> = state.keys().map(String::as_str).collect();
    let expected =
        ["exp_avg.fc.bias", "exp_avg.fc.weight", "exp_avg_sq.fc.bias", "exp_avg_sq.fc.weight", "steps"];
    assert_eq!(names, expected);
    let before = state["exp_avg.fc.bias"].to_vec1::<f32>()?;
    optimizer.step(0.1, &grads(&params, &gradients(1))?)?;
    assert_eq!(state["exp_avg.fc.bias"].to_vec1::<f32>()?, before);
    assert_ne!(optimizer.state()?["exp_avg.fc.bias"].to_vec1::<f32>()?, before);
    Ok(())
}

#[test]
fn an_invalid_state_changes_nothing() -> Result<()> {
    let params = two()?;
    let mut optimizer = build(&OptimizerConfig::Sgd(SgdConfig::default()), &params)?;
    optimizer.step(0.1, &grads(&params, &gradients(0))?)?;
    let good = optimizer.state()?;
    let mut check =
        |word: &str, change: &dyn Fn(&mut BTreeMap<String, Tensor>) -> Result<()>| -> Result<()> {
            let mut bad: BTreeMap<String, Tensor> =
                good.iter().map(|(name, t)| Ok((name.clone(), (t * 2.0)?))).collect::<Result<_>>()?;
            change(&mut bad)?;
            let error = optimizer.restore(&bad).expect_err(word).to_string();
            assert!(error.contains(word), "{error}");
            let kept = optimizer.state()?["momentum_buffer.fc.bias"].to_vec1::<f32>()?;
            assert_eq!(kept, good["momentum_buffer.fc.bias"].to_vec1::<f32>()?);
            Ok(())
        };
    let zeros = |n: usize| Tensor::zeros(n, candle_core::DType::F32, &candle_core::Device::Cpu);
    check("lacks \"momentum_buffer.fc.weight\"", &|s| {
        s.remove("momentum_buffer.fc.weight");
        Ok(())
    })?;
    check("lacks \"steps\"", &|s| {
        s.remove("steps");
        Ok(())
    })?;
    check("does not have", &|s| {
        s.insert("exp_avg.fc.bias".to_owned(), zeros(2)?);
        Ok(())
    })?;
    check("in the state, expected", &|s| {
        s.insert("momentum_buffer.fc.weight".to_owned(), zeros(4)?);
        Ok(())
    })
}

#[test]
fn constants_out_of_range_are_errors() -> Result<()> {
    let params = two()?;
    let check = |config: OptimizerConfig, word: &str| match build(&config, &params) {
        Ok(_) => panic!("{config:?} was taken"),
        Err(error) => assert!(error.to_string().contains(word), "{error}"),
    };
    let (sgd, adam) = (SgdConfig::default(), AdamConfig::default());
    check(OptimizerConfig::Sgd(SgdConfig { momentum: 1.5, ..sgd.clone() }), "momentum");
    check(OptimizerConfig::Sgd(SgdConfig { weight_decay: f64::NAN, ..sgd.clone() }), "weight decay");
    check(OptimizerConfig::Sgd(SgdConfig { momentum: 0.0, nesterov: true, ..sgd }), "Nesterov");
    check(OptimizerConfig::Adam(AdamConfig { beta2: 1.0, ..adam.clone() }), "beta2");
    check(OptimizerConfig::AdamW(AdamConfig { eps: -1.0, ..adam }), "eps");
    Ok(())
}

#[test]
fn clipping_scales_to_the_bound_or_only_measures() -> Result<()> {
    let params = two()?;
    let given = [("fc.weight", vec![3.0, 0.0, 0.0, 0.0]), ("fc.bias", vec![0.0, 4.0])];
    let check = |bound: f64, expected: f32| -> Result<()> {
        let mut grads = grads(&params, &given)?;
        assert_eq!(clip_grad_norm(&params, &mut grads, bound)?, 5.0);
        let weight = grads.get(&params.get("fc.weight").expect("there").var).expect("a gradient");
        let first = weight.flatten_all()?.to_vec1::<f32>()?[0];
        assert!((first - expected).abs() < 1e-6, "bound {bound}: {first}, not {expected}");
        Ok(())
    };
    check(f64::INFINITY, 3.0)?;
    check(6.0, 3.0)?;
    check(1.0, 0.6)
}

/// After an error of `clip_finite_grad_norm`, a step changes neither weights nor moments nor counts.
#[test]
fn a_failed_clip_removes_the_gradients() -> Result<()> {
    for rule in rules() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let (seen, spared) = (two()?, two()?);
            let (mut optimizer, mut other) = (build(&rule, &seen)?, build(&rule, &spared)?);
            for step in 0..4 {
                let mut given = grads(&spared, &gradients(step))?;
                clip_finite_grad_norm(&spared, &mut given, 1.0)?;
                other.step(0.1, &given)?;

                let odd = [("fc.weight", vec![1.0, bad, 0.5, 0.0]), ("fc.bias", vec![0.0, 1.0])];
                let mut given = grads(&seen, &odd)?;
                for bound in [1.0, f64::INFINITY] {
                    match clip_finite_grad_norm(&seen, &mut given, bound) {
                        Err(error) if bound == 1.0 => {
                            assert!(error.to_string().contains("norm is"), "{error}");
                        }
                        // The remaining gradients have the norm 0.
                        again => assert_eq!(again?, 0.0),
                    }
                    optimizer.step(0.1, &given)?;
                }
                let mut given = grads(&seen, &gradients(step))?;
                clip_finite_grad_norm(&seen, &mut given, 1.0)?;
                optimizer.step(0.1, &given)?;
                assert_eq!(bits(&seen)?, bits(&spared)?, "{rule:?}, {bad}");
            }
            // `clip_grad_norm` returns the norm.
            let mut given = grads(&seen, &[("fc.weight", vec![1.0, bad, 0.5, 0.0])])?;
            assert!(!clip_grad_norm(&seen, &mut given, 1.0)?.is_finite());
        }
    }
    Ok(())
}

/// The accumulated gradient of 5 and 3 examples is the mean over 8.
#[test]
fn accumulated_gradients_are_the_mean_over_all_examples() -> Result<()> {
    let params = two()?;
    let example = |i: usize| gradients(i)[0].1.clone();
    let mean = |from: usize, to: usize| -> Vec<f32> {
        (0..4).map(|k| (from..to).map(|i| example(i)[k]).sum::<f32>() / (to - from) as f32).collect()
    };
    let mut sum = None;
    for (from, to) in [(0, 5), (5, 8)] {
        let batch = grads(&params, &[("fc.weight", mean(from, to))])?;
        accumulate(&params, &mut sum, batch, (to - from) as f64 / 8.0)?;
    }
    let sum = sum.expect("two batches");
    let got = sum.get(&params.get("fc.weight").expect("there").var).expect("a gradient");
    for (got, want) in got.flatten_all()?.to_vec1::<f32>()?.iter().zip(mean(0, 8)) {
        assert!((got - want).abs() < 1e-6, "{got}, not {want}");
    }
    assert!(sum.get(&params.get("fc.bias").expect("there").var).is_none());
    Ok(())
}

/// Returns the average of the weights 1, 2, 4 and 8.
fn average_of(mut average: WeightAverage, through_state: bool) -> Result<f32> {
    let params = params(&[("w.weight", &[1], &[0.0])])?;
    let var = params.get("w.weight").expect("there").var.clone();
    for weight in [1.0_f32, 2.0, 4.0, 8.0] {
        var.set(&Tensor::new(&[weight], var.device())?)?;
        average.update(&params)?;
        if through_state {
            let state = average.state()?;
            average.restore(&state)?;
        }
    }
    assert_eq!(average.seen(), 4);
    average.apply(&params)?;
    Ok(values(&params, "w.weight")?[0])
}

#[test]
fn averages_equal_their_definitions() -> Result<()> {
    let check = |average: &dyn Fn() -> WeightAverage, expected: f32| -> Result<()> {
        for through_state in [false, true] {
            let got = average_of(average(), through_state)?;
            assert!((got - expected).abs() < 1e-6, "{:?}: {got}, not {expected}", average());
        }
        Ok(())
    };
    check(&|| WeightAverage::exponential(0.5), 5.375)?; // ((1·½ + 2·½)·½ + 4·½)·½ + 8·½
    check(&WeightAverage::uniform, 3.75)?;
    check(&|| WeightAverage::latest(2), 6.0)?;
    check(&|| WeightAverage::latest(9), 3.75)
}

#[test]
fn invalid_averages_are_errors() -> Result<()> {
    let params = two()?;
    let mut average = WeightAverage::uniform();
    average.update(&params)?;
    let other = common::params(&[("other.weight", &[1], &[0.0])])?;
    for (refused, words) in [
        (WeightAverage::uniform().apply(&params), "no weights were averaged yet"),
        (WeightAverage::latest(0).update(&params), "k is 0, expected at least 1"),
        (WeightAverage::exponential(1.5).update(&params), "decay is 1.5, expected 0 … 1"),
        (average.update(&other), "\"other.weight\" is not one of the averaged weights"),
        (average.apply(&other), "the snapshot has no \"other.weight\""),
    ] {
        let error = refused.map_or_else(|error| error.to_string(), |()| "no error".to_owned());
        assert!(error.contains(words), "{error}");
    }
    Ok(())
}
