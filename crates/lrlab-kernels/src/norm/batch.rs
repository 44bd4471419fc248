//! Batch norm on the CPU, one channel at a time: a channel's planes fit into the cache, so repeated passes are cheap.

#![allow(unsafe_code, reason = "outputs are written in place before they have a length")]

use std::mem::MaybeUninit;
use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::host::{self, Unwritten};
use crate::rows::{RowsMut, put};
use crate::simd::{Kernel, Simd, dispatch, part, starts};

/// One channel's mean, 1 / √(variance + eps) and variance.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Statistics {
    pub(super) mean: f64,
    pub(super) inverse: f64,
    pub(super) var: f64,
}

/// The operator over (x, scale and shift joined, residual).
pub(super) struct BatchNorm {
    pub(super) dims: (usize, usize, usize, usize),
    pub(super) eps: f64,
    /// Of the running statistics, for evaluation; otherwise the batch's are taken.
    pub(super) fixed: Option<Vec<Statistics>>,
    /// What was used, for the backward pass and the running statistics.
    pub(super) used: Arc<OnceLock<Vec<Statistics>>>,
    pub(super) relu: bool,
}

impl BatchNorm {
    fn forward(&self, x: &[f32], params: &[f32], residual: Option<&[f32]>) -> (CpuStorage, Shape) {
        let mut y = Unwritten::new(x.len());
        let statistics: Vec<Statistics> = self
            .split(y.room())
            .into_par_iter()
            .enumerate()
            .map(|(channel, out)| {
                let fixed = self.fixed.as_ref().map(|all| all[channel]);
                dispatch(Forward { op: self, channel, x, params, residual, fixed, out })
            })
            .collect();
        let _ = self.used.set(statistics);
        // SAFETY: every channel wrote its planes.
        (CpuStorage::F32(unsafe { y.written() }), Shape::from(self.dims))
    }

    fn backward(
        &self,
        x: &Tensor,
        params: &Tensor,
        y: &Tensor,
        grad: &Tensor,
        residual: bool,
    ) -> Result<Grads> {
        let (_, c, ..) = self.dims;
        let count = x.elem_count();
        let Some(statistics) = self.used.get() else { bail!("batch_norm2d: backward before forward") };
        let mut dx = Unwritten::new(count);
        let mut dr = residual.then(|| Unwritten::new(count));
        let to = self.split(dx.room());
        let residual_to = match &mut dr {
            Some(dr) => self.split(dr.room()).into_iter().map(Some).collect(),
            None => std::iter::repeat_with(|| None).take(c).collect::<Vec<_>>(),
        };
        let to = to.into_par_iter().zip(residual_to).enumerate();
        let sums: Vec<(f32, f32)> = host::with(x, |x| {
            host::with(params, |params| {
                host::with(y, |y| {
                    host::with(grad, |grad| {
                        let channel = |(channel, (to, residual_to))| {
                            let used = statistics[channel];
                            dispatch(Backward {
                                op: self,
                                channel,
                                x,
                                params,
                                y,
                                grad,
                                used,
                                to,
                                residual_to,
                            })
                        };
                        Ok(to.map(channel).collect())
                    })
                })
            })
        })?;
        let params: Vec<f32> = sums.iter().map(|s| s.0).chain(sums.iter().map(|s| s.1)).collect();
        // SAFETY: every channel wrote its planes of both.
        let (dx, dr) = unsafe { (dx.written(), dr.map(|dr| dr.written())) };
        Ok(Grads {
            x: host::tensor(dx, x.shape())?,
            params: host::tensor(params, &Shape::from(2 * c))?,
            residual: dr.map(|dr| host::tensor(dr, x.shape())).transpose()?,
        })
    }

    /// The planes of each channel.
    fn split<'a>(&self, batch: &'a mut [MaybeUninit<f32>]) -> Vec<RowsMut<'a, MaybeUninit<f32>>> {
        let (_, c, h, w) = self.dims;
        RowsMut::new(batch, c * h * w).split_columns(h * w)
    }

    /// Where the planes of a channel start.
    fn planes(&self, channel: usize) -> (impl Iterator<Item = usize> + use<>, usize) {
        let (n, c, h, w) = self.dims;
        let size = h * w;
        ((0..n).map(move |i| (i * c + channel) * size), size)
    }

    fn per_channel(&self) -> f64 {
        let (n, _, h, w) = self.dims;
        (n * h * w) as f64
    }
}

struct Grads {
    x: Tensor,
    params: Tensor,
    residual: Option<Tensor>,
}

struct Forward<'a> {
    op: &'a BatchNorm,
    channel: usize,
    x: &'a [f32],
    params: &'a [f32],
    residual: Option<&'a [f32]>,
    fixed: Option<Statistics>,
    /// The channel's planes.
    out: RowsMut<'a, MaybeUninit<f32>>,
}

impl Kernel for Forward<'_> {
    type Out = Statistics;

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) -> Statistics {
        let used = match self.fixed {
            Some(fixed) => fixed,
            None => self.measure(s),
        };
        let c = self.op.dims.1;
        let gain = self.params[self.channel] * used.inverse as f32;
        let offset = self.params[c + self.channel] - used.mean as f32 * gain;
        let (gain, offset) = (s.splat(gain), s.splat(offset));
        let floor = s.splat(if self.op.relu { 0.0 } else { f32::NEG_INFINITY });
        let (planes, size) = self.op.planes(self.channel);
        for (i, start) in planes.enumerate() {
            let x = &self.x[start..][..size];
            let residual = self.residual.map(|residual| &residual[start..][..size]);
            let out = &mut self.out.row(i)[..size];
            for at in starts(size) {
                let mut y = s.fma(part(s, x, at, 0.0), gain, offset);
                if let Some(residual) = residual {
                    y = s.add(y, part(s, residual, at, 0.0));
                }
                if self.op.relu {
                    // This order of arguments propagates a NaN.
                    y = s.max(floor, y);
                }
                put(s, &mut out[at..], y);
            }
        }
        used
    }
}

impl Forward<'_> {
    /// Mean and variance in two passes; planes are added up in f64.
    #[inline(always)]
    fn measure<S: Simd>(&self, s: S) -> Statistics {
        let count = self.op.per_channel();
        let (planes, size) = self.op.planes(self.channel);
        let mut sum = 0.0;
        for start in planes {
            let x = &self.x[start..][..size];
            let mut total = s.zero();
            for at in starts(size) {
                total = s.add(total, part(s, x, at, 0.0));
            }
            sum += f64::from(s.sum(total));
        }
        let mean = sum / count;
        let centre = s.splat(mean as f32);
        let (planes, _) = self.op.planes(self.channel);
        let mut squares = 0.0;
        for start in planes {
            let x = &self.x[start..][..size];
            let mut total = s.zero();
            for at in starts(size) {
                let d = s.sub(part(s, x, at, mean as f32), centre);
                total = s.fma(d, d, total);
            }
            squares += f64::from(s.sum(total));
        }
        let var = squares / count;
        Statistics { mean, inverse: 1.0 / (var + self.op.eps).sqrt(), var }
    }
}

struct Backward<'a> {
    op: &'a BatchNorm,
    channel: usize,
    x: &'a [f32],
    params: &'a [f32],
    y: &'a [f32],
    grad: &'a [f32],
    used: Statistics,
    /// The channel's planes.
    to: RowsMut<'a, MaybeUninit<f32>>,
    residual_to: Option<RowsMut<'a, MaybeUninit<f32>>>,
}

impl Kernel for Backward<'_> {
    /// The gradients of scale and shift.
    type Out = (f32, f32);

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) -> (f32, f32) {
        let count = self.op.per_channel();
        let mean = self.used.mean as f32;
        let (planes, size) = self.op.planes(self.channel);
        let (mut sum, mut product) = (0.0, 0.0);
        for start in planes {
            let x = &self.x[start..][..size];
            let (y, grad) = self.after(start, size);
            let (mut total, mut with_x) = (s.zero(), s.zero());
            for at in starts(size) {
                let g = gradient(s, y, grad, at);
                total = s.add(total, g);
                with_x = s.fma(g, s.sub(part(s, x, at, mean), s.splat(mean)), with_x);
            }
            sum += f64::from(s.sum(total));
            product += f64::from(s.sum(with_x));
        }
        let d_scale = product * self.used.inverse;
        let gain = f64::from(self.params[self.channel]) * self.used.inverse;
        // dx = gain (g − mean(g) − x̂ mean(g x̂)); with running statistics dx = gain g.
        let (slope, offset) = if self.op.fixed.is_some() {
            (0.0, 0.0)
        } else {
            let slope = -gain * d_scale * self.used.inverse / count;
            (slope, -gain * sum / count - slope * self.used.mean)
        };
        let (gain, slope, offset) = (s.splat(gain as f32), s.splat(slope as f32), s.splat(offset as f32));
        let (planes, _) = self.op.planes(self.channel);
        for (i, start) in planes.enumerate() {
            let x = &self.x[start..][..size];
            let (y, grad) = self.after(start, size);
            let to = &mut self.to.row(i)[..size];
            let mut residual_to = self.residual_to.as_mut().map(|to| &mut to.row(i)[..size]);
            for at in starts(size) {
                let g = gradient(s, y, grad, at);
                let dx = s.fma(g, gain, s.fma(part(s, x, at, 0.0), slope, offset));
                put(s, &mut to[at..], dx);
                if let Some(to) = &mut residual_to {
                    put(s, &mut to[at..], g);
                }
            }
        }
        (d_scale as f32, sum as f32)
    }
}

impl<'a> Backward<'a> {
    /// A plane of the output, if the norm has a ReLU, and of its gradient.
    #[inline(always)]
    fn after(&self, start: usize, size: usize) -> (Option<&'a [f32]>, &'a [f32]) {
        let (y, grad) = (self.y, self.grad);
        (self.op.relu.then(|| &y[start..][..size]), &grad[start..][..size])
    }
}

/// The gradient before the ReLU, if there is one.
#[inline(always)]
fn gradient<S: Simd>(s: S, y: Option<&[f32]>, grad: &[f32], at: usize) -> S::V {
    let g = part(s, grad, at, 0.0);
    match y {
        Some(y) => s.where_greater(part(s, y, at, 0.0), s.zero(), g, s.zero()),
        None => g,
    }
}

impl CustomOp2 for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        p: &CpuStorage,
        lp: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok(self.forward(host::slice(x, lx)?, host::slice(p, lp)?, None))
    }

    fn bwd(
        &self,
        x: &Tensor,
        p: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grads = self.backward(x, p, y, grad, false)?;
        Ok((x.track_op().then_some(grads.x), p.track_op().then_some(grads.params)))
    }
}

impl CustomOp3 for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        p: &CpuStorage,
        lp: &Layout,
        r: &CpuStorage,
        lr: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok(self.forward(host::slice(x, lx)?, host::slice(p, lp)?, Some(host::slice(r, lr)?)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        p: &Tensor,
        r: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grads = self.backward(x, p, y, grad, r.track_op())?;
        Ok((x.track_op().then_some(grads.x), p.track_op().then_some(grads.params), grads.residual))
    }
}
