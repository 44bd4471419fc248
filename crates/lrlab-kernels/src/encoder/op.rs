//! The operator over (x, the packed parameters).

#![allow(unsafe_code, reason = "sequences write their rows of shared outputs, before these have a length")]

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::forward::{Kept, forward};
use super::parts::Sums;
use super::{backward::backward, parts};
use crate::Precision;
use crate::attention::Keys;
use crate::buffer::Buffer;
use crate::dropout::Dropout;
use crate::gradient::give;
use crate::host::{self, Shared, Unwritten};
use crate::product::{PANEL, Right, pack, pack_transposed, packed_len};

/// Batch, length, width, width between the linear maps, heads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dims {
    pub(super) b: usize,
    pub(super) l: usize,
    pub(super) w: usize,
    pub(super) f: usize,
    pub(super) heads: usize,
}

impl Dims {
    /// Outputs and inputs of the affine maps.
    pub(super) fn maps(self) -> [(usize, usize); 4] {
        let Self { w, f, .. } = self;
        [(3 * w, w), (w, w), (f, w), (w, f)]
    }

    /// Of the parameters, in their order.
    pub(super) fn shapes(self) -> Vec<Vec<usize>> {
        let maps = self.maps().into_iter().flat_map(|(out, inputs)| [vec![out, inputs], vec![out]]);
        maps.chain(std::iter::repeat_n(vec![self.w], 4)).collect()
    }
}

/// At most this many partial sums of the parameters' gradients.
const PARTS: usize = 16;

pub(super) struct Encoder {
    pub(super) dims: Dims,
    pub(super) before: bool,
    pub(super) gelu: bool,
    pub(super) eps: f64,
    pub(super) precision: Precision,
    /// Of each sequence.
    pub(super) keys: Vec<Keys>,
    pub(super) dropouts: [Option<Dropout>; 3],
    /// Of each sequence.
    pub(super) kept: OnceLock<Vec<Kept>>,
}

/// The parameters, weights packed for the forward or the backward pass.
pub(super) struct Parameters<'a> {
    weights: [Buffer; 4],
    dims: Dims,
    precision: Precision,
    transposed: bool,
    pub(super) biases: [&'a [f32]; 4],
    /// Scale and shift.
    pub(super) norms: [[&'a [f32]; 2]; 2],
}

impl<'a> Parameters<'a> {
    fn new(op: &Encoder, packed: &'a [f32], transposed: bool) -> Self {
        let (dims, precision) = (op.dims, op.precision);
        let mut rest = packed;
        let mut next = |len: usize| {
            let (part, after) = rest.split_at(len);
            rest = after;
            part
        };
        let mut biases = [&packed[..0]; 4];
        let mut i = 0;
        let weights = dims.maps().map(|(out, inputs)| {
            let weight = next(out * inputs);
            biases[i] = next(out);
            i += 1;
            let (k, n) = if transposed { (inputs, out) } else { (out, inputs) };
            let mut to = Buffer::take(packed_len(precision, k, n, PANEL));
            if transposed {
                pack_transposed(precision, weight, inputs, k, n, &mut to);
            } else {
                pack::<PANEL>(precision, weight, inputs, k, n, &mut to);
            }
            to
        });
        let norms = [(); 2].map(|()| [next(dims.w), next(dims.w)]);
        Self { weights, dims, precision, transposed, biases, norms }
    }

    /// The map's right-hand matrix: from inputs to outputs, or back.
    pub(super) fn right(&self, map: usize) -> Right<'_> {
        let (out, inputs) = self.dims.maps()[map];
        let (k, n) = if self.transposed { (inputs, out) } else { (out, inputs) };
        Right { data: &self.weights[map], k, n, precision: self.precision }
    }
}

impl Encoder {
    /// The draws of a sequence's elements: dropout `i` and its first element.
    pub(super) fn start(&self, sequence: usize) -> usize {
        sequence * self.dims.l * self.dims.w
    }

    fn forward(&self, x: &[f32], packed: &[f32]) -> Vec<f32> {
        let Dims { l, w, .. } = self.dims;
        let parameters = Parameters::new(self, packed, true);
        let mut y = Unwritten::new(x.len());
        let sequences = y.room().par_chunks_mut(l * w).zip(x.par_chunks(l * w)).enumerate();
        let kept = sequences.map(|(i, (y, x))| {
            // SAFETY: the chunk has room for the sequence's rows, and this task alone has it.
            unsafe { forward(self, i, &parameters, x, Shared(y.as_mut_ptr().cast())) }
        });
        let kept = kept.collect();
        let _ = self.kept.set(kept);
        // SAFETY: every sequence wrote its chunk.
        unsafe { y.written() }
    }

    /// Gradients of x and of the packed parameters.
    fn backward(&self, x: &[f32], packed: &[f32], dy: &[f32]) -> Result<(Vec<f32>, Vec<f32>)> {
        let Dims { l, w, b, .. } = self.dims;
        let Some(kept) = self.kept.get() else { bail!("encoder: backward before forward") };
        let parameters = Parameters::new(self, packed, false);
        let mut dx = Unwritten::new(x.len());
        let each = b.div_ceil(PARTS);
        let size = each * l * w;
        let parts = dx.room().par_chunks_mut(size).zip(kept.par_chunks(each)).enumerate();
        let sums: Vec<Sums> = parts
            .map(|(part, (dx, kept))| {
                let mut sums = Sums::zeros(self.dims);
                for ((i, dx), kept) in (part * each..).zip(dx.chunks_mut(l * w)).zip(kept) {
                    let at = i * l * w;
                    let (x, dy) = (&x[at..at + l * w], &dy[at..at + l * w]);
                    // SAFETY: as in the forward pass.
                    unsafe {
                        let to = Shared(dx.as_mut_ptr().cast());
                        backward(self, i, &parameters, (x, dy), kept, &mut sums, to);
                    }
                }
                sums
            })
            .collect();
        // SAFETY: every sequence wrote its rows.
        Ok((unsafe { dx.written() }, parts::total(self.dims, &sums)))
    }
}

impl CustomOp2 for Encoder {
    fn name(&self) -> &'static str {
        "encoder_layer"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        packed: &CpuStorage,
        lp: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let y = self.forward(host::slice(x, lx)?, host::slice(packed, lp)?);
        Ok((CpuStorage::F32(y), lx.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        packed: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (dx, dp) = host::with(x, |xs| {
            host::with(packed, |ps| host::with(grad, |grad| self.backward(xs, ps, grad)))
        })?;
        let give = |of: &Tensor, data| -> Result<Option<Tensor>> {
            if of.track_op() { Ok(give(of, host::tensor(data, of.shape())?)) } else { Ok(None) }
        };
        Ok((give(x, dx)?, give(packed, dp)?))
    }
}
