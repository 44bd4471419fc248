//! A user-built runner with further networks and data, as the README of `lrlab` describes it.

use std::process::ExitCode;

use candle_core::{Result, Tensor, Var};
use lrlab_data::{DataConfig, Kind, Source, SyntheticPictures};
use lrlab_kernels::{BatchNorm2d, NormMode, Params, Precision, Role, linear};
use lrlab_models::{Input, Mode, Model};

/// Batch norm of every value of a picture over the batch, then a linear map. A batch of one picture has no variance.
struct Normed {
    params: Params,
    weight: Var,
    norm: [Var; 4],
}

impl Normed {
    fn new(inputs: usize, classes: usize, mut params: Params) -> Result<Self> {
        let device = params.device().clone();
        let zeros = Tensor::zeros((classes, inputs), params.dtype(), &device)?;
        let weight = params.create("weight", &zeros, Role::Weight)?;
        let mut vector = |name: &str, value: f64, role| {
            params.create(name, &Tensor::full(value as f32, inputs, &device)?, role)
        };
        let norm = [
            vector("scale", 1.0, Role::NoDecay)?,
            vector("shift", 0.0, Role::NoDecay)?,
            vector("running_mean", 0.0, Role::Buffer)?,
            vector("running_var", 1.0, Role::Buffer)?,
        ];
        Ok(Self { params, weight, norm })
    }
}

impl Model for Normed {
    fn forward(&self, input: &Input, mode: Mode) -> Result<Tensor> {
        let Input::Pictures(x) = input else { candle_core::bail!("\"normed\" reads pictures") };
        let mode = match mode {
            Mode::Train { .. } => NormMode::Train { momentum: 0.1 },
            Mode::Eval => NormMode::Eval,
        };
        let x = x.flatten_from(1)?.unsqueeze(2)?.unsqueeze(3)?;
        let [scale, shift, mean, var] = &self.norm;
        let x = BatchNorm2d {
            scale,
            shift,
            running_mean: mean,
            running_var: var,
            eps: 1e-5,
            mode,
            residual: None,
            relu: false,
        }
        .forward(&x)?;
        linear(&x.flatten_from(1)?, &self.weight, None, Precision::F32)
    }

    fn params(&self) -> &Params {
        &self.params
    }
}

/// Fails for every input.
struct Failing(Params);

impl Model for Failing {
    fn forward(&self, _: &Input, _: Mode) -> Result<Tensor> {
        candle_core::bail!("\"failing\" never works")
    }

    fn params(&self) -> &Params {
        &self.0
    }
}

/// Passes every preflight, and fails at the first training batch of a worker.
struct Tiring(Normed);

impl Model for Tiring {
    fn forward(&self, input: &Input, mode: Mode) -> Result<Tensor> {
        if matches!(mode, Mode::Train { .. }) && in_worker() {
            candle_core::bail!("\"tiring\" had enough")
        }
        self.0.forward(input, mode)
    }

    fn params(&self) -> &Params {
        self.0.params()
    }
}

fn in_worker() -> bool {
    std::env::args().nth(1).as_deref() == Some("worker")
}

fn main() -> ExitCode {
    let mut registry = lrlab::Registry::default();
    registry.model("normed", |_, context| {
        let Kind::Pictures { channels, height, width } = context.kind else {
            anyhow::bail!("\"normed\" reads pictures")
        };
        Ok(Box::new(Normed::new(channels * height * width, context.classes, context.params)?))
    });
    // Passes every preflight; its workers fail on request.
    registry.model("moody", |_, context| {
        if std::env::var_os("MOODY").is_some() && in_worker() {
            anyhow::bail!("\"moody\" does not want to")
        }
        let Kind::Pictures { channels, height, width } = context.kind else {
            anyhow::bail!("\"moody\" reads pictures")
        };
        Ok(Box::new(Normed::new(channels * height * width, context.classes, context.params)?))
    });
    registry.model("tiring", |_, context| {
        let Kind::Pictures { channels, height, width } = context.kind else {
            anyhow::bail!("\"tiring\" reads pictures")
        };
        let normed = Normed::new(channels * height * width, context.classes, context.params)?;
        Ok(Box::new(Tiring(normed)))
    });
    registry.model("failing", |_, context| {
        let mut params = context.params;
        let one = Tensor::zeros(1, params.dtype(), &params.device().clone())?;
        params.create("weight", &one, Role::Weight)?;
        Ok(Box::new(Failing(params)))
    });
    // 33 training examples of 4 × 4.
    registry.data("small", |_, config| {
        let pictures = SyntheticPictures { train: 41, test: 10, size: 4, ..SyntheticPictures::default() };
        Ok(lrlab_data::load(&DataConfig::new(Source::SyntheticPictures(pictures), &config.cache))?)
    });
    // Tests set another version.
    let version = std::env::var("HALVES").unwrap_or_else(|_| "1".to_owned());
    registry.lambda(lrlab::Registration::new("halves").version(version).commit("3f2a9c1"), |at| {
        1.0 / f64::from(1_u32 << at.epoch as u32)
    });
    lrlab::cli(&registry)
}
