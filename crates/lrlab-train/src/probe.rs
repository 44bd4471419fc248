//! A batch through a network as in training, without an update.

use candle_core::Device;
use lrlab_data::{BatchPlan, Order, Split};
use lrlab_kernels::{backward, cross_entropy};
use lrlab_models::{Mode, Model};

use crate::evaluate::input;
use crate::{Error, Settings};

/// Sends the first `examples` examples of `split`, or all where there are fewer, through `model` in training mode, and the
/// gradient of their loss back. Trained weights stay as they are; running statistics move.
///
/// # Errors
/// Whatever a batch of this size would make training fail with; [`Error::Setting`] for an empty split or batch.
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
