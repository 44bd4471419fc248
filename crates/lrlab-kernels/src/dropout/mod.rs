//! Dropout from counter-based draws (Srivastava et al., 2014).

#![allow(unsafe_code, reason = "outputs are written in place before they have a length")]

mod draws;

use std::mem::MaybeUninit;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::check;
use crate::gradient::store_grad;
use crate::host::{self, Unwritten};
use crate::rows::put;
use crate::simd::{Kernel, Simd, dispatch, part, starts};
pub(crate) use draws::Bits;
pub use draws::Dropout;

/// Zeroes elements with probability p and multiplies the others by 1 / (1 − p).
///
/// **In PyTorch**: `torch.nn.functional.dropout(x, p)`, with other draws.
///
/// # Errors
/// Returns an error if p is outside [0, 1), or the type is not a float.
pub fn dropout(x: &Tensor, drop: Dropout) -> Result<Tensor> {
    check::floats("dropout", [("x", x)])?;
    drop.check("dropout")?;
    // There is no memory of 0 bytes on a GPU.
    if drop.p == 0.0 || x.elem_count() == 0 {
        return Ok(x.clone());
    }
    if host::is_f32(&[x]) {
        return x.contiguous()?.apply_op1(drop);
    }
    #[cfg(feature = "cuda")]
    if crate::cuda::is_f32(&[x]) {
        return crate::cuda::dropout(x, drop);
    }
    let (threshold, gain) = (drop.threshold(), drop.gain());
    let count = x.elem_count();
    let value = |i: usize| {
        let word = drop.stream.words((i / 64 * 16 + i % 16) as u64)[i / 16 % 4];
        if word < threshold { 0.0 } else { gain }
    };
    let mask: Vec<f32> = (0..count).map(value).collect();
    x * Tensor::from_vec(mask, x.shape(), x.device())?.to_dtype(x.dtype())?
}

/// Elements per task, a multiple of 64.
const CHUNK: usize = 1 << 15;

struct Apply<'a> {
    bits: &'a Bits,
    start: usize,
    gain: f32,
    x: &'a [f32],
    to: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Apply<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let gain = s.splat(self.gain);
        let to = &mut self.to[..self.x.len()];
        for at in starts(self.x.len()) {
            let y = s.keep(self.bits.at(self.start + at), s.mul(part(s, self.x, at, 0.0), gain));
            put(s, &mut to[at..], y);
        }
    }
}

impl Dropout {
    fn apply(self, x: &[f32]) -> Vec<f32> {
        let mut y = Unwritten::new(x.len());
        y.room().par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).enumerate().for_each(|(i, (y, x))| {
            let start = i * CHUNK;
            let bits = &Bits::draw(self, start, x.len());
            dispatch(Apply { bits, start, gain: self.gain(), x, to: y });
        });
        // SAFETY: every chunk was written.
        unsafe { y.written() }
    }
}

impl CustomOp1 for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(self.apply(host::slice(x, layout)?)), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let data = host::with(grad, |grad| Ok(self.apply(grad)))?;
        Ok(store_grad(x, host::tensor(data, grad.shape())?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Var};
    use lrlab_random::{Purpose, Stream};

    use super::*;
    use crate::testing::{assert_error, draw, grads_of};

    #[test]
    fn draws_come_from_the_stream() -> Result<()> {
        let stream = Stream::new(3, Purpose::Dropout, "d");
        let drop = Dropout { p: 0.3, stream };
        for count in [1, 5, 64, 1000, 40_001] {
            let x = Var::from_tensor(&draw(count, "x"))?;
            let y = dropout(&x, drop)?;
            let slow = dropout(&x.to_dtype(DType::F64)?, drop)?.to_dtype(DType::F32)?;
            let (found, expected) = (y.to_vec1::<f32>()?, slow.to_vec1::<f32>()?);
            for (f, e) in found.iter().zip(&expected) {
                assert!((f - e).abs() <= 1e-6 * e.abs() && (*f == 0.0) == (*e == 0.0));
            }
            let grad = grads_of(&y, &[&x])?[0].to_vec1::<f32>()?;
            assert!(grad.iter().zip(&found).all(|(g, y)| (*g == 0.0) == (*y == 0.0)));
        }
        for start in [0, 7, 64, 100, 1007] {
            let bits = Bits::draw(drop, start, 200);
            for at in start..start + 200 {
                let word = stream.words((at / 64 * 16 + at % 16) as u64)[at / 16 % 4];
                assert_eq!(bits.at(at) & 1 == 1, word >= drop.threshold(), "{start}, {at}");
            }
        }
        let kept = dropout(&Tensor::ones(40_000, DType::F32, &candle_core::Device::Cpu)?, drop)?;
        assert!((kept.mean_all()?.to_scalar::<f32>()? - 1.0).abs() < 0.02);
        Ok(())
    }

    #[test]
    fn probabilities_are_checked() -> Result<()> {
        let stream = Stream::new(3, Purpose::Dropout, "d");
        let x = draw(8, "x");
        assert_eq!(dropout(&x, Dropout { p: 0.0, stream })?.to_vec1::<f32>()?, x.to_vec1::<f32>()?);
        assert_eq!(dropout(&x.narrow(0, 3, 0)?, Dropout { p: 0.5, stream })?.dims(), [0]);
        for p in [-0.1, 1.0, f64::NAN] {
            assert_error(&format!("dropout: p is {p:?}, expected 0"), dropout(&x, Dropout { p, stream }));
        }
        Ok(())
    }
}
