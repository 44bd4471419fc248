//! What the input adds to the gates, and its gradients: per row that is read, however often.

#![allow(unsafe_code, reason = "tasks write their rows of shared outputs")]

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::layer::{Kept, Layer};
use crate::buffer::Buffer;
use crate::host::{Shared, Unwritten};
use crate::norm::put;
use crate::product::{Finish, Left, Right, Rows, Store, accumulate, product, sums_len};
use crate::simd::{Simd, prefetch};

/// Rows that are multiplied at once, at most.
const ROWS: usize = 128;
/// Gradients of the next row that are asked for ahead.
const AHEAD: usize = 4;

/// Rows of `x` one after the other.
fn gather(x: &[f32], inputs: usize, rows: &[u32]) -> Buffer {
    let mut to = Buffer::take(rows.len() * inputs);
    for (to, row) in to.chunks_mut(inputs).zip(rows) {
        to.copy_from_slice(&x[*row as usize * inputs..][..inputs]);
    }
    to
}

/// `(rows read, 4 hp)`: the input's share of the gates, and the bias.
pub(super) fn project(layer: &Layer, x: &[f32], to_gates: Right, bias: &[f32]) -> Buffer {
    let (inputs, width) = (layer.sizes.inputs, layer.sizes.gates());
    let rows = layer.readers.rows();
    let mut to = Buffer::take(rows.len() * width);
    to.par_chunks_mut(ROWS * width).zip(rows.par_chunks(ROWS)).for_each(|(to, rows)| {
        let x = gather(x, inputs, rows);
        // SAFETY: the chunk is as many rows of `width` values.
        let mut store = unsafe { Store::new(to.as_mut_ptr(), width, width, Some(bias)) };
        product(rows.len(), Left::rows(&x, inputs), to_gates, &mut store);
    });
    to
}

/// Sums of the parameters' gradients.
pub(super) struct Sums {
    /// Of `w_ih`, `(4 hp, inputs)`, rows padded to whole vectors.
    pub(super) weight: Buffer,
    /// `(4 hp)`
    pub(super) bias: Buffer,
}

/// The gradients of x, where `to_input` has columns, and of the parameters, in at most `parts` parts. The groups went
/// back through time before.
pub(super) fn gradients(
    layer: &Layer,
    x: &[f32],
    kept: &[Kept],
    to_input: Right,
    parts: usize,
) -> (Vec<f32>, Vec<Sums>) {
    let (inputs, width) = (layer.sizes.inputs, layer.sizes.gates());
    let rows = layer.readers.rows();
    let mut dx = Unwritten::new(if to_input.n > 0 { x.len() } else { 0 });
    let to = Shared(dx.room().as_mut_ptr().cast());
    let each = rows.len().div_ceil(parts).max(1);
    let at_once = each.div_ceil(each.div_ceil(ROWS));
    let sums = rows.par_chunks(each).enumerate().map(|(part, rows)| {
        let [weight, bias] = sums_len(width, inputs).map(Buffer::zeros);
        let mut sums = Sums { weight, bias };
        let mut dz = Buffer::take(at_once * width);
        for (chunk, rows) in rows.chunks(at_once).enumerate() {
            let first = part * each + chunk * at_once;
            let dz = &mut dz[..rows.len() * width];
            let readers = |slot: usize| {
                layer.readers.of(first + slot).iter().map(|place| {
                    let (group, row) = layer.kept_at(*place);
                    &kept[group].gates[row * width..][..width]
                })
            };
            for (slot, dz) in dz.chunks_mut(width).enumerate() {
                if slot + 1 < rows.len() {
                    readers(slot + 1).take(AHEAD).for_each(prefetch);
                }
                let mut readers = readers(slot);
                if let Some(reader) = readers.next() {
                    dz.copy_from_slice(reader);
                }
                for reader in readers {
                    dz.iter_mut().zip(reader).for_each(|(d, r)| *d += r);
                }
            }
            let x = gather(x, inputs, rows);
            let (dz, x) = (Rows::new(dz, width), Rows::new(&x, inputs));
            accumulate(layer.precision, rows.len(), dz, x, &mut sums.weight, Some(&mut sums.bias));
            product(rows.len(), Left::rows(dz.data, width), to_input, &mut Scatter { to, rows, inputs });
        }
        sums
    });
    let sums = sums.collect();
    dx.room().par_chunks_mut(ROWS * inputs).enumerate().for_each(|(chunk, dx)| {
        let first = chunk * ROWS;
        let mut read = rows[rows.partition_point(|row| (*row as usize) < first)..].iter().peekable();
        for (row, dx) in dx.chunks_mut(inputs).enumerate() {
            if read.next_if(|read| **read as usize == first + row).is_none() {
                dx.fill(MaybeUninit::new(0.0));
            }
        }
    });
    // SAFETY: the tasks wrote the rows that are read, and the others are zeros.
    (unsafe { dx.written() }, sums)
}

/// The gradients of some rows of x.
struct Scatter<'a> {
    to: Shared,
    rows: &'a [u32],
    inputs: usize,
}

impl Finish for Scatter<'_> {
    #[inline(always)]
    fn put<S: Simd>(&mut self, s: S, row: usize, column: usize, v: S::V) {
        let at = self.rows[row] as usize * self.inputs;
        // SAFETY: a row of the gradient, which is as large as x and which no other task writes.
        unsafe { put(s, self.to, at + column, self.inputs - column, v) };
    }
}
