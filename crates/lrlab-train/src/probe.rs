//! A forward and a backward pass of one batch, without an update.

use candle_core::Device;
use lrlab_data::{BatchPlan, Order, Split};
use lrlab_kernels::{backward, cross_entropy};
use lrlab_models::{Mode, Model};

use crate::evaluate::input;
use crate::{Error, Settings};

/// Runs the forward pass in training mode and the backward pass of `model` on the first `examples` examples of `split`, or on
/// all if there are fewer. The weights stay unchanged; the running statistics do not.
///
/// # Errors
/// Returns the error that training on a batch of this size would return, and [`Error::Setting`] if the split or the batch is
/// empty.
pub fn probe(
    model: &dyn Model,
    split: &Split,
    examples: usize,
    settings: &Settings,
    device: &Device,
) -> Result<(), Error> {
    let empty = |name| {
        let expected = "at least one example".to_owned();
        Error::Setting { name, value: "empty".to_owned(), expected }
    };
    if examples == 0 {
        return Err(empty("batch"));
    }
    let batch = split.batches(BatchPlan::new(examples, Order::Sequential)).next();
    let batch = batch.ok_or_else(|| empty("split"))??;
    let mode = Mode::Train { seed: settings.seed, batch: 0 };
    let logits = model.forward(&input(&batch.features, device)?, mode)?;
    backward(&cross_entropy(&logits, &batch.labels.to_device(device)?, settings.label_smoothing)?)?;
    Ok(())
}
