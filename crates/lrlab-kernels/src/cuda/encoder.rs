//! A Transformer encoder's layer.

use std::sync::{Mutex, PoisonError};

use candle_core::cuda::cudarc::driver::CudaSlice;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::dropout::Bits;
use super::product::Operand;
use super::rows::{Normed, Row, row_norm, row_norm_back, row_sum};
use super::{Gpu, Held, address, hold, words};
use crate::{Dropout, Precision};

/// What [`crate::EncoderLayer`] was given, checked.
pub(crate) struct Layer<'a> {
    pub(crate) heads: usize,
    /// Whether norms precede the sub-layers.
    pub(crate) before: bool,
    pub(crate) gelu: bool,
    /// Weights and biases of the four maps, then scale and shift of the two norms.
    pub(crate) parameters: [&'a Tensor; 12],
    pub(crate) eps: f64,
    pub(crate) dropouts: [Option<Dropout>; 3],
    pub(crate) precision: Precision,
}

/// `x (b, l, w)` under `mask (b, l)`, `f` wide between the linear maps.
pub(crate) fn encoder(x: &Tensor, mask: &Tensor, f: usize, layer: &Layer) -> Result<Tensor> {
    let (b, l, w) = x.dims3()?;
    let op = Encoder {
        sizes: Sizes { b, l, w, f, heads: layer.heads },
        before: layer.before,
        gelu: layer.gelu,
        parameters: layer.parameters.map(Clone::clone),
        mask: mask.to_dtype(candle_core::DType::F32)?.contiguous()?,
        eps: layer.eps as f32,
        dropouts: layer.dropouts.map(|drop| drop.filter(|drop| drop.p > 0.0)),
        precision: layer.precision,
        kept: Mutex::new(None),
    };
    super::apply(&x.contiguous()?, layer.parameters, op)
}

#[derive(Debug, Clone, Copy)]
struct Sizes {
    b: usize,
    l: usize,
    w: usize,
    f: usize,
    heads: usize,
}

impl Sizes {
    fn rows(self) -> usize {
        self.b * self.l
    }

    fn values(self) -> usize {
        self.rows() * self.w
    }

    /// Queries times keys of all heads.
    fn scores(self) -> usize {
        self.b * self.heads * self.l * self.l
    }

    /// Width of a head.
    fn d(self) -> usize {
        self.w / self.heads
    }
}

struct Encoder {
    sizes: Sizes,
    before: bool,
    gelu: bool,
    parameters: [Tensor; 12],
    mask: Tensor,
    eps: f32,
    dropouts: [Option<Dropout>; 3],
    precision: Precision,
    kept: Mutex<Option<Kept>>,
}

/// Intermediate results for the backward pass.
struct Kept {
    /// What the attention reads, if it is not x.
    seen: Option<CudaSlice<f32>>,
    /// q, k, v one after the other, each `(b, heads, l, d)`.
    qkv: CudaSlice<f32>,
    /// The attention's weights `(b, heads, l, l)`, and after dropout where there is one.
    weights: CudaSlice<f32>,
    dropped: Option<CudaSlice<f32>>,
    /// The attention's output `(b, l, w)`.
    attended: CudaSlice<f32>,
    norms: [Normed; 2],
    /// What the linear maps read, `(b, l, w)`.
    fed: CudaSlice<f32>,
    /// Before the activation and after it, `(b, l, f)`.
    inner: CudaSlice<f32>,
    hidden: CudaSlice<f32>,
    bits: [Option<Bits>; 3],
}

/// Indices of parameters.
const MAPS: [(usize, usize); 4] = [(0, 1), (2, 3), (4, 5), (6, 7)];
const NORMS: [(usize, usize); 2] = [(8, 9), (10, 11)];

impl Encoder {
    fn held(&self) -> Result<Vec<Held>> {
        self.parameters.iter().map(hold).collect()
    }

    /// out = x Wᵀ for map `i`.
    ///
    /// # Safety
    /// x has a row of the map's inputs for each row, `out` room for its outputs.
    unsafe fn map(&self, gpu: &Gpu, p: &[Held], i: usize, x: u64, out: u64) -> Result<()> {
        let (outputs, inputs) = self.parameters[MAPS[i].0].dims2()?;
        let weight = Operand::new(p[MAPS[i].0].at, outputs, inputs);
        // SAFETY: guaranteed by the caller.
        unsafe { gpu.product(self.precision, Operand::new(x, self.sizes.rows(), inputs), weight.t(), out) }
    }

    /// The backward pass of map `i`: stores the gradients of weight and bias, and writes that of the input to `dx`.
    ///
    /// # Safety
    /// As for [`Encoder::map`]; with `join` there is something at `dx`.
    unsafe fn map_back(
        &self,
        gpu: &Gpu,
        p: &[Held],
        i: usize,
        (x, dy): (u64, u64),
        (dx, join): (u64, bool),
    ) -> Result<()> {
        let [weight, bias] = [MAPS[i].0, MAPS[i].1].map(|i| &self.parameters[i]);
        let (outputs, inputs) = weight.dims2()?;
        let rows = self.sizes.rows();
        let slopes = Operand::new(dy, rows, outputs);
        // SAFETY: guaranteed by the caller.
        unsafe {
            if weight.track_op() {
                let dw = gpu.floats(outputs * inputs)?;
                gpu.product(self.precision, slopes.t(), Operand::new(x, rows, inputs), gpu.at(&dw))?;
                super::store_grad(weight, gpu.tensor(dw, weight.shape()))?;
            }
            if bias.track_op() {
                let [sums, _] = gpu.columns(dy, None, (rows, outputs))?;
                super::store_grad(bias, gpu.tensor(sums, outputs))?;
            }
            let w = Operand::new(p[MAPS[i].0].at, outputs, inputs);
            let beta = if join { 1.0 } else { 0.0 };
            gpu.products(self.precision, (slopes, w), dx, 1, (1.0, beta))
        }
    }

    fn forward(&self, gpu: &Gpu, x: u64) -> Result<(CudaSlice<f32>, Kept)> {
        let Sizes { b, l, w, f, heads } = self.sizes;
        let (rows, values, d) = (self.sizes.rows(), self.sizes.values(), self.sizes.d());
        let of_norms = (rows, w);
        let p = self.held()?;
        let mask = hold(&self.mask)?;
        let draw = |i: usize, count| -> Result<Option<Bits>> {
            self.dropouts[i].map(|drop: Dropout| Bits::draw(gpu, drop, count)).transpose()
        };
        let bits = [draw(0, self.sizes.scores())?, draw(1, values)?, draw(2, values)?];
        let norm = |i: usize| [p[NORMS[i].0].at, p[NORMS[i].1].at];
        let plain = |x: u64| Row { x, bias: None, bits: None, base: None, sum: None };
        let (qkv, packed) = (gpu.floats(3 * values)?, gpu.floats(3 * values)?);
        let weights = gpu.floats(self.sizes.scores())?;
        let dropped = bits[0].as_ref().map(|_| gpu.floats(self.sizes.scores())).transpose()?;
        let (attended, product) = (gpu.floats(values)?, gpu.floats(values)?);
        let (inner, hidden) = (gpu.floats(rows * f)?, gpu.floats(rows * f)?);
        // SAFETY: the shapes were checked, and buffers are made for them here.
        unsafe {
            let (seen, first) = if self.before {
                let (normed, y) = row_norm(gpu, &plain(x), norm(0), self.eps, of_norms)?;
                (Some(y), Some(normed))
            } else {
                (None, None)
            };
            let from = seen.as_ref().map_or(x, |seen| gpu.at(seen));
            self.map(gpu, &p, 0, from, gpu.at(&packed))?;
            let words =
                words![gpu.at(&packed), p[MAPS[0].1].at, mask.at, gpu.at(&qkv), l, heads, d, values as u64];
            gpu.each("split_heads", 3 * values, words)?;
            let [q, k, v] = self.heads(gpu, &qkv);
            let scale = 1.0 / (d as f32).sqrt();
            gpu.products(self.precision, (q, k.t()), gpu.at(&weights), b * heads, (scale, 0.0))?;
            let (drawn, keep) = Bits::arguments(gpu, bits[0].as_ref());
            let to = dropped.as_ref().map_or(0, |dropped| gpu.at(dropped));
            let words = words![gpu.at(&weights), mask.at, drawn, keep, to, heads, l, b * heads * l];
            gpu.rows("softmax_rows", b * heads * l, words)?;
            let weighed = Operand::new(gpu.at(dropped.as_ref().unwrap_or(&weights)), l, l);
            gpu.products(self.precision, (weighed, v), gpu.at(&product), b * heads, (1.0, 0.0))?;
            let words = words![gpu.at(&product), 0_u64, gpu.at(&attended), l, heads, d, 1, values as u64];
            gpu.each("merge_heads", values, words)?;
            self.map(gpu, &p, 1, gpu.at(&attended), gpu.at(&product))?;
            // The residual sum, and the norm after it, which is either the first's or the second's.
            let sum = self.before.then(|| gpu.floats(values)).transpose()?;
            let row = Row {
                x: gpu.at(&product),
                bias: Some(p[MAPS[1].1].at),
                bits: bits[1].as_ref(),
                base: Some(x),
                sum: sum.as_ref().map(|sum| gpu.at(sum)),
            };
            let middle = norm(usize::from(self.before));
            let (normed, fed) = row_norm(gpu, &row, middle, self.eps, of_norms)?;
            self.map(gpu, &p, 2, gpu.at(&fed), gpu.at(&inner))?;
            let n = rows * f;
            let words = words![gpu.at(&inner), p[MAPS[2].1].at, gpu.at(&hidden), self.gelu, f, n as u64];
            gpu.each("bias_act", n, words)?;
            self.map(gpu, &p, 3, gpu.at(&hidden), gpu.at(&product))?;
            let row = Row {
                x: gpu.at(&product),
                bias: Some(p[MAPS[3].1].at),
                bits: bits[2].as_ref(),
                base: Some(gpu.at(sum.as_ref().unwrap_or(&fed))),
                sum: None,
            };
            let (y, norms) = if let Some(first) = first {
                let y = gpu.floats(values)?;
                row_sum(gpu, &row, gpu.at(&y), of_norms)?;
                (y, [first, normed])
            } else {
                let (second, y) = row_norm(gpu, &row, norm(1), self.eps, of_norms)?;
                (y, [normed, second])
            };
            let kept = Kept { seen, qkv, weights, dropped, attended, norms, fed, inner, hidden, bits };
            Ok((y, kept))
        }
    }

    /// q, k and v of one head, the others after it.
    fn heads(&self, gpu: &Gpu, qkv: &CudaSlice<f32>) -> [Operand; 3] {
        let each = (self.sizes.values() * size_of::<f32>()) as u64;
        [0, 1, 2].map(|i| Operand::new(gpu.at(qkv) + i * each, self.sizes.l, self.sizes.d()))
    }

    /// Gives the parameters' gradients; that of x is returned.
    fn backward(&self, gpu: &Gpu, x: u64, kept: &Kept, dy: u64) -> Result<CudaSlice<f32>> {
        let Sizes { b, l, w, f, heads } = self.sizes;
        let (rows, values, d) = (self.sizes.rows(), self.sizes.values(), self.sizes.d());
        let of_norms = (rows, w);
        let p = self.held()?;
        let (dx, product, branch) = (gpu.floats(values)?, gpu.floats(values)?, gpu.floats(values)?);
        let (d_hidden, d_fed) = (gpu.floats(rows * f)?, gpu.floats(values)?);
        let give_norm = |i: usize, [scale, shift]: [CudaSlice<f32>; 2]| -> Result<()> {
            for (index, grad) in [(NORMS[i].0, scale), (NORMS[i].1, shift)] {
                let of = &self.parameters[index];
                if of.track_op() {
                    super::store_grad(of, gpu.tensor(grad, w))?;
                }
            }
            Ok(())
        };
        // Through the dropout of a branch: the result is `from` itself without dropout.
        let through = |i: usize, from: u64| -> Result<u64> {
            let Some(bits) = &kept.bits[i] else { return Ok(from) };
            let (drawn, keep) = Bits::arguments(gpu, Some(bits));
            let to = gpu.at(&branch);
            // SAFETY: both have a value per row and column, and there is a bit for each.
            unsafe { gpu.each("apply_bits", values, words![from, drawn, keep, to, values as u64])? };
            Ok(to)
        };
        // SAFETY: buffers are made for these sizes here and in the forward pass.
        unsafe {
            // `sum` is the gradient of the second residual sum, which is also what x or the first norm gets of it.
            let sum = gpu.floats(values)?;
            let at = if self.before {
                dy
            } else {
                let scale = p[NORMS[1].0].at;
                let grads = row_norm_back(gpu, dy, &kept.norms[1], scale, (gpu.at(&sum), false), of_norms)?;
                give_norm(1, grads)?;
                gpu.at(&sum)
            };
            let branched = through(2, at)?;
            self.map_back(gpu, &p, 3, (gpu.at(&kept.hidden), branched), (gpu.at(&d_hidden), false))?;
            let n = rows * f;
            let at_hidden = gpu.at(&d_hidden);
            let words = words![at_hidden, gpu.at(&kept.inner), at_hidden, self.gelu, n as u64];
            gpu.each("act_back", n, words)?;
            self.map_back(gpu, &p, 2, (gpu.at(&kept.fed), gpu.at(&d_hidden)), (gpu.at(&d_fed), false))?;
            let middle = usize::from(self.before);
            let scale = p[NORMS[middle].0].at;
            // The gradient of the first residual sum.
            let grads = if self.before {
                // The sum is also an operand of the second residual sum.
                gpu.each("copy", values, words![dy, gpu.at(&dx), values as u64])?;
                row_norm_back(gpu, gpu.at(&d_fed), &kept.norms[1], scale, (gpu.at(&dx), true), of_norms)?
            } else {
                gpu.each("join", values, words![gpu.at(&d_fed), at, values as u64])?;
                row_norm_back(gpu, gpu.at(&d_fed), &kept.norms[0], scale, (gpu.at(&dx), false), of_norms)?
            };
            give_norm(middle, grads)?;
            let branched = through(1, gpu.at(&dx))?;
            let d_attended = &d_fed;
            self.map_back(gpu, &p, 1, (gpu.at(&kept.attended), branched), (gpu.at(d_attended), false))?;
            let of_heads = &product;
            let words = words![gpu.at(d_attended), gpu.at(of_heads), l, heads, d, values as u64];
            gpu.each("to_heads", values, words)?;
            let [q, k, v] = self.heads(gpu, &kept.qkv);
            let d_qkv = gpu.floats(3 * values)?;
            let [dq, dk, dv] = self.heads(gpu, &d_qkv);
            let d_scores = gpu.floats(self.sizes.scores())?;
            let count = b * heads;
            let d_out = Operand::new(gpu.at(of_heads), l, d);
            let weighed = Operand::new(gpu.at(kept.dropped.as_ref().unwrap_or(&kept.weights)), l, l);
            gpu.products(self.precision, (weighed.t(), d_out), dv.at, count, (1.0, 0.0))?;
            gpu.products(self.precision, (d_out, v.t()), gpu.at(&d_scores), count, (1.0, 0.0))?;
            let (drawn, keep) = Bits::arguments(gpu, kept.bits[0].as_ref());
            let mask = hold(&self.mask)?;
            let (to, weights) = (gpu.at(&d_scores), gpu.at(&kept.weights));
            let words = words![to, weights, mask.at, drawn, keep, heads, l, count * l];
            gpu.rows("softmax_back", count * l, words)?;
            let scale = 1.0 / (d as f32).sqrt();
            let scores = Operand::new(gpu.at(&d_scores), l, l);
            gpu.products(self.precision, (scores, k), dq.at, count, (scale, 0.0))?;
            gpu.products(self.precision, (scores.t(), q), dk.at, count, (scale, 0.0))?;
            let packed = gpu.floats(3 * values)?;
            let words = words![gpu.at(&d_qkv), mask.at, gpu.at(&packed), l, heads, d, 3, values as u64];
            gpu.each("merge_heads", 3 * values, words)?;
            match &kept.seen {
                None => {
                    self.map_back(gpu, &p, 0, (x, gpu.at(&packed)), (gpu.at(&dx), true))?;
                }
                Some(seen) => {
                    let d_seen = gpu.at(&d_fed);
                    self.map_back(gpu, &p, 0, (gpu.at(seen), gpu.at(&packed)), (d_seen, false))?;
                    let scale = p[NORMS[0].0].at;
                    let grads =
                        row_norm_back(gpu, d_seen, &kept.norms[0], scale, (gpu.at(&dx), true), of_norms)?;
                    give_norm(0, grads)?;
                }
            }
        }
        Ok(dx)
    }
}

impl CustomOp1 for Encoder {
    fn name(&self) -> &'static str {
        "encoder_layer"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("encoder: expected tensors on a GPU")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&x.device)?;
        let (y, kept) = self.forward(&gpu, address::<f32>(x, layout)?)?;
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok((gpu.storage(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let gpu = Gpu::of(x)?;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = &*kept else { bail!("encoder: backward before forward") };
        let (held, grad) = (hold(x)?, hold(grad)?);
        let dx = self.backward(&gpu, held.at, kept, grad.at)?;
        Ok(if x.track_op() { crate::gradient::store_grad(x, gpu.tensor(dx, x.shape())) } else { None })
    }
}
