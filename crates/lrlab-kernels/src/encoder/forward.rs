//! The forward pass of one sequence.

use std::mem::MaybeUninit;

use super::layer::{Dims, Layer, Parameters};
use super::parts::{Activated, Residual};
use crate::attention::{self, Head};
use crate::buffer::Buffer;
use crate::dropout::Bits;
use crate::norm::LayerNormForward;
use crate::product::{Left, Rows, Store, product};
use crate::rows::{RowsMut, Slot};
use crate::simd::dispatch;

/// Intermediate results of a sequence that the backward pass reads.
pub(super) struct Kept {
    /// `(l, 3w)`
    pub(super) qkv: Buffer,
    /// The attention's output, `(l, w)`.
    pub(super) attended: Buffer,
    pub(super) heads: Vec<attention::Kept>,
    pub(super) norms: [Normed; 2],
    /// Before the activation, `(l, f)`.
    pub(super) inner: Buffer,
    /// Of the second and the third dropout.
    pub(super) bits: [Option<Bits>; 2],
}

/// A norm's rows before scale and shift, `(l, w)`, and what each was multiplied by.
pub(super) struct Normed {
    pub(super) rows: Buffer,
    pub(super) inverse: Buffer,
}

/// Writes the sequence's `(l, w)` to `y`.
pub(super) fn forward(
    layer: &Layer,
    sequence: usize,
    p: &Parameters,
    x: &[f32],
    y: &mut [MaybeUninit<f32>],
) -> Kept {
    let Dims { l, w, f, heads, .. } = layer.dims;
    let size = l * w;
    let normed = || Normed { rows: Buffer::take(size), inverse: Buffer::take(l) };
    let start = layer.start(sequence);
    let mut kept = Kept {
        qkv: Buffer::take(3 * size),
        attended: Buffer::take(size),
        heads: Vec::with_capacity(heads),
        norms: [normed(), normed()],
        inner: Buffer::take(l * f),
        bits: [1, 2].map(|i: usize| layer.dropouts[i].map(|drop| Bits::draw(drop, start, size))),
    };
    let mut fed = Buffer::take(size);
    let mut sum = Buffer::take(size);
    let seen: &[f32] = if layer.before {
        norm(layer, p, 0, x, &mut kept, &mut fed[..]);
        &fed[..]
    } else {
        x
    };
    let mut store = Store::new(RowsMut::new(&mut kept.qkv, 3 * w), Some(p.biases[0]));
    product(l, Left::rows(seen, w), p.right(0), &mut store);
    let attended = RowsMut::new(&mut kept.attended, w).split_columns(w / heads);
    for (head, attended) in attended.into_iter().enumerate() {
        kept.heads.push(self::head(layer, sequence, head, &kept.qkv).forward(attended));
    }
    let mut add = residual(layer, sequence, p, 1, x, &kept, &mut sum[..]);
    product(l, Left::rows(&kept.attended, w), p.right(1), &mut add);
    norm(layer, p, usize::from(layer.before), &sum, &mut kept, &mut fed[..]);
    let mut hidden = Buffer::take(l * f);
    let mut activated = Activated {
        inner: &mut kept.inner,
        to: &mut hidden,
        columns: f,
        bias: p.biases[2],
        gelu: layer.gelu,
    };
    product(l, Left::rows(&fed, w), p.right(2), &mut activated);
    if layer.before {
        product(l, Left::rows(&hidden, f), p.right(3), &mut residual(layer, sequence, p, 2, &sum, &kept, y));
    } else {
        let mut add = residual(layer, sequence, p, 2, &fed, &kept, &mut sum[..]);
        product(l, Left::rows(&hidden, f), p.right(3), &mut add);
        norm(layer, p, 1, &sum, &mut kept, y);
    }
    kept
}

/// Norm `i` of the rows of x.
fn norm<T: Slot>(layer: &Layer, p: &Parameters, i: usize, x: &[f32], kept: &mut Kept, to: &mut [T]) {
    let [scale, shift] = p.norms[i];
    let Normed { rows, inverse } = &mut kept.norms[i];
    let kept = Some((&mut rows[..], &mut inverse[..]));
    dispatch(LayerNormForward { x, scale, shift, eps: layer.eps, to, kept });
}

/// The residual sum after dropout `i`.
fn residual<'a, T: Slot>(
    layer: &Layer,
    sequence: usize,
    p: &Parameters<'a>,
    i: usize,
    base: &'a [f32],
    kept: &'a Kept,
    to: &'a mut [T],
) -> Residual<'a, T> {
    let bits = kept.bits[i - 1].as_ref().zip(layer.dropouts[i]);
    let bits = bits.map(|(bits, drop)| (bits, layer.start(sequence), drop.gain()));
    Residual { to: RowsMut::new(to, layer.dims.w), base, bias: Some(p.biases[2 * i - 1]), bits }
}

/// A head's columns of the sequence's `(l, 3w)`.
pub(super) fn head<'a>(layer: &'a Layer, sequence: usize, head: usize, qkv: &'a [f32]) -> Head<'a> {
    let Dims { l, w, heads, .. } = layer.dims;
    let d = w / heads;
    let rows = |part: usize| Rows { data: &qkv[part * w + head * d..], stride: 3 * w, columns: d };
    let draws = layer.dropouts[0].map(|drop| (drop, (sequence * heads + head) * l * l));
    Head {
        q: rows(0),
        k: rows(1),
        v: rows(2),
        keys: &layer.keys[sequence],
        length: l,
        precision: layer.precision,
        draws,
    }
}
