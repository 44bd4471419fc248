//! A sequence back through a layer.

#![allow(unsafe_code, reason = "rows are written by address; each block states its bounds")]

use super::forward::{Kept, head};
use super::layer::{Dims, Layer, Parameters};
use super::parts::{Activate, Dropped, LayerNormGrad, Residual, ScaleShift, Slope, Sums};
use crate::buffer::Buffer;
use crate::host::Shared;
use crate::product::{Left, Rows, Store, accumulate, product};
use crate::simd::dispatch;

/// Adds the sequence's share to `sums` and writes its rows of the input's gradient to `dx`.
///
/// # Safety
/// `dx` has room for the sequence's `(l, w)`, and nobody else writes there meanwhile.
pub(super) unsafe fn backward(
    layer: &Layer,
    sequence: usize,
    p: &Parameters,
    (x, dy): (&[f32], &[f32]),
    kept: &Kept,
    sums: &mut Sums,
    dx: Shared,
) {
    let Dims { l, w, f, heads, .. } = layer.dims;
    let size = l * w;
    let norm = |i: usize, dy: &[f32], residual: Option<&[f32]>, sums: &mut Sums, to: Shared| {
        let (normed, inverse) = (&kept.norms[i].rows, &kept.norms[i].inverse);
        dispatch(LayerNormGrad {
            dy,
            scale: p.norms[i][0],
            normed,
            inverse,
            residual,
            sums: &mut sums.norms[i],
            to,
        });
    };
    // What a norm gave out.
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
        norm(1, dy, None, sums, Shared(sum_grad.as_mut_ptr()));
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
        // SAFETY: l rows of w.
        let mut store = unsafe { Store::new(other.as_mut_ptr(), w, w, None) };
        product(l, Left::rows(d_inner, f), p.right(2), &mut store);
        norm(1, other, Some(dy), sums, Shared(first_grad.as_mut_ptr()));
    } else {
        let to = Shared(other.as_mut_ptr());
        let mut add = Residual { to, base: d_sum, columns: w, bias: None, bits: None };
        product(l, Left::rows(d_inner, f), p.right(2), &mut add);
        norm(0, other, None, sums, Shared(first_grad.as_mut_ptr()));
    }

    // The attention.
    let d_out: &[f32] = if dropped(1, first_grad, masked) { &masked[..] } else { &first_grad[..] };
    let (weight, bias) = &mut sums.maps[1];
    accumulate(layer.precision, l, Rows::new(d_out, w), Rows::new(&kept.attended, w), weight, Some(bias));
    // SAFETY: l rows of w.
    let mut store = unsafe { Store::new(other.as_mut_ptr(), w, w, None) };
    product(l, Left::rows(d_out, w), p.right(1), &mut store);
    let mut d_qkv = Buffer::take(3 * size);
    let d = w / heads;
    for (i, of_head) in kept.heads.iter().enumerate() {
        // SAFETY: the head's columns of query, key and value in l rows of 3w.
        unsafe {
            let out = [0, 1, 2].map(|part: usize| d_qkv.as_mut_ptr().add(part * w + i * d));
            let (y, dy) = (columns(&kept.attended, w, i * d, d), columns(other, w, i * d, d));
            head(layer, sequence, i, &kept.qkv).backward(y, dy, of_head, out, 3 * w);
        }
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
        // SAFETY: l rows of w.
        let mut store = unsafe { Store::new(other.as_mut_ptr(), w, w, None) };
        product(l, Left::rows(&d_qkv, 3 * w), p.right(0), &mut store);
        norm(0, other, Some(&first_grad[..]), sums, dx);
    } else {
        let mut add = Residual { to: dx, base: first_grad, columns: w, bias: None, bits: None };
        product(l, Left::rows(&d_qkv, 3 * w), p.right(0), &mut add);
    }
}

/// `count` columns from `at` on of rows of w.
fn columns(x: &[f32], w: usize, at: usize, count: usize) -> Rows<'_> {
    Rows { data: &x[at..], stride: w, columns: count }
}
