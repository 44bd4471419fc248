//! Assembles the parts of a run from its resolved specification.

use std::path::Path;

use anyhow::Context;
use candle_core::{DType, Device};
use lrlab_callbacks::Callbacks;
use lrlab_data::{DataConfig, Dataset, Kind};
use lrlab_kernels::{Params, check_precision};
use lrlab_models::{self as models, Model, PictureSizes, TextSizes};
use lrlab_spec::{DataSpec, ModelSpec, RunSpec};
use lrlab_train::{Fit, Settings};

mod watch;

pub(crate) use watch::{callbacks, is_top};

/// Examples per batch in evaluation.
const EVAL_BATCH_SIZE: usize = 256;
/// Prefetched batches.
const PREFETCH: usize = 2;

/// Returns the settings of the training loop.
#[must_use]
pub(crate) fn settings(run: &RunSpec) -> Settings {
    Settings {
        lr: run.lr,
        lr_min: run.lr_min,
        lr_max: run.lr_max,
        epochs: run.epochs,
        batch_size: run.batch_size,
        accumulate: run.accumulate,
        clip_norm: run.clip_norm,
        label_smoothing: run.label_smoothing,
        select: run.select.clone(),
        seed: run.seed,
        augment: run.data.augment,
        eval_batch_size: EVAL_BATCH_SIZE,
        prefetch: PREFETCH,
    }
}

/// Assembles the parts of a run from its specification.
///
/// # Errors
/// Returns an error if the optimizer or the schedule has invalid settings.
pub(crate) fn fit<'a>(
    run: &RunSpec,
    model: Box<dyn Model>,
    callbacks: Callbacks,
    data: &'a Dataset,
    settings: &'a Settings,
    device: &'a Device,
) -> anyhow::Result<Fit<'a>> {
    let horizon = Fit::horizon(settings, data.train.len());
    Ok(Fit {
        optimizer: lrlab_optim::build(&run.optimizer, model.params())?,
        model,
        schedule: run.schedule.build(&horizon).context("schedule")?,
        driver: run.optimizer.driver(&horizon).context("optimizer")?,
        callbacks,
        data,
        settings,
        device,
    })
}

/// Returns the settings of the data set; `cache` is the folder for derived files.
pub(crate) fn data(data: &DataSpec, cache: &Path) -> DataConfig {
    DataConfig {
        source: data.source.clone(),
        split_seed: data.split_seed,
        validation: data.validation,
        limit: data.limit.clone(),
        pin_digest: data.pin_digest.clone(),
        tokens: data.tokens.clone(),
        memory: data_memory().unwrap_or(DataConfig::MEMORY),
        cache: cache.to_path_buf(),
    }
}

/// The most bytes of decoded pictures or of tokens in memory: `LRLAB_DATA_MEMORY`, in MiB.
///
/// # Errors
/// Returns an error if the variable is not an integer.
pub(crate) fn data_memory() -> anyhow::Result<u64> {
    let Some(value) = std::env::var_os("LRLAB_DATA_MEMORY") else { return Ok(DataConfig::MEMORY) };
    let mib: Option<u64> = value.to_str().and_then(|text| text.parse().ok());
    mib.and_then(|mib| mib.checked_mul(1 << 20))
        .with_context(|| format!("LRLAB_DATA_MEMORY={}: expected a whole number of MiB", value.display()))
}

/// Creates an empty parameter store: f32, with matrix products in the precision of the run.
///
/// # Errors
/// Returns an error if the device does not support the precision.
pub(crate) fn params(run: &RunSpec, device: &Device) -> anyhow::Result<Params> {
    check_precision(run.precision, device)
        .with_context(|| format!("precision = {:?}", run.precision.name()))?;
    Ok(Params::new(device.clone(), DType::F32).in_precision(run.precision))
}

/// Builds a network for data of this kind, initialised from `seed`.
///
/// # Errors
/// Returns an error if the network is not registered, does not accept this kind of data, or has invalid sizes.
pub(crate) fn model(
    network: &ModelSpec,
    kind: &Kind,
    classes: usize,
    seed: u64,
    params: Params,
) -> anyhow::Result<Box<dyn Model>> {
    Ok(match (network, *kind) {
        (ModelSpec::Resnet(config), Kind::Pictures { channels, .. }) => {
            Box::new(models::ResNet::new(config, PictureSizes { channels, classes }, seed, params)?)
        }
        (ModelSpec::Linear(_), Kind::Pictures { channels, height, width }) => {
            let config = models::LinearConfig { inputs: channels * height * width, classes };
            Box::new(models::Linear::new(&config, seed, params)?)
        }
        (ModelSpec::Lstm(config), Kind::Tokens { vocabulary, max_length }) => {
            Box::new(models::Lstm::new(config, TextSizes { vocabulary, max_length, classes }, seed, params)?)
        }
        (ModelSpec::Transformer(config), Kind::Tokens { vocabulary, max_length }) => {
            let sizes = TextSizes { vocabulary, max_length, classes };
            Box::new(models::Transformer::new(config, sizes, seed, params)?)
        }
        (ModelSpec::BagOfEmbeddings(config), Kind::Tokens { vocabulary, max_length }) => {
            let sizes = TextSizes { vocabulary, max_length, classes };
            Box::new(models::BagOfEmbeddings::new(config, sizes, seed, params)?)
        }
        (ModelSpec::Custom(custom), _) => anyhow::bail!("this runner has no model {:?}", custom.name),
        (ModelSpec::Resnet(_) | ModelSpec::Linear(_), Kind::Tokens { .. }) => {
            anyhow::bail!("the network requires pictures, but the data is text")
        }
        (_, Kind::Pictures { .. }) => anyhow::bail!("the network requires text, but the data is pictures"),
    })
}
