//! Evaluation of a model on a split.

use candle_core::{DType, Device, Tensor};
use lrlab_data::{BatchPlan, Features, Order, Split};
use lrlab_models::{Input, Mode, Model};

use crate::batch_source::BatchSource;
use crate::{Error, Prediction, Scores};

/// Evaluates `model` on `split` in evaluation mode, without augmentation.
///
/// # Errors
/// Returns an error if reading or a tensor operation fails, and [`Error::Setting`] if the split is empty.
pub fn evaluate(
    model: &dyn Model,
    split: &Split,
    classes: usize,
    batch_size: usize,
    device: &Device,
) -> Result<Scores, Error> {
    scores(&predictions(model, split, batch_size, device)?, classes)
}

/// Returns the scores of the predictions for a split.
pub(crate) fn scores(predictions: &[Prediction], classes: usize) -> Result<Scores, Error> {
    if predictions.is_empty() {
        return Err(Error::empty("split"));
    }
    Ok(Scores::of(predictions, classes))
}

/// Returns the prediction for each example, in the order of the split regardless of the order of the batches, so that sums
/// over them are reproducible bit for bit.
///
/// # Errors
/// Returns an error if reading or a tensor operation fails.
pub fn predictions(
    model: &dyn Model,
    split: &Split,
    batch_size: usize,
    device: &Device,
) -> Result<Vec<Prediction>, Error> {
    let plan = BatchPlan::new(batch_size, Order::Sequential);
    predictions_from(model, &mut BatchSource::new(None, split, plan, 0), split.len(), device)
}

/// Like [`predictions`], for one pass over all `examples` of a split.
pub(crate) fn predictions_from(
    model: &dyn Model,
    batches: &mut BatchSource,
    examples: usize,
    device: &Device,
) -> Result<Vec<Prediction>, Error> {
    let mut all = vec![Prediction { loss: f64::NAN, label: 0, predicted: 0, confidence: 0.0 }; examples];
    for batch in batches {
        let batch = batch?;
        let logits = model.forward(&input(&batch.features, device)?, Mode::Eval)?;
        for (index, prediction) in batch.indices.iter().zip(read(&logits, &batch.labels)?) {
            all[*index as usize] = prediction;
        }
    }
    Ok(all)
}

/// Moves the features of a batch to `device` as the input of a network.
pub(crate) fn input(features: &Features, device: &Device) -> candle_core::Result<Input> {
    Ok(match features {
        Features::Pictures(pictures) => Input::Pictures(pictures.to_device(device)?),
        Features::Tokens { ids, mask } => {
            Input::Tokens { ids: ids.to_device(device)?, mask: mask.to_device(device)? }
        }
    })
}

/// Returns the prediction for each row of logits `(batch, classes)`, computed in f64.
pub(crate) fn read(logits: &Tensor, labels: &Tensor) -> candle_core::Result<Vec<Prediction>> {
    let rows = logits.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.to_vec2::<f32>()?;
    let labels = labels.to_device(&Device::Cpu)?.to_vec1::<u32>()?;
    Ok(rows.iter().zip(labels).map(|(row, label)| read_row(row, label)).collect())
}

fn read_row(row: &[f32], label: u32) -> Prediction {
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
    Prediction { loss, label, predicted: predicted as u32, confidence: 1.0 / sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows() {
        let check = |row: &[f32], label, predicted, loss: f64| {
            let prediction = read_row(row, label);
            assert_eq!(prediction.predicted, predicted);
            assert!((prediction.loss - loss).abs() < 1e-12, "{} is not {loss}", prediction.loss);
        };
        check(&[0.0, 0.0], 0, 0, 2.0_f64.ln());
        check(&[0.0, 1000.0], 1, 1, 0.0);
        check(&[0.0, 1000.0], 0, 1, 1000.0);
        check(&[-1000.0, -1001.0], 1, 0, (1.0 + (-1.0_f64).exp()).ln() + 1.0);
        for row in [[f32::NAN, 1.0], [1.0, f32::NAN], [f32::INFINITY, 1.0], [1.0, f32::INFINITY]] {
            let prediction = read_row(&row, 1);
            assert!(prediction.loss.is_nan() && prediction.accuracy().is_nan(), "{row:?}: {prediction:?}");
        }
        check(&[f32::NEG_INFINITY, 1.0], 1, 1, 0.0);
    }
}
