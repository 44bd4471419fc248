//! The innermost loops of the direct method: tiles of output pixels times output channels, over taps and input
//! channels.

#![allow(unsafe_code, reason = "loads by address in the innermost loop; bounds are asserted once per sweep")]

use crate::microkernel::{Extent, Operands, Tiles, strip};
use crate::simd::{LANES, Simd};

/// Strides, in values, of a blocked array.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strides {
    pub(crate) block: usize,
    pub(crate) row: usize,
    pub(crate) pixel: usize,
}

/// out[block][row][pixel] = Σ over taps and channels of input[row, pixel, tap, channel] · weights.
///
/// `weights` are `[out block][in block][tap][channel][16]`, channels without padding lanes.
pub(crate) struct Sweep<'a> {
    pub(crate) input: &'a [f32],
    pub(crate) input_strides: Strides,
    pub(crate) channels: usize,
    /// Where each tap reads, relative to the pixel.
    pub(crate) taps: &'a [usize],
    pub(crate) weights: &'a [f32],
    pub(crate) out_strides: Strides,
    pub(crate) out_blocks: usize,
    pub(crate) rows: usize,
    pub(crate) pixels: usize,
}

impl Sweep<'_> {
    /// Writes every output pixel of the sweep.
    #[inline(always)]
    pub(crate) fn run<S: Simd>(&self, s: S, out: &mut [f32]) {
        if self.rows == 0 || self.pixels == 0 {
            return;
        }
        let last = |strides: Strides, blocks: usize| {
            (blocks - 1) * strides.block + (self.rows - 1) * strides.row + (self.pixels - 1) * strides.pixel
        };
        let deepest = self.taps.iter().max().map_or(0, |tap| tap + LANES);
        assert!(last(self.input_strides, self.channels.div_ceil(LANES)) + deepest <= self.input.len());
        assert!(last(self.out_strides, self.out_blocks) + LANES <= out.len());
        assert!(self.out_blocks * self.weights_per_block() <= self.weights.len());
        let extent = Extent { rows: self.pixels, vectors: self.out_blocks, twelve: false };
        let mut vector = 0;
        while vector < self.out_blocks {
            let pair = S::TILE >= 16 && vector + 2 <= self.out_blocks;
            for row in 0..self.rows {
                let mut line = Line { sweep: self, row, out: &mut *out };
                // SAFETY: the asserts above cover every tile.
                unsafe {
                    if pair {
                        strip::<S, _, 2>(s, &mut line, extent, vector);
                    } else {
                        strip::<S, _, 1>(s, &mut line, extent, vector);
                    }
                }
            }
            vector += if pair { 2 } else { 1 };
        }
    }

    fn weights_per_block(&self) -> usize {
        self.channels * self.taps.len() * LANES
    }
}

/// A row of output pixels.
struct Line<'a> {
    sweep: &'a Sweep<'a>,
    row: usize,
    out: &'a mut [f32],
}

impl Tiles for Line<'_> {
    #[inline(always)]
    unsafe fn tile<S: Simd, const R: usize, const V: usize>(&mut self, s: S, pixel: usize, block: usize) {
        let Sweep { input_strides, out_strides, taps, .. } = *self.sweep;
        let per_block = self.sweep.weights_per_block();
        let mut sums = [[s.zero(); V]; R];
        // SAFETY: all addresses are within the slices, as asserted in `run`.
        unsafe {
            let at = self.row * input_strides.row + pixel * input_strides.pixel;
            let mut plane = self.sweep.input.as_ptr().add(at);
            let mut right = self.sweep.weights.as_ptr().add(block * per_block);
            let mut channels = self.sweep.channels;
            while channels > 0 {
                let count = channels.min(LANES);
                for tap in taps {
                    let operands = Operands {
                        left: plane.add(*tap),
                        row: input_strides.pixel,
                        left_step: 1,
                        right,
                        vector: per_block,
                        right_step: LANES,
                    };
                    operands.accumulate::<S, false, R, V>(s, count, &mut sums);
                    right = right.add(count * LANES);
                }
                channels -= count;
                plane = plane.wrapping_add(input_strides.block);
            }
            let to = block * out_strides.block + self.row * out_strides.row + pixel * out_strides.pixel;
            let to = self.out.as_mut_ptr().add(to);
            for (r, sums) in sums.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    s.store(to.add(v * out_strides.block + r * out_strides.pixel), *sum);
                }
            }
        }
    }
}
