//! The input's share of the gates and its gradients, computed once for each row that is read.

#![allow(unsafe_code, reason = "outputs are written in place before they have a length")]

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::layer::{Kept, Layer};
use crate::buffer::Buffer;
use crate::host::Unwritten;
use crate::product::{Finish, Left, Right, Rows, Store, accumulate, product, sums_len};
use crate::rows::{RowsMut, put};
use crate::simd::{Simd, prefetch};

/// Rows that are multiplied at once, at most.
const ROWS: usize = 128;
/// The number of gradients of the next row that are prefetched.
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
        let mut store = Store::new(RowsMut::new(to, width), Some(bias));
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
    let each = rows.len().div_ceil(parts).max(1);
    let at_once = each.div_ceil(each.div_ceil(ROWS));
    let shares = shares(dx.room(), to_input.n, rows, each);
    let sums = rows.par_chunks(each).zip(shares).enumerate().map(|(part, (rows, mut share))| {
        share.clear(rows);
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
            product(
                rows.len(),
                Left::rows(dz.data, width),
                to_input,
                &mut Scatter { share: &mut share, rows },
            );
        }
        sums
    });
    let sums = sums.collect();
    // SAFETY: the shares cover all rows; those that are read came from the product, the others are zeros.
    (unsafe { dx.written() }, sums)
}

/// The rows of x's gradient that are left to one task.
struct Share<'a> {
    to: RowsMut<'a, MaybeUninit<f32>>,
    /// The first of them among all.
    first: usize,
}

impl Share<'_> {
    /// Fills the rows that are not read with zeros.
    fn clear(&mut self, read: &[u32]) {
        let mut read = read.iter().peekable();
        for row in 0..self.to.rows() {
            if read.next_if(|read| **read as usize == self.first + row).is_none() {
                self.to.row(row).fill(MaybeUninit::new(0.0));
            }
        }
    }
}

/// One share per `each` of the rows that are read, which are in ascending order. A share ends where the next begins.
fn shares<'a>(
    mut dx: &'a mut [MaybeUninit<f32>],
    columns: usize,
    rows: &[u32],
    each: usize,
) -> Vec<Share<'a>> {
    let mut shares = Vec::new();
    let mut first = 0;
    let next = rows.chunks(each).skip(1).map(|rows| rows[0] as usize);
    for end in next {
        let (share, rest) = dx.split_at_mut((end - first) * columns);
        shares.push(Share { to: RowsMut::new(share, columns), first });
        (dx, first) = (rest, end);
    }
    if rows.is_empty() {
        dx.fill(MaybeUninit::new(0.0));
    } else {
        shares.push(Share { to: RowsMut::new(dx, columns), first });
    }
    shares
}

/// The gradients of some rows of x.
struct Scatter<'a, 'b> {
    share: &'a mut Share<'b>,
    rows: &'a [u32],
}

impl Finish for Scatter<'_, '_> {
    #[inline(always)]
    fn put<S: Simd>(&mut self, s: S, row: usize, column: usize, v: S::V) {
        let row = self.rows[row] as usize - self.share.first;
        put(s, &mut self.share.to.row(row)[column..], v);
    }
}
