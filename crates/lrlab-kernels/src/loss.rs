//! Cross entropy.

use candle_core::{DType, Device, Result, Tensor, bail};

use crate::check;

/// Refuses logits and labels that do not fit; gives the number of classes.
fn classes(name: &str, logits: &Tensor, labels: &Tensor) -> Result<usize> {
    let [n, c] = check::dims(name, "logits", logits, "(n, c)")?;
    if n == 0 || c == 0 {
        bail!("{name}: empty logits {:?}", logits.shape());
    }
    if labels.dims() != [n] {
        bail!("{name}: labels of shape {:?}, expected {:?} for {n} rows of logits", labels.shape(), [n]);
    }
    check::floats(name, [("logits", logits)])?;
    Ok(c)
}

/// Mean over the batch of −Σ q log softmax(logits), q = (1 − `smoothing`) one-hot + `smoothing` / c: a scalar.
/// `logits (n, c)`, u8, u32 or i64 `labels (n)`. Label smoothing as torch has it (Szegedy et al., 2016).
///
/// # Errors
/// Shapes, types or devices do not fit, something is empty, a label is not below c, or the smoothing is outside [0, 1].
/// Labels on a GPU are not looked at: there one that is not below c makes the loss NaN on this crate's kernel, and
/// anything on candle's operators.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor, smoothing: f64) -> Result<Tensor> {
    let name = "cross_entropy";
    let classes = classes(name, logits, labels)?;
    check::beside(name, ("labels", labels), ("logits", logits))?;
    check::indices(name, "labels", labels, classes)?;
    check::share(name, "smoothing", smoothing)?;
    #[cfg(feature = "cuda")]
    // One block takes all rows, which pays for as many classes as networks have, not for vocabularies.
    if crate::cuda::takes(&[logits]) && classes <= 1024 {
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
/// Shapes or types do not fit, something is empty, or a label is not below c. Labels on a GPU are looked at too, as they
/// come to the host in any case.
pub fn cross_entropy_each(logits: &Tensor, labels: &Tensor) -> Result<Vec<f64>> {
    let name = "cross_entropy_each";
    let classes = classes(name, logits, labels)?;
    let Some(labels) = check::indices(name, "labels", &labels.to_device(&Device::Cpu)?, classes)? else {
        bail!("{name}: the labels did not come to the host");
    };
    let rows = logits.detach().to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let losses = rows.iter().zip(labels).map(|(row, label)| {
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        row.iter().map(|z| (z - max).exp()).sum::<f64>().ln() + max - row[label as usize]
    });
    Ok(losses.collect())
}
