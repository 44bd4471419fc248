//! Layer norm on the CPU, a row at a time.

#![allow(unsafe_code, reason = "outputs are written in place before they have a length")]

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::host::{self, Unwritten, add_up};
use crate::rows::{Slot, put};
use crate::simd::{Kernel, LANES, Simd, dispatch, part, starts};

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
    for at in starts(row.len()) {
        total = s.add(total, part(s, row, at, 0.0));
    }
    let mean = s.sum(total) / row.len() as f32;
    let mut squares = s.zero();
    for at in starts(row.len()) {
        let d = s.sub(part(s, row, at, mean), s.splat(mean));
        squares = s.fma(d, d, squares);
    }
    let var = f64::from(s.sum(squares)) / row.len() as f64;
    (mean, (1.0 / (var + eps).sqrt()) as f32)
}

/// Layer norm of the rows of x.
pub(crate) struct LayerNormForward<'a, T> {
    pub(crate) x: &'a [f32],
    pub(crate) scale: &'a [f32],
    pub(crate) shift: &'a [f32],
    pub(crate) eps: f64,
    /// As large as x.
    pub(crate) to: &'a mut [T],
    /// Takes the normalised rows, as many values as x, and 1 / √(variance + eps) of each.
    pub(crate) kept: Option<(&'a mut [f32], &'a mut [f32])>,
}

impl<T: Slot> Kernel for LayerNormForward<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let d = self.scale.len();
        let (scale, shift) = (self.scale, &self.shift[..d]);
        for (i, (row, to)) in self.x.chunks_exact(d).zip(self.to.chunks_exact_mut(d)).enumerate() {
            let (mean, inverse) = measure(s, row, self.eps);
            let (gain, offset) = (s.splat(inverse), s.splat(-mean * inverse));
            let mut normed = self.kept.as_mut().map(|(normed, inverses)| {
                inverses[i] = inverse;
                &mut normed[i * d..][..d]
            });
            for at in starts(d) {
                let x = s.fma(part(s, row, at, 0.0), gain, offset);
                let y = s.fma(x, part(s, scale, at, 0.0), part(s, shift, at, 0.0));
                put(s, &mut to[at..], y);
                if let Some(normed) = &mut normed {
                    put(s, &mut normed[at..], x);
                }
            }
        }
    }
}

/// Where the gradient has the normalised rows from.
pub(crate) enum NormedRows<'a> {
    /// The rows and 1 / √(variance + eps) of each, kept by the forward pass.
    Kept(&'a [f32], &'a [f32]),
    /// Computed again from the rows of x with this eps.
    Again(&'a [f32], f64),
}

/// The gradient of a layer norm's input, plus `residual` where there is one; adds those of scale and shift to `sums`.
///
/// With the normed row x̂, its deviation σ and g = dy · scale: dx = (g − mean g − x̂ mean(g x̂)) / σ, because mean and
/// deviation depend on x too; d scale = Σ dy x̂ and d shift = Σ dy over the rows.
pub(crate) struct LayerNormBackward<'a, T> {
    pub(crate) dy: &'a [f32],
    pub(crate) scale: &'a [f32],
    pub(crate) normed: NormedRows<'a>,
    pub(crate) residual: Option<&'a [f32]>,
    /// Two rows, each padded to whole vectors.
    pub(crate) sums: &'a mut [f32],
    /// As large as dy.
    pub(crate) to: &'a mut [T],
}

impl<T: Slot> Kernel for LayerNormBackward<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { scale, residual, .. } = self;
        let d = scale.len();
        let padded = d.next_multiple_of(LANES);
        let (d_scale, d_shift) = self.sums[..2 * padded].split_at_mut(padded);
        let mut again = vec![0.0; if matches!(self.normed, NormedRows::Again(..)) { d } else { 0 }];
        for (i, (dy, to)) in self.dy.chunks_exact(d).zip(self.to.chunks_exact_mut(d)).enumerate() {
            let rows = i * d..(i + 1) * d;
            let (normed, inverse) = match self.normed {
                NormedRows::Kept(normed, inverse) => (&normed[rows.clone()], inverse[i]),
                NormedRows::Again(x, eps) => {
                    let row = &x[rows.clone()];
                    let (mean, inverse) = measure(s, row, eps);
                    let (gain, offset) = (s.splat(inverse), s.splat(-mean * inverse));
                    for at in starts(d) {
                        put(s, &mut again[at..], s.fma(part(s, row, at, 0.0), gain, offset));
                    }
                    (&again[..], inverse)
                }
            };
            let residual = residual.map(|residual| &residual[rows]);
            let (mut total, mut product) = (s.zero(), s.zero());
            for at in starts(d) {
                let (dy, x) = (part(s, dy, at, 0.0), part(s, normed, at, 0.0));
                let g = s.mul(dy, part(s, scale, at, 0.0));
                total = s.add(total, g);
                product = s.fma(g, x, product);
                let (to_scale, to_shift) = (&mut d_scale[at..][..LANES], &mut d_shift[at..][..LANES]);
                put(s, to_scale, s.fma(dy, x, part(s, to_scale, 0, 0.0)));
                put(s, to_shift, s.add(dy, part(s, to_shift, 0, 0.0)));
            }
            let total = s.splat(-s.sum(total) / d as f32);
            let product = s.splat(-s.sum(product) / d as f32);
            let inverse = s.splat(inverse);
            for at in starts(d) {
                let g = s.mul(part(s, dy, at, 0.0), part(s, scale, at, 0.0));
                let mut dx = s.mul(inverse, s.add(s.fma(part(s, normed, at, 0.0), product, g), total));
                if let Some(residual) = residual {
                    dx = s.add(dx, part(s, residual, at, 0.0));
                }
                put(s, &mut to[at..], dx);
            }
        }
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
            dispatch(LayerNormForward { x, scale, shift, eps: self.eps, to: y, kept: None });
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
                        .map(|((to, x), dy)| {
                            let padded = self.d.next_multiple_of(LANES);
                            let mut sums = vec![0.0; 2 * padded];
                            let normed = NormedRows::Again(x, self.eps);
                            dispatch(LayerNormBackward {
                                dy,
                                scale,
                                normed,
                                residual: None,
                                sums: &mut sums,
                                to,
                            });
                            sums.copy_within(padded..padded + self.d, self.d);
                            sums.truncate(2 * self.d);
                            sums
                        })
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
