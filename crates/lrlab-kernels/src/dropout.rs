//! Dropout from counter-based draws (Srivastava et al., 2014).

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use lrlab_random::Stream;
use rayon::prelude::*;

use crate::host;
use crate::simd::{Kernel, Simd, dispatch};

/// Which elements are dropped.
#[derive(Debug, Clone, Copy)]
pub struct Dropout {
    /// Probability that an element is dropped, in [0, 1).
    pub p: f64,
    /// Where the draws come from: element i is word i mod 4 of block i / 4, and is kept where word ≥ p 2³².
    pub stream: Stream,
}

impl Dropout {
    pub(crate) fn check(&self) -> Result<()> {
        if (0.0..1.0).contains(&self.p) { Ok(()) } else { bail!("dropout: p = {} is not in [0, 1)", self.p) }
    }

    /// Words below this are dropped.
    pub(crate) fn threshold(&self) -> u32 {
        (self.p * 4_294_967_296.0) as u32
    }

    /// What kept elements are multiplied by.
    pub(crate) fn gain(&self) -> f32 {
        (1.0 / (1.0 - self.p)) as f32
    }
}

/// Zeroes elements with probability p and multiplies the others by 1 / (1 − p).
///
/// # Errors
/// p is outside [0, 1).
pub fn dropout(x: &Tensor, drop: Dropout) -> Result<Tensor> {
    drop.check()?;
    if drop.p == 0.0 {
        return Ok(x.clone());
    }
    if host::is_f32(&[x]) {
        return x.contiguous()?.apply_op1(drop);
    }
    let (threshold, gain) = (drop.threshold(), drop.gain());
    let count = x.elem_count();
    let mut mask = Vec::with_capacity(count.next_multiple_of(4));
    for block in 0..count.div_ceil(4) {
        mask.extend(drop.stream.words(block as u64).map(|word| if word < threshold { 0.0 } else { gain }));
    }
    mask.truncate(count);
    x * Tensor::from_vec(mask, x.shape(), x.device())?.to_dtype(x.dtype())?
}

/// Elements per task, a multiple of four.
const CHUNK: usize = 1 << 15;

impl Dropout {
    fn apply(self, x: &[f32]) -> Vec<f32> {
        let mut y = x.to_vec();
        y.par_chunks_mut(CHUNK).enumerate().for_each(|(i, y)| dispatch(Draws::new(self, i * CHUNK, y)));
        y
    }
}

impl CustomOp1 for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(self.apply(host::slice(x, layout)?)), layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let data = host::with(grad, |grad| Ok(self.apply(grad)))?;
        Ok(Some(host::tensor(data, grad.shape())?))
    }
}

/// Applies the draws from `start` on to `values`, in place.
pub(crate) struct Draws<'a> {
    key: [u32; 2],
    threshold: u32,
    gain: f32,
    start: usize,
    values: &'a mut [f32],
}

impl<'a> Draws<'a> {
    pub(crate) fn new(drop: Dropout, start: usize, values: &'a mut [f32]) -> Self {
        Self { key: drop.stream.key(), threshold: drop.threshold(), gain: drop.gain(), start, values }
    }
}

/// Blocks of the generator made at once.
const WIDTH: usize = 16;

impl Kernel for Draws<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let mut block = self.start / 4;
        let mut skip = self.start % 4;
        let mut values = self.values;
        while !values.is_empty() {
            let words = blocks(block as u64, self.key);
            let count = (4 * WIDTH - skip).min(values.len());
            let (here, rest) = values.split_at_mut(count);
            for (value, word) in here.iter_mut().zip(&words[skip..]) {
                *value *= if *word < self.threshold { 0.0 } else { self.gain };
            }
            values = rest;
            block += WIDTH;
            skip = 0;
        }
    }
}

/// Philox4x32-10 (as `lrlab_random`) of sixteen blocks in a row, side by side so that the compiler vectorises it.
#[inline(always)]
fn blocks(first: u64, key: [u32; 2]) -> [u32; 4 * WIDTH] {
    let mut a = [0_u32; WIDTH];
    let mut b = [0_u32; WIDTH];
    for i in 0..WIDTH {
        let counter = first + i as u64;
        (a[i], b[i]) = (counter as u32, (counter >> 32) as u32);
    }
    let mut c = [0_u32; WIDTH];
    let mut d = [0_u32; WIDTH];
    let [mut k0, mut k1] = key;
    for _ in 0..10 {
        for i in 0..WIDTH {
            let p0 = 0xD251_1F53_u64 * u64::from(a[i]);
            let p1 = 0xCD9E_8D57_u64 * u64::from(c[i]);
            a[i] = (p1 >> 32) as u32 ^ b[i] ^ k0;
            b[i] = p1 as u32;
            c[i] = (p0 >> 32) as u32 ^ d[i] ^ k1;
            d[i] = p0 as u32;
        }
        k0 = k0.wrapping_add(0x9E37_79B9);
        k1 = k1.wrapping_add(0xBB67_AE85);
    }
    let mut words = [0; 4 * WIDTH];
    for i in 0..WIDTH {
        words[4 * i..][..4].copy_from_slice(&[a[i], b[i], c[i], d[i]]);
    }
    words
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Var};
    use lrlab_random::Purpose;

    use super::*;
    use crate::testing::{draw, grads_of};

    #[test]
    fn draws_are_those_of_the_stream() -> Result<()> {
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
        let mut part = vec![1.0; 100];
        dispatch(Draws::new(drop, 7, &mut part));
        for (i, v) in part.iter().enumerate() {
            let at = i + 7;
            let kept = stream.words(at as u64 / 4)[at % 4] >= drop.threshold();
            assert_eq!(*v != 0.0, kept);
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
        for p in [-0.1, 1.0, f64::NAN] {
            assert!(dropout(&x, Dropout { p, stream }).is_err());
        }
        Ok(())
    }
}
