//! Evaluation passes over texts ordered by length: every batch has another shape, and memory must not grow with the number of
//! shapes.

use candle_core::{DType, Device, Tensor};
use lrlab_kernels::{Params, Precision};
use lrlab_models::{Input, Mode, Model};

use super::models::{TEXTS, VOCABULARY, below, lstm, transformer};
use super::workload::{Kind, Prepare, Step, Workload};

/// The step between the lengths of two batches, up to [`MAX_LENGTH`].
const LENGTH_STEP: usize = 16;
/// The number of tokens of the longest text.
const MAX_LENGTH: usize = 400;

pub(super) fn evaluations(precision: Precision) -> Vec<Workload> {
    let params = move |device: &Device| Params::new(device.clone(), DType::F32).in_precision(precision);
    let workload = |name: &str, prepare: Prepare| Workload {
        precision,
        ..Workload::new(Kind::Evaluation, name, lengths().count() * TEXTS, prepare)
    };
    vec![
        workload("evaluation-lstm", Box::new(move |device| pass(lstm(&params(device))?, device))),
        workload(
            "evaluation-transformer",
            Box::new(move |device| pass(transformer(&params(device), MAX_LENGTH)?, device)),
        ),
    ]
}

fn lengths() -> impl Iterator<Item = usize> {
    (LENGTH_STEP..=MAX_LENGTH).step_by(LENGTH_STEP)
}

/// Evaluates one batch of each length, the shortest first, and returns the logits of the last.
fn pass(model: Box<dyn Model>, device: &Device) -> anyhow::Result<Step> {
    let ids = below(TEXTS * MAX_LENGTH, VOCABULARY as u64, "ids", device)?.reshape((TEXTS, MAX_LENGTH))?;
    let ones = Tensor::ones((TEXTS, MAX_LENGTH), DType::F32, device)?;
    Ok(Box::new(move || {
        let mut logits = None;
        for length in lengths() {
            let cut = |x: &Tensor| x.narrow(1, 0, length)?.contiguous();
            let input = Input::Tokens { ids: cut(&ids)?, mask: cut(&ones)? };
            logits = Some(model.forward(&input, Mode::Eval)?.detach());
        }
        logits.ok_or_else(|| candle_core::Error::Msg("no batch".to_owned()))
    }))
}
