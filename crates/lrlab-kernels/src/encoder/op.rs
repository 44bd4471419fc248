//! The operator over (x, the packed parameters).

#![allow(unsafe_code, reason = "outputs are written in place before they have a length")]

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::backward::backward;
use super::forward::{Kept, forward};
use super::layer::{Dims, Layer, Parameters};
use super::parts::{self, Sums};
use crate::gradient::store_grad;
use crate::host::{self, Unwritten};

/// At most this many partial sums of the parameters' gradients.
const PARTS: usize = 16;

/// The operator.
pub(super) struct Encoder {
    layer: Layer,
    /// Of each sequence.
    kept: OnceLock<Vec<Kept>>,
}

impl Encoder {
    pub(super) fn new(layer: Layer) -> Self {
        Self { layer, kept: OnceLock::new() }
    }

    fn forward(&self, x: &[f32], packed: &[f32]) -> Vec<f32> {
        let Dims { l, w, .. } = self.layer.dims;
        let parameters = Parameters::new(&self.layer, packed, true);
        let mut y = Unwritten::new(x.len());
        let sequences = y.room().par_chunks_mut(l * w).zip(x.par_chunks(l * w)).enumerate();
        let kept = sequences.map(|(i, (y, x))| forward(&self.layer, i, &parameters, x, y));
        let kept = kept.collect();
        let _ = self.kept.set(kept);
        // SAFETY: every sequence wrote its chunk.
        unsafe { y.written() }
    }

    /// Gradients of x and of the packed parameters.
    fn backward(&self, x: &[f32], packed: &[f32], dy: &[f32]) -> Result<(Vec<f32>, Vec<f32>)> {
        let Dims { l, w, b, .. } = self.layer.dims;
        let Some(kept) = self.kept.get() else { bail!("encoder: backward before forward") };
        let parameters = Parameters::new(&self.layer, packed, false);
        let mut dx = Unwritten::new(x.len());
        let each = b.div_ceil(PARTS);
        let size = each * l * w;
        let parts = dx.room().par_chunks_mut(size).zip(kept.par_chunks(each)).enumerate();
        let sums: Vec<Sums> = parts
            .map(|(part, (dx, kept))| {
                let mut sums = Sums::zeros(self.layer.dims);
                for ((i, dx), kept) in (part * each..).zip(dx.chunks_mut(l * w)).zip(kept) {
                    let at = i * l * w;
                    let (x, dy) = (&x[at..at + l * w], &dy[at..at + l * w]);
                    backward(&self.layer, i, &parameters, (x, dy), kept, &mut sums, dx);
                }
                sums
            })
            .collect();
        // SAFETY: every sequence wrote its rows.
        Ok((unsafe { dx.written() }, parts::total(self.layer.dims, &sums)))
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
        let store_grad = |of: &Tensor, data| -> Result<Option<Tensor>> {
            if of.track_op() { Ok(store_grad(of, host::tensor(data, of.shape())?)) } else { Ok(None) }
        };
        Ok((store_grad(x, dx)?, store_grad(packed, dp)?))
    }
}
