//! The forward pass, one picture at a time.

#![allow(unsafe_code, reason = "outputs are written in place before they have a length")]

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::blocked::{pack, unpack};
use super::geometry::Geometry;
use super::sweep::{Strides, Sweep};
use crate::host::{Scratch, Unwritten};
use crate::simd::{Kernel, LANES, Simd, dispatch};

pub(super) fn run(g: &Geometry, x: &[f32], weight: &[f32]) -> Vec<f32> {
    let weights = pack_weights(g, weight);
    let taps = taps(g);
    let mut y = Unwritten::new(g.n * g.o * g.oh * g.ow);
    y.room()
        .par_chunks_mut(g.o * g.oh * g.ow)
        .zip(x.par_chunks(g.c * g.h * g.w))
        .for_each(|(y, x)| dispatch(Picture { g, x, weights: &weights, taps: &taps, y }));
    // SAFETY: every picture's chunk was written in full.
    unsafe { y.written() }
}

/// Offsets of the taps in the padded input, in the weights' order.
pub(super) fn taps(g: &Geometry) -> Vec<usize> {
    let row = g.input_frame().row();
    (0..g.kh * g.kw).map(|k| k / g.kw * row + k % g.kw * LANES).collect()
}

/// `(o, c, kh, kw)` to `[o block][c block][tap][c][16 o]`, zeros in lanes without a channel.
fn pack_weights(g: &Geometry, weight: &[f32]) -> Vec<f32> {
    let taps = g.kh * g.kw;
    let mut packed = vec![0.0; g.o_blocks() * g.c * taps * LANES];
    for o in 0..g.o {
        for c in 0..g.c {
            for k in 0..taps {
                packed[packed_at(g.c, taps, o, c, k)] = weight[(o * g.c + c) * taps + k];
            }
        }
    }
    packed
}

/// Where the weight of `out`, `channel` (of `channels`) and tap `k` (of `taps`) stands in the packed order.
pub(super) fn packed_at(channels: usize, taps: usize, out: usize, channel: usize, k: usize) -> usize {
    let (o_block, lane) = (out / LANES, out % LANES);
    let block = channel / LANES;
    let width = (channels - block * LANES).min(LANES);
    ((o_block * channels + block * LANES) * taps + k * width + channel % LANES) * LANES + lane
}

struct Picture<'a> {
    g: &'a Geometry,
    x: &'a [f32],
    weights: &'a [f32],
    taps: &'a [usize],
    y: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Picture<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let g = self.g;
        let frame = g.input_frame();
        let pixels = g.oh * g.ow;
        let input_len = g.c_blocks() * frame.plane();
        let out_len = g.o_blocks() * pixels * LANES;
        let mut scratch = Scratch::take(input_len + out_len);
        let (input, out) = scratch[..input_len + out_len].split_at_mut(input_len);
        pack(s, self.x, (g.c, g.h, g.w), frame, (g.padding, g.padding), input);
        let sweep = Sweep {
            input,
            input_strides: Strides {
                block: frame.plane(),
                row: g.stride * frame.row(),
                pixel: g.stride * LANES,
            },
            channels: g.c,
            taps: self.taps,
            weights: self.weights,
            out_strides: Strides { block: pixels * LANES, row: g.ow * LANES, pixel: LANES },
            out_blocks: g.o_blocks(),
            rows: g.oh,
            pixels: g.ow,
        };
        sweep.run(s, out);
        assert_eq!(self.y.len(), g.o * pixels);
        // SAFETY: the room is asserted to be o · pixels values.
        unsafe { unpack(s, out, g.o, pixels, self.y.as_mut_ptr().cast()) };
    }
}
