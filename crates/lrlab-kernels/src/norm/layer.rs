//! Layer norm on the CPU, a row at a time.

#![allow(unsafe_code, reason = "outputs are written in place before they have a length")]

use std::mem::MaybeUninit;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::host::{self, Unwritten, add_up};
use crate::rows::put;
use crate::simd::{Kernel, LANES, Simd, dispatch, part};

/// The operator over (x, scale, shift), rows of `d`.
pub(super) struct LayerNorm {
    pub(super) d: usize,
    pub(super) eps: f64,
}

/// Rows per task.
const ROWS: usize = 256;
/// At most this many partial sums of the parameters' gradients.
const CHUNKS: usize = 16;

/// Mean and 1 / √(variance + eps) of a row.
#[inline(always)]
pub(crate) fn measure<S: Simd>(s: S, row: &[f32], eps: f64) -> (f32, f32) {
    let mut total = s.zero();
    for at in (0..row.len()).step_by(LANES) {
        total = s.add(total, part(s, row, at, 0.0));
    }
    let mean = s.sum(total) / row.len() as f32;
    let mut squares = s.zero();
    for at in (0..row.len()).step_by(LANES) {
        let d = s.sub(part(s, row, at, mean), s.splat(mean));
        squares = s.fma(d, d, squares);
    }
    let var = f64::from(s.sum(squares)) / row.len() as f64;
    (mean, (1.0 / (var + eps).sqrt()) as f32)
}

struct Forward<'a> {
    op: &'a LayerNorm,
    x: &'a [f32],
    scale: &'a [f32],
    shift: &'a [f32],
    to: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Forward<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let d = self.op.d;
        for (i, row) in self.x.chunks(d).enumerate() {
            let (mean, inverse) = measure(s, row, self.op.eps);
            let (gain, offset) = (s.splat(inverse), s.splat(-mean * inverse));
            for at in (0..d).step_by(LANES) {
                let normed = s.fma(part(s, row, at, 0.0), gain, offset);
                let y = s.fma(normed, part(s, self.scale, at, 0.0), part(s, self.shift, at, 0.0));
                put(s, &mut self.to[i * d + at..(i + 1) * d], y);
            }
        }
    }
}

struct Backward<'a> {
    op: &'a LayerNorm,
    x: &'a [f32],
    scale: &'a [f32],
    grad: &'a [f32],
    to: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Backward<'_> {
    /// Gradients of scale and shift, one after the other.
    type Out = Vec<f32>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Vec<f32> {
        let d = self.op.d;
        let padded = d.next_multiple_of(LANES);
        let mut sums = vec![0.0_f32; 2 * padded];
        for (i, (row, dy)) in self.x.chunks(d).zip(self.grad.chunks(d)).enumerate() {
            let (mean, inverse) = measure(s, row, self.op.eps);
            let (gain, offset) = (s.splat(inverse), s.splat(-mean * inverse));
            let (mut total, mut product) = (s.zero(), s.zero());
            for at in (0..d).step_by(LANES) {
                let normed = s.fma(part(s, row, at, mean), gain, offset);
                let dy = part(s, dy, at, 0.0);
                let g = s.mul(dy, part(s, self.scale, at, 0.0));
                total = s.add(total, g);
                product = s.fma(g, normed, product);
                let (d_scale, d_shift) = sums.split_at_mut(padded);
                let scale = s.fma(dy, normed, part(s, d_scale, at, 0.0));
                let shift = s.add(dy, part(s, d_shift, at, 0.0));
                put(s, &mut d_scale[at..], scale);
                put(s, &mut d_shift[at..], shift);
            }
            let total = s.splat(-s.sum(total) / d as f32);
            let product = s.splat(-s.sum(product) / d as f32);
            for at in (0..d).step_by(LANES) {
                let normed = s.fma(part(s, row, at, mean), gain, offset);
                let g = s.mul(part(s, dy, at, 0.0), part(s, self.scale, at, 0.0));
                let dx = s.mul(gain, s.add(s.fma(normed, product, g), total));
                put(s, &mut self.to[i * d + at..(i + 1) * d], dx);
            }
        }
        sums.copy_within(padded..padded + d, d);
        sums.truncate(2 * d);
        sums
    }
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        scale: &CpuStorage,
        ls: &Layout,
        shift: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, scale, shift) = (host::slice(x, lx)?, host::slice(scale, ls)?, host::slice(shift, lb)?);
        let mut y = Unwritten::new(x.len());
        let size = ROWS * self.d;
        y.room().par_chunks_mut(size).zip(x.par_chunks(size)).for_each(|(y, x)| {
            dispatch(Forward { op: self, x, scale, shift, to: y });
        });
        // SAFETY: every chunk was written.
        Ok((CpuStorage::F32(unsafe { y.written() }), lx.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        scale: &Tensor,
        shift: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let mut dx = Unwritten::new(x.elem_count());
        let rows = x.elem_count() / self.d;
        let size = rows.div_ceil(CHUNKS).max(ROWS) * self.d;
        let room = dx.room();
        let partial = host::with(x, |x| {
            host::with(scale, |scale| {
                host::with(grad, |grad| {
                    Ok(room
                        .par_chunks_mut(size)
                        .zip(x.par_chunks(size))
                        .zip(grad.par_chunks(size))
                        .map(|((dx, x), grad)| dispatch(Backward { op: self, x, scale, grad, to: dx }))
                        .collect::<Vec<_>>())
                })
            })
        })?;
        let mut d_scale = add_up(partial);
        let d_shift = d_scale.split_off(self.d);
        let row = Shape::from(self.d);
        // SAFETY: every chunk was written.
        let dx = host::tensor(unsafe { dx.written() }, x.shape())?;
        Ok((
            x.track_op().then_some(dx),
            scale.track_op().then_some(host::tensor(d_scale, &row)?),
            shift.track_op().then_some(host::tensor(d_shift, &row)?),
        ))
    }
}
