//! The backward pass of one sequence.

use std::mem::MaybeUninit;

use super::forward::{Kept, head};
use super::layer::{Dims, Layer, Parameters};
use super::parts::{Activate, Dropped, Residual, ScaleShift, Slope, Sums};
use crate::buffer::Buffer;
use crate::norm::{LayerNormBackward, NormedRows};
use crate::product::{Left, Rows, Store, accumulate, product};
use crate::rows::{RowsMut, Slot};
use crate::simd::dispatch;

/// Adds the sequence's share to `sums` and writes its rows of the input's gradient to `dx`.
pub(super) fn backward(
    layer: &Layer,
    sequence: usize,
    p: &Parameters,
    (x, dy): (&[f32], &[f32]),
    kept: &Kept,
    sums: &mut Sums,
    dx: &mut [MaybeUninit<f32>],
) {
    let Dims { l, w, f, heads, .. } = layer.dims;
    let size = l * w;
    // The output of a norm.
    let given = |i: usize, to: &mut [f32]| {
        let [scale, shift] = p.norms[i];
        dispatch(ScaleShift { normed: &kept.norms[i].rows, scale, shift, to });
    };
    let dropped = |i: usize, grad: &[f32], to: &mut Buffer| {
        let (Some(bits), Some(drop)) = (&kept.bits[i - 1], layer.dropouts[i]) else { return false };
        dispatch(Dropped { grad, bits, start: layer.start(sequence), gain: drop.gain(), to });
        true
    };
    let mut buffers = [(); 4].map(|()| Buffer::take(size));
    let [sum_grad, masked, other, first_grad] = &mut buffers;

    // The linear maps.
    let d_sum: &[f32] = if layer.before {
        dy
    } else {
        norm_grad(p, kept, 1, (dy, None), sums, &mut sum_grad[..]);
        &sum_grad[..]
    };
    let d_out: &[f32] = if dropped(2, d_sum, masked) { &masked[..] } else { d_sum };
    let mut hidden = Buffer::take(l * f);
    dispatch(Activate { inner: &kept.inner, gelu: layer.gelu, to: &mut hidden });
    let (weight, bias) = &mut sums.maps[3];
    accumulate(layer.precision, l, Rows::new(d_out, w), Rows::new(&hidden, f), weight, Some(bias));
    let mut slope = Slope { inner: &kept.inner, to: &mut hidden, columns: f, gelu: layer.gelu };
    product(l, Left::rows(d_out, w), p.right(3), &mut slope);
    let d_inner = &hidden[..];
    given(usize::from(layer.before), other);
    let (weight, bias) = &mut sums.maps[2];
    accumulate(layer.precision, l, Rows::new(d_inner, f), Rows::new(other, w), weight, Some(bias));
    if layer.before {
        let mut store = Store::new(RowsMut::new(other, w), None);
        product(l, Left::rows(d_inner, f), p.right(2), &mut store);
        norm_grad(p, kept, 1, (other, Some(dy)), sums, &mut first_grad[..]);
    } else {
        let mut add = Residual { to: RowsMut::new(other, w), base: d_sum, bias: None, bits: None };
        product(l, Left::rows(d_inner, f), p.right(2), &mut add);
        norm_grad(p, kept, 0, (other, None), sums, &mut first_grad[..]);
    }

    // The attention.
    let d_out: &[f32] = if dropped(1, first_grad, masked) { &masked[..] } else { &first_grad[..] };
    let (weight, bias) = &mut sums.maps[1];
    accumulate(layer.precision, l, Rows::new(d_out, w), Rows::new(&kept.attended, w), weight, Some(bias));
    let mut store = Store::new(RowsMut::new(other, w), None);
    product(l, Left::rows(d_out, w), p.right(1), &mut store);
    let mut d_qkv = Buffer::take(3 * size);
    let d = w / heads;
    let mut dq = RowsMut::new(&mut d_qkv, 3 * w).split_columns(d);
    let mut dk = dq.split_off(heads);
    let dv = dk.split_off(heads);
    for (i, (of_head, ((dq, dk), dv))) in kept.heads.iter().zip(dq.into_iter().zip(dk).zip(dv)).enumerate() {
        let (y, dy) = (columns(&kept.attended, w, i * d, d), columns(other, w, i * d, d));
        head(layer, sequence, i, &kept.qkv).backward(y, dy, of_head, [dq, dk, dv]);
    }
    let seen: &[f32] = if layer.before {
        given(0, other);
        &other[..]
    } else {
        x
    };
    let (weight, bias) = &mut sums.maps[0];
    accumulate(layer.precision, l, Rows::new(&d_qkv, 3 * w), Rows::new(seen, w), weight, Some(bias));
    if layer.before {
        let mut store = Store::new(RowsMut::new(other, w), None);
        product(l, Left::rows(&d_qkv, 3 * w), p.right(0), &mut store);
        norm_grad(p, kept, 0, (other, Some(&first_grad[..])), sums, dx);
    } else {
        let mut add = Residual { to: RowsMut::new(dx, w), base: first_grad, bias: None, bits: None };
        product(l, Left::rows(&d_qkv, 3 * w), p.right(0), &mut add);
    }
}

/// The gradient of norm `i`'s input from `dy`, plus a residual where there is one.
fn norm_grad<T: Slot>(
    p: &Parameters,
    kept: &Kept,
    i: usize,
    (dy, residual): (&[f32], Option<&[f32]>),
    sums: &mut Sums,
    to: &mut [T],
) {
    let (normed, inverse) = (&kept.norms[i].rows, &kept.norms[i].inverse);
    let sums = &mut sums.norms[i];
    let normed = NormedRows::Kept(normed, inverse);
    dispatch(LayerNormBackward { dy, scale: p.norms[i][0], normed, residual, sums, to });
}

/// `count` columns from `at` on of rows of w.
fn columns(x: &[f32], w: usize, at: usize, count: usize) -> Rows<'_> {
    Rows { data: &x[at..], stride: w, columns: count }
}
