//! Cross entropy.

use candle_core::{DType, Result, Tensor, bail};

fn check(logits: &Tensor, labels: &Tensor) -> Result<()> {
    let (n, c) = logits.dims2()?;
    if n == 0 || c == 0 {
        bail!("cross_entropy: empty logits {:?}", logits.shape());
    }
    if labels.dims() != [n] {
        bail!("cross_entropy: {n} rows of logits, labels {:?}", labels.shape());
    }
    Ok(())
}

/// Mean over the batch of −Σ q log softmax(logits), q = (1 − `smoothing`) one-hot + `smoothing` / c: a scalar.
/// `logits (n, c)`, u32 `labels (n)`. Label smoothing as torch has it (Szegedy et al., 2016).
///
/// # Errors
/// Shapes do not fit, a label is not below c, or the smoothing is outside [0, 1].
pub fn cross_entropy(logits: &Tensor, labels: &Tensor, smoothing: f64) -> Result<Tensor> {
    check(logits, labels)?;
    if !(0.0..=1.0).contains(&smoothing) {
        bail!("cross_entropy: smoothing {smoothing} is not in [0, 1]");
    }
    #[cfg(feature = "cuda")]
    // One block takes all rows, which pays for as many classes as networks have, not for vocabularies.
    if crate::cuda::takes(&[logits]) && crate::cuda::together(&[logits, labels]) && logits.dim(1)? <= 1024 {
        return crate::cuda::cross_entropy(logits, labels, smoothing);
    }
    let log_p = candle_nn::ops::log_softmax(logits, 1)?;
    let nll = log_p.gather(&labels.unsqueeze(1)?.contiguous()?, 1)?.mean_all()?.neg()?;
    if smoothing == 0.0 {
        return Ok(nll);
    }
    (nll * (1.0 - smoothing))? - (log_p.mean_all()? * smoothing)?
}

/// −log softmax(logits) at the label, per example, in f64. No gradient.
///
/// # Errors
/// Shapes do not fit, or a label is not below c.
pub fn cross_entropy_each(logits: &Tensor, labels: &Tensor) -> Result<Vec<f64>> {
    check(logits, labels)?;
    let rows = logits.detach().to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let labels = labels.to_dtype(DType::U32)?.to_vec1::<u32>()?;
    rows.iter()
        .zip(labels)
        .map(|(row, label)| {
            let Some(at) = row.get(label as usize) else {
                bail!("cross_entropy: label {label} of {} classes", row.len());
            };
            let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            Ok(row.iter().map(|z| (z - max).exp()).sum::<f64>().ln() + max - at)
        })
        .collect()
}
