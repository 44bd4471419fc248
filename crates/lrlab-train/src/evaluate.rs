//! Figures of a split under the weights in force.

use candle_core::{DType, Device, Tensor};
use lrlab_data::{BatchPlan, Features, Order, Split};
use lrlab_models::{Input, Mode, Model};

use crate::pass::Pass;
use crate::{Error, Outcome, Scores};

/// Evaluates `model` on `split` in evaluation mode, without augmentation.
///
/// # Errors
/// Reading or a tensor operation fails; [`Error::Setting`] for an empty split.
pub fn evaluate(
    model: &dyn Model,
    split: &Split,
    classes: usize,
    batch_size: usize,
    device: &Device,
) -> Result<Scores, Error> {
    scores(&outcomes(model, split, batch_size, device)?, classes)
}

/// Figures of a split's outcomes.
pub(crate) fn scores(outcomes: &[Outcome], classes: usize) -> Result<Scores, Error> {
    if outcomes.is_empty() {
        let expected = "at least one example".to_owned();
        return Err(Error::Setting { name: "split", value: "empty".to_owned(), expected });
    }
    Ok(Scores::of(outcomes, classes))
}

/// Every example's outcome, in the order of the split whatever the order of the batches, so that sums over
/// them have fixed bits.
///
/// # Errors
/// Reading or a tensor operation fails.
pub fn outcomes(
    model: &dyn Model,
    split: &Split,
    batch_size: usize,
    device: &Device,
) -> Result<Vec<Outcome>, Error> {
    let plan = BatchPlan::new(batch_size, Order::Sequential);
    outcomes_of(model, &mut Pass::new(None, split, plan, 0), split.len(), device)
}

/// As [`outcomes`], of a pass over all `examples` of a split.
pub(crate) fn outcomes_of(
    model: &dyn Model,
    batches: &mut Pass,
    examples: usize,
    device: &Device,
) -> Result<Vec<Outcome>, Error> {
    let mut all = vec![Outcome { loss: f64::NAN, label: 0, predicted: 0, confidence: 0.0 }; examples];
    for batch in batches {
        let batch = batch?;
        let logits = model.forward(&input(&batch.features, device)?, Mode::Eval)?;
        for (index, outcome) in batch.indices.iter().zip(read(&logits, &batch.labels)?) {
            all[*index as usize] = outcome;
        }
    }
    Ok(all)
}

/// Moves a batch's features to `device`, as a network takes them.
pub(crate) fn input(features: &Features, device: &Device) -> candle_core::Result<Input> {
    Ok(match features {
        Features::Pictures(pictures) => Input::Pictures(pictures.to_device(device)?),
        Features::Tokens { ids, mask } => {
            Input::Tokens { ids: ids.to_device(device)?, mask: mask.to_device(device)? }
        }
    })
}

/// What each row of logits `(batch, classes)` says about its label, in f64.
pub(crate) fn read(logits: &Tensor, labels: &Tensor) -> candle_core::Result<Vec<Outcome>> {
    let rows = logits.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.to_vec2::<f32>()?;
    let labels = labels.to_device(&Device::Cpu)?.to_vec1::<u32>()?;
    Ok(rows.iter().zip(labels).map(|(row, label)| read_row(row, label)).collect())
}

fn read_row(row: &[f32], label: u32) -> Outcome {
    let mut predicted = 0;
    for (class, logit) in row.iter().enumerate() {
        if *logit > row[predicted] {
            predicted = class;
        }
    }
    let max = f64::from(row[predicted]);
    let sum: f64 = row.iter().map(|&logit| libm::exp(f64::from(logit) - max)).sum();
    let loss = match row.get(label as usize) {
        Some(&logit) => libm::log(sum) + max - f64::from(logit),
        None => f64::NAN,
    };
    Outcome { loss, label, predicted: predicted as u32, confidence: 1.0 / sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows() {
        let check = |row: &[f32], label, predicted, loss: f64| {
            let outcome = read_row(row, label);
            assert_eq!(outcome.predicted, predicted);
            assert!((outcome.loss - loss).abs() < 1e-12, "{} is not {loss}", outcome.loss);
        };
        check(&[0.0, 0.0], 0, 0, 2.0_f64.ln());
        check(&[0.0, 1000.0], 1, 1, 0.0);
        check(&[0.0, 1000.0], 0, 1, 1000.0);
        check(&[-1000.0, -1001.0], 1, 0, (1.0 + (-1.0_f64).exp()).ln() + 1.0);
        for row in [[f32::NAN, 1.0], [1.0, f32::NAN], [f32::INFINITY, 1.0], [1.0, f32::INFINITY]] {
            let outcome = read_row(&row, 1);
            assert!(outcome.loss.is_nan() && outcome.right().is_nan(), "{row:?}: {outcome:?}");
        }
        check(&[f32::NEG_INFINITY, 1.0], 1, 1, 0.0);
    }
}
