//! Cross entropy.

#![allow(unsafe_code, reason = "the gradient is written in place before it has a length")]

use std::mem::MaybeUninit;

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::check;
use crate::gradient::store_grad;
use crate::host::{self, Unwritten};
use crate::rows::put;
use crate::simd::{Kernel, Simd, dispatch, exp, part, starts};

/// Rejects logits and labels that do not fit; returns the number of classes.
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
/// `logits (n, c)`, u8, u32 or i64 `labels (n)`. Label smoothing after Szegedy et al., 2016.
///
/// **In PyTorch**: `torch.nn.functional.cross_entropy(logits, labels, label_smoothing=smoothing)`.
///
/// # Errors
/// Returns an error if shapes, types or devices do not fit, something is empty, a label is not below c, or the
/// smoothing is outside [0, 1]. The values of labels on a GPU are not checked: there a label that is not below c makes
/// the loss NaN with this crate's kernel and unspecified with candle's operators.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor, smoothing: f64) -> Result<Tensor> {
    let name = "cross_entropy";
    let classes = classes(name, logits, labels)?;
    check::beside(name, ("labels", labels), ("logits", logits))?;
    let known = check::indices(name, "labels", labels, classes)?;
    check::share(name, "smoothing", smoothing)?;
    #[cfg(feature = "cuda")]
    // One block processes all rows, which is efficient for the class counts of classifiers, not for vocabularies.
    if crate::cuda::is_f32(&[logits]) && classes <= 1024 {
        return crate::cuda::cross_entropy(logits, labels, smoothing);
    }
    if let Some(labels) = known
        && host::is_f32(&[logits])
    {
        return logits.contiguous()?.apply_op1(CrossEntropy { labels, classes, smoothing });
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
/// Returns an error if shapes or types do not fit, something is empty, or a label is not below c. Labels on a GPU are
/// checked too, because they are copied to the host.
pub fn cross_entropy_each(logits: &Tensor, labels: &Tensor) -> Result<Vec<f64>> {
    let name = "cross_entropy_each";
    let classes = classes(name, logits, labels)?;
    let Some(labels) = check::indices(name, "labels", &labels.to_device(&Device::Cpu)?, classes)? else {
        bail!("{name}: the labels did not come to the host");
    };
    // Not every device has f64.
    let rows = logits.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let losses = rows.iter().zip(labels).map(|(row, label)| {
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        libm::log(row.iter().map(|z| libm::exp(z - max)).sum()) + max - row[label as usize]
    });
    Ok(losses.collect())
}

/// With L = mean over n rows of log Σ exp z − Σ q z, and p = softmax(z): ∂L/∂z = (p − q) / n, since Σ q = 1.
struct CrossEntropy {
    labels: Vec<u32>,
    classes: usize,
    smoothing: f64,
}

/// Logits per task, about.
const CHUNK: usize = 1 << 14;

impl CrossEntropy {
    /// Rows per task.
    fn rows(&self) -> usize {
        (CHUNK / self.classes).max(1)
    }

    fn loss(&self, row: &[f32], label: u32) -> f64 {
        let Sums { max, exps, logits } = dispatch(SumUp { row });
        let log_of_sum = libm::log(f64::from(exps)) + f64::from(max);
        let nll = log_of_sum - f64::from(row[label as usize]);
        if self.smoothing == 0.0 {
            return nll;
        }
        let mean = log_of_sum - f64::from(logits) / self.classes as f64;
        (1.0 - self.smoothing) * nll + self.smoothing * mean
    }
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let logits = host::slice(logits, layout)?;
        let rows = logits.par_chunks(self.classes).zip(self.labels.par_iter()).with_min_len(self.rows());
        let losses: Vec<f64> = rows.map(|(row, label)| self.loss(row, *label)).collect();
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        Ok((CpuStorage::F32(vec![mean as f32]), Shape::from(())))
    }

    fn bwd(&self, logits: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let scale = f64::from(grad.to_scalar::<f32>()?) / self.labels.len() as f64;
        let smooth = (scale * self.smoothing / self.classes as f64) as f32;
        let at_label = (scale * (1.0 - self.smoothing)) as f32;
        let (rows, classes) = (self.rows(), self.classes);
        let mut dx = Unwritten::new(logits.elem_count());
        let room = dx.room().par_chunks_mut(rows * classes);
        host::with(logits, |logits| {
            let tasks = room.zip(logits.par_chunks(rows * classes)).zip(self.labels.par_chunks(rows));
            tasks.for_each(|((dx, logits), labels)| {
                for ((dx, row), label) in dx.chunks_mut(classes).zip(logits.chunks(classes)).zip(labels) {
                    dispatch(Slope { row, scale: scale as f32, smooth, to: &mut *dx });
                    // SAFETY: the kernel wrote the row.
                    unsafe { *dx[*label as usize].assume_init_mut() -= at_label };
                }
            });
            Ok(())
        })?;
        // SAFETY: every row was written.
        let dx = unsafe { dx.written() };
        Ok(store_grad(logits, host::tensor(dx, logits.shape())?))
    }
}

/// Of a row of logits z: max z, Σ exp(z − max z), Σ z.
struct Sums {
    max: f32,
    exps: f32,
    logits: f32,
}

/// A NaN in the row makes both sums NaN.
struct SumUp<'a> {
    row: &'a [f32],
}

impl Kernel for SumUp<'_> {
    type Out = Sums;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Sums {
        let row = self.row;
        let mut largest = s.splat(f32::NEG_INFINITY);
        let mut logits = s.zero();
        for at in starts(row.len()) {
            largest = s.max(part(s, row, at, f32::NEG_INFINITY), largest);
            logits = s.add(logits, part(s, row, at, 0.0));
        }
        let max = s.largest(largest);
        let mut exps = s.zero();
        for at in starts(row.len()) {
            exps = s.add(exps, exp(s, s.sub(part(s, row, at, f32::NEG_INFINITY), s.splat(max))));
        }
        Sums { max, exps: s.sum(exps), logits: s.sum(logits) }
    }
}

/// to ← `scale` softmax(row) − `smooth`
struct Slope<'a> {
    row: &'a [f32],
    scale: f32,
    smooth: f32,
    /// As large as the row.
    to: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Slope<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Sums { max, exps, .. } = SumUp { row: self.row }.run(s);
        let (max, scale, smooth) = (s.splat(max), s.splat(self.scale / exps), s.splat(self.smooth));
        let to = &mut self.to[..self.row.len()];
        for at in starts(self.row.len()) {
            let p = exp(s, s.sub(part(s, self.row, at, 0.0), max));
            put(s, &mut to[at..], s.sub(s.mul(p, scale), smooth));
        }
    }
}
