//! Both passes of a [`ConvNet`] in blocks of sixteen channels.
//!
//! In the forward pass, a unit stores only its convolution's output: later nodes apply its norm, sum and ReLU
//! when they read it. Only a residual sum is stored, by its first reader, because two nodes read it. In the backward
//! pass, the convolution computes the gradient of the norm in the same way while it reads.

#![allow(unsafe_code, reason = "outputs are written in place before they have a length")]

use candle_core::{Result, Tensor, bail};

use super::graph::{ConvNet, ConvNorm, Node};
use super::pass::{self, Mask};
use crate::NormMode;
use crate::conv::geometry::{Geometry, Sizes};
use crate::conv::moments::Moments;
use crate::conv::source::{Affine, Backward, Keep, Pictures, Sink, Source, Term};
use crate::conv::{backward, forward};
use crate::host::{self, Unwritten};
use crate::simd::LANES;

/// Pictures that are evaluated together: enough for the threads, few enough for the caches.
const EVALUATED: usize = 64;

/// Mean and biased variance of a batch, per channel.
#[derive(Debug, Clone, Default)]
pub(super) struct Statistics {
    pub(super) count: f64,
    pub(super) mean: Vec<f64>,
    pub(super) var: Vec<f64>,
}

/// A unit after its forward pass.
struct Done {
    y: Vec<f32>,
    statistics: Statistics,
    /// 1 / √(variance + eps)
    inverse: Vec<f64>,
    affine: Affine,
}

/// Whether a unit's backward pass computes the gradient of the input.
enum Wanted {
    No,
    /// As the first term of the sum over its readers.
    Alone,
    /// Added to the gradients from other readers.
    AddedTo(Vec<f32>),
}

/// The gradients of a unit.
struct UnitGrads {
    /// Of the output, where the ReLU passes it.
    output: Vec<f32>,
    /// Of the input, added to the gradients from other readers.
    input: Option<Vec<f32>>,
    /// Of weight, scale and shift.
    parameters: [Tensor; 3],
}

/// What the backward pass needs. Entry v belongs to the v-th value.
pub(super) struct Kept {
    units: Vec<Option<Done>>,
    /// Values written out in blocks.
    whole: Vec<Option<Vec<f32>>>,
    /// Where each maximum of a pool was.
    picks: Vec<Option<Vec<f32>>>,
}

impl Kept {
    /// Unit by unit.
    pub(super) fn statistics(&self) -> Vec<Statistics> {
        self.units.iter().flatten().map(|done| done.statistics.clone()).collect()
    }
}

/// One pass over a batch.
pub(super) struct Pass<'a> {
    net: &'a ConvNet,
    sizes: &'a [Sizes],
    mode: NormMode,
}

impl<'a> Pass<'a> {
    pub(super) fn new(net: &'a ConvNet, sizes: &'a [Sizes], mode: NormMode) -> Result<Self> {
        if sizes.len() != net.nodes.len() + 1 {
            bail!("conv_net: {} sizes for {} nodes", sizes.len(), net.nodes.len());
        }
        Ok(Self { net, sizes, mode })
    }

    /// The features `(n, channels)`, a few pictures at a time, with nothing kept.
    pub(super) fn evaluate(&self, x: &[f32]) -> Result<Vec<f32>> {
        let mut features = Vec::new();
        let flat = self.sizes[0].flat();
        for pictures in x.chunks(EVALUATED * flat) {
            let n = pictures.len() / flat;
            let sizes: Vec<Sizes> = self.sizes.iter().map(|sizes| Sizes { n, ..*sizes }).collect();
            let pass = Pass { net: self.net, sizes: &sizes, mode: self.mode };
            features.extend(pass.forward(pictures)?.0);
        }
        Ok(features)
    }

    /// The features `(n, channels)` of planes `x`.
    pub(super) fn forward(&self, x: &[f32]) -> Result<(Vec<f32>, Kept)> {
        let values = self.sizes.len();
        let mut kept = Kept {
            units: std::iter::repeat_with(|| None).take(values).collect(),
            whole: vec![None; values],
            picks: vec![None; values],
        };
        for (index, node) in self.net.nodes.iter().enumerate() {
            let (input, value) = (node.input(), index + 1);
            match node {
                Node::Unit { unit, .. } => {
                    let done = self.unit(x, &mut kept, input, unit)?;
                    kept.units[value] = Some(done);
                }
                Node::MaxPool { kernel, stride, padding, .. } => {
                    let window = pass::Window { kernel: *kernel, stride: *stride, padding: *padding };
                    let (sizes, to) = (self.sizes[input], self.sizes[value]);
                    let (best, picks) =
                        self.read(x, &mut kept, input, |source| pass::max_pool(source, sizes, to, window))?;
                    kept.whole[value] = Some(best);
                    kept.picks[value] = Some(picks);
                }
                Node::Subsample { stride, before, .. } => {
                    let (sizes, to) = (self.sizes[input], self.sizes[value]);
                    self.write_out(x, &mut kept, input)?;
                    let whole = kept.whole[input].as_deref().unwrap_or_default();
                    kept.whole[value] = Some(pass::subsample(whole, sizes, to, *stride, *before));
                }
            }
        }
        let last = self.sizes[values - 1];
        let features = self.read(x, &mut kept, values - 1, |source| pass::average(source, last))?;
        Ok((features, kept))
    }

    fn unit(&self, x: &[f32], kept: &mut Kept, input: usize, unit: &ConvNorm) -> Result<Done> {
        let g = self.geometry(input, unit)?;
        let training = self.mode != NormMode::Eval;
        let (y, moments) = self.read(x, kept, input, |source| {
            host::with(unit.weight.as_tensor(), |weight| {
                let mut y = Unwritten::new(g.output().len());
                let moments = forward::run(&g, source, weight, Sink::Blocks(y.room()), training);
                // SAFETY: every picture was written.
                Ok((unsafe { y.written() }, moments))
            })
        })??;
        let statistics = if training { measured(&moments, g.o) } else { running(unit)? };
        let inverse: Vec<f64> = statistics.var.iter().map(|var| 1.0 / (var + unit.eps).sqrt()).collect();
        let affine = affine(unit, &statistics, &inverse)?;
        Ok(Done { y, statistics, inverse, affine })
    }

    fn geometry(&self, input: usize, unit: &ConvNorm) -> Result<Geometry> {
        let Sizes { n, c, h, w } = self.sizes[input];
        Geometry::new((n, c, h, w), unit.weight.dims4()?, unit.stride, unit.padding)
    }

    /// Calls `to` with the source of a value. A residual sum is stored while it is read.
    fn read<T>(
        &self,
        x: &[f32],
        kept: &mut Kept,
        value: usize,
        to: impl FnOnce(&Source<'_>) -> T,
    ) -> Result<T> {
        let pending = kept.whole[value].is_none() && self.residual(value).is_some();
        if let (true, Some(residual)) = (pending, self.residual(value))
            && self.term(kept, residual).is_none()
        {
            self.write_out(x, kept, residual)?;
        }
        let mut room = pending.then(|| Unwritten::new(self.sizes[value].len()));
        let keep = room.as_mut().map(|room| Pictures::new(room.room(), &self.sizes[value]));
        let Some(source) = self.source(x, kept, value, keep.as_ref().map(|keep| keep as &dyn Keep)) else {
            bail!("conv_net: value {value} is read before it is computed")
        };
        let out = to(&source);
        drop(keep);
        if let Some(room) = room {
            // SAFETY: every reader reads every picture, and reading wrote it.
            kept.whole[value] = Some(unsafe { room.written() });
        }
        Ok(out)
    }

    /// Writes a value out in blocks, unless it is written already.
    fn write_out(&self, x: &[f32], kept: &mut Kept, value: usize) -> Result<()> {
        if kept.whole[value].is_none() {
            let sizes = self.sizes[value];
            let whole = self.read(x, kept, value, |source| pass::copy(source, sizes))?;
            kept.whole[value] = Some(whole);
        }
        Ok(())
    }

    fn node(&self, value: usize) -> Option<&Node> {
        self.net.nodes.get(value.checked_sub(1)?)
    }

    fn residual(&self, value: usize) -> Option<usize> {
        match self.node(value)? {
            Node::Unit { residual, .. } => *residual,
            Node::MaxPool { .. } | Node::Subsample { .. } => None,
        }
    }

    fn relu(&self, value: usize) -> bool {
        matches!(self.node(value), Some(Node::Unit { relu: true, .. }))
    }

    fn source<'b>(
        &self,
        x: &'b [f32],
        kept: &'b Kept,
        value: usize,
        keep: Option<&'b dyn Keep>,
    ) -> Option<Source<'b>> {
        if let Some(whole) = &kept.whole[value] {
            let first = Term { data: whole, affine: None };
            return Some(Source::Blocks { first, second: None, relu: false, keep: None });
        }
        if value == 0 {
            return Some(Source::Planes(x));
        }
        let done = kept.units[value].as_ref()?;
        let first = Term { data: &done.y, affine: Some(&done.affine) };
        let second = match self.residual(value) {
            Some(residual) => Some(self.term(kept, residual)?),
            None => None,
        };
        Some(Source::Blocks { first, second, relu: self.relu(value), keep })
    }

    /// A value as a summand, where it is one without more work.
    fn term<'b>(&self, kept: &'b Kept, value: usize) -> Option<Term<'b>> {
        if let Some(whole) = &kept.whole[value] {
            return Some(Term { data: whole, affine: None });
        }
        let done = kept.units[value].as_ref()?;
        let plain = !self.relu(value) && self.residual(value).is_none();
        plain.then_some(Term { data: &done.y, affine: Some(&done.affine) })
    }

    /// The gradients of `x` in planes, where `want_input`, and of weight, scale and shift of every unit in turn.
    pub(super) fn backward(
        &self,
        x: &[f32],
        mut kept: Kept,
        grad: &[f32],
        want_input: bool,
    ) -> Result<(Option<Vec<f32>>, Vec<Tensor>)> {
        let values = self.sizes.len();
        let mut grads: Vec<Option<Vec<f32>>> = vec![None; values];
        grads[values - 1] = Some(pass::spread(grad, self.sizes[values - 1]));
        let mut params: Vec<[Tensor; 3]> = Vec::new();
        for (index, node) in self.net.nodes.iter().enumerate().rev() {
            let (input, value) = (node.input(), index + 1);
            let dz = grads[value].take();
            if let Node::Unit { unit, residual, .. } = node {
                // A value that nothing reads has a gradient of zero.
                let dz = dz.unwrap_or_else(|| vec![0.0; self.sizes[value].len()]);
                let want = match grads[input].take() {
                    _ if input == 0 && !want_input => Wanted::No,
                    Some(sum) => Wanted::AddedTo(sum),
                    None => Wanted::Alone,
                };
                let found = self.unit_grads(x, &kept, value, unit, dz, want)?;
                if let Some(dx) = found.input {
                    grads[input] = Some(dx);
                }
                if let Some(residual) = residual {
                    match &mut grads[*residual] {
                        Some(sum) => pass::add(sum, &found.output),
                        none => *none = Some(found.output),
                    }
                }
                params.push(found.parameters);
            } else if let (Some(dz), true) = (dz, input > 0 || want_input) {
                let dx = grads[input].get_or_insert_with(|| vec![0.0; self.sizes[input].len()]);
                let (sizes, to) = (self.sizes[input], self.sizes[value]);
                match node {
                    Node::MaxPool { .. } => {
                        let picks = kept.picks[value].as_deref().unwrap_or_default();
                        pass::max_pool_grad(&dz, picks, sizes, to, dx);
                    }
                    Node::Subsample { stride, before, .. } => {
                        pass::subsample_grad(&dz, sizes, to, *stride, *before, dx);
                    }
                    Node::Unit { .. } => {}
                }
            }
            // Nothing earlier reads it.
            kept.units[value] = None;
            kept.whole[value] = None;
            kept.picks[value] = None;
        }
        let dx = want_input.then(|| {
            let dx = grads[0].take().unwrap_or_else(|| vec![0.0; self.sizes[0].len()]);
            pass::to_planes(&dx, self.sizes[0])
        });
        Ok((dx, params.into_iter().rev().flatten().collect()))
    }

    /// The gradients of a unit from that of its value.
    fn unit_grads(
        &self,
        x: &[f32],
        kept: &Kept,
        value: usize,
        unit: &ConvNorm,
        mut dz: Vec<f32>,
        dx: Wanted,
    ) -> Result<UnitGrads> {
        let Some(done) = &kept.units[value] else { bail!("conv_net: backward before forward") };
        let input = self.net.nodes[value - 1].input();
        let g = self.geometry(input, unit)?;
        let mask = match (&kept.whole[value], self.relu(value)) {
            (_, false) => Mask::None,
            (Some(whole), true) => Mask::Whole(whole),
            (None, true) => Mask::Affine(&done.affine),
        };
        let mean = padded(done.statistics.mean.iter().map(|mean| *mean as f32), g.o_blocks());
        let sums = pass::reduce(&mut dz, &done.y, mask, &mean, self.sizes[value]);
        let backward = self.norm_backward(unit, done, &sums, mean)?;
        let of = |values: Vec<f32>| Tensor::from_vec(values, g.o, &candle_core::Device::Cpu);
        let shift = of(sums.iter().take(g.o).map(|(grad, _)| *grad as f32).collect())?;
        let scale = of(sums
            .iter()
            .zip(&done.inverse)
            .map(|((_, product), inverse)| (product * inverse) as f32)
            .collect())?;

        let Some(source) = self.source(x, kept, input, None) else {
            bail!("conv_net: the input of value {value} was freed")
        };
        let (mut sum, mut room) = match dx {
            Wanted::No => (None, None),
            Wanted::Alone => (None, Some(Unwritten::new(g.input().len()))),
            Wanted::AddedTo(sum) => (Some(sum), None),
        };
        let sink = match (&mut sum, &mut room) {
            (Some(sum), _) => Some(Sink::Add(sum)),
            (None, Some(room)) => Some(Sink::Blocks(room.room())),
            (None, None) => None,
        };
        let from = Source::Norm { grad: &dz, y: &done.y, backward: &backward };
        let weight = host::with(unit.weight.as_tensor(), |weight| {
            let dw = backward::run(&g, &source, weight, &from, sink, true);
            host::tensor(dw.unwrap_or_default(), unit.weight.shape())
        })?;
        // SAFETY: every picture was written.
        let dx = sum.or_else(|| room.map(|room| unsafe { room.written() }));
        Ok(UnitGrads { output: dz, input: dx, parameters: [weight, scale, shift] })
    }

    /// dy = gain (g − mean(g) − x̂ mean(g x̂)); with running statistics dy = gain g.
    fn norm_backward(
        &self,
        unit: &ConvNorm,
        done: &Done,
        sums: &[(f64, f64)],
        mean: Vec<f32>,
    ) -> Result<Backward> {
        let scale: Vec<f32> = unit.scale.as_detached_tensor().to_vec1()?;
        let blocks = mean.len() / LANES;
        let count = done.statistics.count;
        let coefficients =
            scale.iter().zip(&done.inverse).zip(sums).map(|((scale, inverse), (sum, product))| {
                let slope = f64::from(*scale) * inverse;
                if self.mode == NormMode::Eval {
                    return (slope, 0.0, 0.0);
                }
                (slope, -slope * sum / count, -slope * inverse * inverse * product / count)
            });
        let (slope, rest): (Vec<f64>, Vec<(f64, f64)>) = coefficients.map(|(a, b, c)| (a, (b, c))).unzip();
        let (drift, tilt): (Vec<f64>, Vec<f64>) = rest.into_iter().unzip();
        let lanes = |values: Vec<f64>| padded(values.into_iter().map(|value| value as f32), blocks);
        Ok(Backward { slope: lanes(slope), drift: lanes(drift), tilt: lanes(tilt), mean })
    }
}

fn measured(moments: &[Moments], channels: usize) -> Statistics {
    let moments = &moments[..channels];
    Statistics {
        count: moments[0].count,
        mean: moments.iter().map(|m| m.mean).collect(),
        var: moments.iter().map(|m| m.squares / m.count).collect(),
    }
}

fn running(unit: &ConvNorm) -> Result<Statistics> {
    let values = |var: &candle_core::Var| -> Result<Vec<f64>> {
        Ok(var.as_detached_tensor().to_vec1::<f32>()?.into_iter().map(f64::from).collect())
    };
    Ok(Statistics { count: 1.0, mean: values(&unit.running_mean)?, var: values(&unit.running_var)? })
}

fn affine(unit: &ConvNorm, statistics: &Statistics, inverse: &[f64]) -> Result<Affine> {
    let scale: Vec<f32> = unit.scale.as_detached_tensor().to_vec1()?;
    let shift: Vec<f32> = unit.shift.as_detached_tensor().to_vec1()?;
    let blocks = scale.len().div_ceil(LANES);
    let gain = || scale.iter().zip(inverse).map(|(scale, inverse)| f64::from(*scale) * inverse);
    let offset = gain()
        .zip(&statistics.mean)
        .zip(&shift)
        .map(|((gain, mean), shift)| (f64::from(*shift) - mean * gain) as f32);
    Ok(Affine { gain: padded(gain().map(|gain| gain as f32), blocks), offset: padded(offset, blocks) })
}

/// Filled up with zeros to whole blocks.
fn padded(values: impl Iterator<Item = f32>, blocks: usize) -> Vec<f32> {
    values.chain(std::iter::repeat(0.0)).take(blocks * LANES).collect()
}
