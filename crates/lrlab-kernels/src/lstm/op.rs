//! The operator over (x, `w_ih` and `w_hh` side by side, bias).
//!
//! Sequences do not meet, so groups of sixteen are the tasks; the sums of their parameters' gradients are added up in
//! the groups' order. Hidden units are padded to whole vectors inside.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::backward::{self, Grads};
use super::forward;
use crate::conv::sweep::{Strides, Sweep};
use crate::host;
use crate::simd::{LANES, Simd};

/// Sequences per task.
pub(super) const GROUP: usize = 16;

#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) b: usize,
    pub(super) l: usize,
    pub(super) inputs: usize,
    pub(super) h: usize,
}

impl Sizes {
    /// Hidden units, padded.
    pub(super) fn hp(&self) -> usize {
        self.h.next_multiple_of(LANES)
    }
}

/// What a group of sequences keeps for the backward pass: gates after their functions `(rows, l, 4 hp)`, and cells
/// `(rows, l, hp)`.
pub(super) struct Kept {
    pub(super) gates: Vec<f32>,
    pub(super) cells: Vec<f32>,
}

pub(super) struct Lstm {
    pub(super) sizes: Sizes,
    /// Per sequence and time: not padding.
    pub(super) real: Vec<bool>,
    pub(super) reverse: bool,
    kept: OnceLock<Vec<Kept>>,
}

/// The weights, gates padded to whole vectors.
pub(super) struct Weights {
    /// `(4 hp, inputs)`
    pub(super) ih: Vec<f32>,
    /// `(4 hp, h)`
    pub(super) hh: Vec<f32>,
}

impl Lstm {
    pub(super) fn new(sizes: Sizes, real: Vec<bool>, reverse: bool) -> Self {
        Self { sizes, real, reverse, kept: OnceLock::new() }
    }

    pub(super) fn weights(&self, joined: &[f32]) -> Weights {
        let Sizes { inputs, h, .. } = self.sizes;
        let hp = self.sizes.hp();
        let (mut ih, mut hh) = (vec![0.0; 4 * hp * inputs], vec![0.0; 4 * hp * h]);
        for (row, weights) in joined.chunks(inputs + h).enumerate() {
            let row = row / h * hp + row % h;
            ih[row * inputs..][..inputs].copy_from_slice(&weights[..inputs]);
            hh[row * h..][..h].copy_from_slice(&weights[inputs..]);
        }
        Weights { ih, hh }
    }

    /// The times in the order they are read.
    pub(super) fn time(&self, step: usize) -> usize {
        if self.reverse { self.sizes.l - 1 - step } else { step }
    }

    fn forward(&self, x: &[f32], joined: &[f32], bias: &[f32]) -> (CpuStorage, Shape) {
        let Sizes { b, l, inputs, h } = self.sizes;
        let weights = self.weights(joined);
        let recurrent = packed(&weights.hh, 4 * self.sizes.hp(), h, h, 1);
        let mut y = vec![0.0; b * l * h];
        let kept = y
            .par_chunks_mut(GROUP * l * h)
            .zip(x.par_chunks(GROUP * l * inputs))
            .zip(self.real.par_chunks(GROUP * l))
            .map(|((y, x), real)| forward::group(self, x, &weights.ih, &recurrent, bias, real, y))
            .collect();
        let _ = self.kept.set(kept);
        (CpuStorage::F32(y), Shape::from((b, l, h)))
    }

    fn backward(&self, x: &[f32], joined: &[f32], y: &[f32], grad: &[f32], want_x: bool) -> Result<Grads> {
        let Sizes { l, inputs, h, .. } = self.sizes;
        let Some(kept) = self.kept.get() else { bail!("lstm: backward before forward") };
        let weights = self.weights(joined);
        let recurrent = packed(&weights.hh, h, 4 * self.sizes.hp(), 1, h);
        let groups: Vec<Grads> = kept
            .par_iter()
            .zip(x.par_chunks(GROUP * l * inputs))
            .zip(self.real.par_chunks(GROUP * l))
            .zip(y.par_chunks(GROUP * l * h).zip(grad.par_chunks(GROUP * l * h)))
            .map(|(((kept, x), real), (y, grad))| {
                let wanted = want_x.then_some(weights.ih.as_slice());
                backward::group(self, x, real, y, grad, kept, wanted, &recurrent)
            })
            .collect();
        let mut dx = Vec::with_capacity(if want_x { x.len() } else { 0 });
        let (mut dw, mut db) = (Vec::new(), Vec::new());
        for group in groups {
            dx.extend(group.x);
            dw.push(group.weights);
            db.push(group.bias);
        }
        Ok(Grads { x: dx, weights: host::add_up(dw), bias: host::add_up(db) })
    }
}

/// The matrix w (outs, channels), by its strides, in the order of [`Sweep`]'s weights.
fn packed(w: &[f32], outs: usize, channels: usize, out_stride: usize, channel_stride: usize) -> Vec<f32> {
    let mut packed = vec![0.0; outs.next_multiple_of(LANES) * channels];
    for out in 0..outs {
        for channel in 0..channels {
            packed[((out / LANES) * channels + channel) * LANES + out % LANES] =
                w[out * out_stride + channel * channel_stride];
        }
    }
    packed
}

/// out (rows, outs) = input (rows, channels) wᵀ, `outs` a multiple of sixteen, rows `input_row` values apart.
#[inline(always)]
pub(super) fn product<S: Simd>(
    s: S,
    (input, input_row, channels): (&[f32], usize, usize),
    weights: &[f32],
    outs: usize,
    rows: usize,
    out: &mut [f32],
) {
    let sweep = Sweep {
        input,
        input_strides: Strides { block: LANES, row: 0, pixel: input_row },
        channels,
        taps: &[0],
        weights,
        out_strides: Strides { block: LANES, row: 0, pixel: outs },
        out_blocks: outs / LANES,
        rows: 1,
        pixels: rows,
    };
    sweep.run(s, out);
}

impl CustomOp3 for Lstm {
    fn name(&self) -> &'static str {
        "lstm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        w: &CpuStorage,
        lw: &Layout,
        bias: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok(self.forward(host::slice(x, lx)?, host::slice(w, lw)?, host::slice(bias, lb)?))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        bias: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grads = host::with(x, |xs| {
            host::with(w, |ws| {
                host::with(y, |ys| host::with(grad, |gs| self.backward(xs, ws, ys, gs, x.track_op())))
            })
        })?;
        let dx = if x.track_op() { Some(host::tensor(grads.x, x.shape())?) } else { None };
        let dw = host::tensor(grads.weights, w.shape())?;
        let db = host::tensor(grads.bias, bias.shape())?;
        Ok((dx, w.track_op().then_some(dw), bias.track_op().then_some(db)))
    }
}
