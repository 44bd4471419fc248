//! Dropout from counter-based draws (Srivastava et al., 2014).

use candle_core::{Result, Tensor, bail};
use lrlab_random::Stream;

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
    let (threshold, gain) = (drop.threshold(), drop.gain());
    let count = x.elem_count();
    let mut mask = Vec::with_capacity(count.next_multiple_of(4));
    for block in 0..count.div_ceil(4) {
        mask.extend(drop.stream.words(block as u64).map(|word| if word < threshold { 0.0 } else { gain }));
    }
    mask.truncate(count);
    x * Tensor::from_vec(mask, x.shape(), x.device())?.to_dtype(x.dtype())?
}
