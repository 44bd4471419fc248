//! Properties of every network.
#![allow(clippy::expect_used, clippy::panic, reason = "panics fail the test")]

mod common;

use candle_core::{Device, Result, Tensor};
use lrlab_kernels::cross_entropy;
use lrlab_models::{
    Activation, ConvInit, Input, LinearConfig, LstmConfig, Mode, Model, NormPlacement, PictureSizes, Pooling,
    Positions, ResNet, ResNetConfig, Shortcut, Stem, TextSizes, Transformer, TransformerConfig,
};

const TRAIN: Mode = Mode::Train { seed: 3, batch: 5 };

fn encoders(dropout: f64) -> Result<Vec<Box<dyn Model>>> {
    let mut all = Vec::new();
    for (norm, positions, activation) in [
        (NormPlacement::Pre, Positions::Learned, Activation::Relu),
        (NormPlacement::Post, Positions::Sinusoidal, Activation::Gelu),
    ] {
        for pooling in [Pooling::Last, Pooling::Mean, Pooling::Max] {
            all.push(common::transformer(norm, positions, activation, pooling, dropout)?);
        }
    }
    Ok(all)
}

fn text_models(dropout: f64) -> Result<Vec<Box<dyn Model>>> {
    let mut all = encoders(dropout)?;
    for bidirectional in [false, true] {
        for pooling in [Pooling::Last, Pooling::Mean, Pooling::Max] {
            all.push(common::lstm(bidirectional, pooling, dropout)?);
        }
    }
    all.push(common::bag(dropout)?);
    Ok(all)
}

fn picture_models() -> Result<Vec<Box<dyn Model>>> {
    Ok(vec![
        common::resnet(14, Stem::Cifar, Shortcut::A, 0.25)?,
        common::resnet(8, Stem::ImageNet, Shortcut::B, 0.25)?,
        common::resnet(18, Stem::Cifar, Shortcut::B, 0.125)?,
        common::resnet(50, Stem::ImageNet, Shortcut::A, 0.0625)?,
        common::linear()?,
    ])
}

fn logits(model: &dyn Model, input: &Input, mode: Mode) -> Result<Vec<Vec<f32>>> {
    model.forward(input, mode)?.to_vec2()
}

fn assert_close(a: &[Vec<f32>], b: &[Vec<f32>], what: &str) {
    for (a, b) in a.iter().flatten().zip(b.iter().flatten()) {
        assert!((a - b).abs() < 1e-5 * (1.0 + a.abs()), "{what}: {a} and {b}");
    }
}

/// With the initial weights too: a cut in the graph would fail here.
#[test]
fn every_parameter_gets_a_gradient() -> Result<()> {
    let labels = Tensor::new(&[0_u32, 2, 1, 1], &Device::Cpu)?;
    let check = |model: &dyn Model, input: &Input| -> Result<()> {
        let grads = cross_entropy(&model.forward(input, TRAIN)?, &labels, 0.1)?.backward()?;
        assert!(model.params().trainable().count() >= 2);
        for (name, param) in model.params().trainable() {
            let grad = grads.get(&param.var).unwrap_or_else(|| panic!("{name} has no gradient"));
            let values: Vec<f32> = grad.flatten_all()?.to_vec1()?;
            assert!(values.iter().all(|v| v.is_finite()), "{name}: not finite");
            assert!(values.iter().any(|v| *v != 0.0), "{name}: zero");
        }
        Ok(())
    };
    for model in text_models(0.2)? {
        check(&*model, &common::tokens(6)?)?;
    }
    for model in picture_models()? {
        check(&*model, &common::pictures(9)?)?;
    }
    Ok(())
}

#[test]
fn logits_do_not_depend_on_the_amount_of_padding() -> Result<()> {
    for model in text_models(0.1)? {
        let Input::Tokens { ids, mask } = common::tokens(6)? else { panic!("tokens") };
        // The last three texts have at most 5 tokens.
        let cut = |length| -> Result<Input> {
            let part = |t: &Tensor| t.narrow(0, 1, 3)?.narrow(1, 0, length)?.contiguous();
            Ok(Input::Tokens { ids: part(&ids)?, mask: part(&mask)? })
        };
        let (short, long) = (logits(&*model, &cut(5)?, Mode::Eval)?, logits(&*model, &cut(6)?, Mode::Eval)?);
        assert_close(&short, &long, "padding");
    }
    Ok(())
}

/// Neither ids nor embeddings at padding have an effect.
#[test]
fn padding_is_not_read() -> Result<()> {
    for model in text_models(0.1)? {
        let Input::Tokens { ids, mask } = common::tokens(6)? else { panic!("tokens") };
        let odd = (ids.eq(0_u32)?.to_dtype(ids.dtype())? * 9.0)?;
        let other = Input::Tokens { ids: (&ids + odd)?, mask: mask.clone() };
        let here = logits(&*model, &Input::Tokens { ids, mask }, Mode::Eval)?;
        assert_close(&here, &logits(&*model, &other, Mode::Eval)?, "ids at padding");
    }
    Ok(())
}

#[test]
fn examples_are_independent_in_evaluation() -> Result<()> {
    let check = |model: &dyn Model, input: &Input| -> Result<()> {
        // Running statistics other than the initial ones.
        model.forward(input, TRAIN)?;
        let together = logits(model, input, Mode::Eval)?;
        for (i, row) in together.iter().enumerate() {
            let one = |t: &Tensor| t.narrow(0, i, 1);
            let alone = match input {
                Input::Pictures(x) => Input::Pictures(one(x)?),
                Input::Tokens { ids, mask } => Input::Tokens { ids: one(ids)?, mask: one(mask)? },
            };
            assert_close(std::slice::from_ref(row), &logits(model, &alone, Mode::Eval)?, "batch");
        }
        Ok(())
    };
    for model in text_models(0.1)? {
        check(&*model, &common::tokens(6)?)?;
    }
    for model in picture_models()? {
        check(&*model, &common::pictures(9)?)?;
    }
    Ok(())
}

#[test]
fn a_text_without_tokens_has_finite_logits() -> Result<()> {
    let input = Input::Tokens {
        ids: Tensor::zeros((2, 4), candle_core::DType::U32, &Device::Cpu)?,
        mask: Tensor::zeros((2, 4), candle_core::DType::F32, &Device::Cpu)?,
    };
    for model in text_models(0.0)? {
        assert!(logits(&*model, &input, Mode::Eval)?.iter().flatten().all(|v| v.is_finite()));
    }
    Ok(())
}

#[test]
fn dropout_depends_on_seed_and_batch_and_is_off_in_evaluation() -> Result<()> {
    for model in text_models(0.5)? {
        let input = common::tokens(6)?;
        let at = |seed, batch| logits(&*model, &input, Mode::Train { seed, batch });
        let first = at(1, 7)?;
        assert_eq!(first, at(1, 7)?);
        assert_ne!(first, at(1, 8)?);
        assert_ne!(first, at(2, 7)?);
        let quiet = logits(&*model, &input, Mode::Eval)?;
        assert_eq!(quiet, logits(&*model, &input, Mode::Eval)?);
        assert_ne!(first, quiet);
    }
    Ok(())
}

/// A layer has the same values in every network.
#[test]
fn initial_values_depend_on_seed_and_name_alone() -> Result<()> {
    let build = |depth, seed| {
        let (stem, shortcut) = (Stem::Cifar, Shortcut::A);
        let config = ResNetConfig { depth, stem, shortcut, init: ConvInit::default(), width: 0.25 };
        let sizes = PictureSizes { channels: 3, classes: 3 };
        ResNet::new(&config, sizes, seed, common::params())
    };
    let (short, long, other) = (build(8, 1)?, build(14, 1)?, build(8, 2)?);
    for (name, param) in short.params().iter() {
        let values = |model: &ResNet| -> Result<Vec<f32>> {
            model.params().get(name).expect("shared").var.flatten_all()?.to_vec1()
        };
        assert_eq!(param.var.flatten_all()?.to_vec1::<f32>()?, values(&long)?, "{name}");
        let constant = name.contains("bn");
        assert_eq!(constant, values(&short)? == values(&other)?, "{name}");
    }
    Ok(())
}

/// torch's default, except the forget gate: `b_ih` holds the bias and `b_hh` 0.
#[test]
fn the_forget_gate_starts_with_its_bias() -> Result<()> {
    let model = common::lstm(true, Pooling::Last, 0.0)?;
    for (name, expected) in [("lstm.bias_ih_l1_reverse", 1.0), ("lstm.bias_hh_l0", 0.0)] {
        let bias: Vec<f32> = model.params().get(name).expect("a bias").var.to_vec1()?;
        assert!(bias[7..14].iter().all(|b| *b == expected), "{name}: {bias:?}");
        assert!(bias[..7].iter().chain(&bias[14..]).all(|b| b.abs() < 1.0 / 7_f32.sqrt() && *b != 0.0));
    }
    Ok(())
}

#[test]
fn inputs_of_another_kind_are_rejected() -> Result<()> {
    for model in text_models(0.0)? {
        let error = model.forward(&common::pictures(9)?, Mode::Eval).expect_err("pictures");
        assert!(error.to_string().contains("reads tokens"), "{error}");
    }
    for model in picture_models()? {
        let error = model.forward(&common::tokens(6)?, Mode::Eval).expect_err("tokens");
        assert!(error.to_string().contains("reads pictures"), "{error}");
    }
    for model in encoders(0.0)? {
        let error = model.forward(&common::tokens(7)?, Mode::Eval).expect_err("too long");
        assert!(error.to_string().contains("7 tokens"), "{error}");
    }
    Ok(())
}

#[test]
fn invalid_sizes_are_rejected() {
    fn assert_error<T>(made: Result<T>, word: &str) {
        match made {
            Ok(_) => panic!("accepted, expected an error with {word:?}"),
            Err(error) => assert!(error.to_string().contains(word), "{error}"),
        }
    }
    let resnet = |depth, width, channels| {
        let (stem, shortcut) = (Stem::Cifar, Shortcut::B);
        ResNet::new(
            &ResNetConfig { depth, stem, shortcut, init: ConvInit::default(), width },
            PictureSizes { channels, classes: 2 },
            0,
            common::params(),
        )
    };
    for depth in [0, 2, 19, 21, 101] {
        assert_error(resnet(depth, 1.0, 3), "depth");
    }
    assert_error(resnet(20, 0.0, 3), "width");
    assert_error(resnet(20, f64::NAN, 3), "width");
    assert_error(resnet(20, 1.0, 0), "channels");
    let text = TextSizes { vocabulary: 5, max_length: 4, classes: 2 };
    let encoder = |heads, dropout| TransformerConfig {
        width: 6,
        heads,
        feed_forward: 4,
        layers: 1,
        dropout,
        norm: NormPlacement::Post,
        positions: Positions::Learned,
        activation: Activation::Relu,
        pooling: Pooling::Mean,
    };
    assert_error(Transformer::new(&encoder(4, 0.0), text, 0, common::params()), "heads");
    assert_error(Transformer::new(&encoder(0, 0.0), text, 0, common::params()), "heads");
    assert_error(Transformer::new(&encoder(2, 1.0), text, 0, common::params()), "dropout");
    let lstm = LstmConfig {
        embedding: 4,
        hidden: 0,
        layers: 1,
        bidirectional: false,
        dropout: 0.0,
        pooling: Pooling::Last,
        forget_bias: 1.0,
    };
    assert_error(lrlab_models::Lstm::new(&lstm, text, 0, common::params()), "hidden");
    let linear = LinearConfig { inputs: 4, classes: 0 };
    assert_error(lrlab_models::Linear::new(&linear, 0, common::params()), "classes");
}
