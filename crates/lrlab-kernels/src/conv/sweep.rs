//! The innermost loops of the direct method: tiles of output pixels times output channels, over taps and input
//! channels.

#![allow(unsafe_code, reason = "loads by address in the innermost loop; bounds are asserted once per sweep")]

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
        let mut block = 0;
        while block < self.out_blocks {
            let pair = S::TILE >= 16 && block + 2 <= self.out_blocks;
            for row in 0..self.rows {
                // SAFETY: the asserts above cover every tile.
                unsafe {
                    if pair {
                        self.row::<S, 2>(s, out, block, row);
                    } else {
                        self.row::<S, 1>(s, out, block, row);
                    }
                }
            }
            block += if pair { 2 } else { 1 };
        }
    }

    fn weights_per_block(&self) -> usize {
        self.channels * self.taps.len() * LANES
    }

    #[inline(always)]
    unsafe fn row<S: Simd, const B: usize>(&self, s: S, out: &mut [f32], block: usize, row: usize) {
        let mut at = 0;
        while at < self.pixels {
            let left = self.pixels - at;
            // SAFETY: each tile lies within the sweep, whose bounds the caller asserted.
            unsafe {
                at += match left {
                    16.. if B == 1 && S::TILE >= 16 => self.tile::<S, B, 16>(s, out, block, row, at),
                    8.. if S::TILE >= 16 => self.tile::<S, B, 8>(s, out, block, row, at),
                    4.. => self.tile::<S, B, 4>(s, out, block, row, at),
                    2.. => self.tile::<S, B, 2>(s, out, block, row, at),
                    _ => self.tile::<S, B, 1>(s, out, block, row, at),
                };
            }
        }
    }

    /// B blocks of output channels times P pixels.
    #[inline(always)]
    unsafe fn tile<S: Simd, const B: usize, const P: usize>(
        &self,
        s: S,
        out: &mut [f32],
        block: usize,
        row: usize,
        pixel: usize,
    ) -> usize {
        let per_block = self.weights_per_block();
        let step = self.input_strides.pixel;
        let mut sums = [[s.zero(); P]; B];
        // SAFETY: all addresses are within the slices, as asserted in `run`.
        unsafe {
            let input = self.input.as_ptr().add(row * self.input_strides.row + pixel * step);
            let mut weights = self.weights.as_ptr().add(block * per_block);
            let mut channels = self.channels;
            let mut plane = input;
            while channels > 0 {
                let count = channels.min(LANES);
                for tap in self.taps {
                    let from = plane.add(*tap);
                    for channel in 0..count {
                        let w: [S::V; B] = std::array::from_fn(|b| s.load(weights.add(b * per_block)));
                        #[expect(clippy::needless_range_loop, reason = "two indices, unrolled in registers")]
                        for p in 0..P {
                            let x = s.splat(*from.add(p * step + channel));
                            for b in 0..B {
                                sums[b][p] = s.fma(w[b], x, sums[b][p]);
                            }
                        }
                        weights = weights.add(LANES);
                    }
                }
                channels -= count;
                plane = plane.wrapping_add(self.input_strides.block);
            }
            let to = out.as_mut_ptr().add(
                block * self.out_strides.block + row * self.out_strides.row + pixel * self.out_strides.pixel,
            );
            for (b, sums) in sums.iter().enumerate() {
                for (p, sum) in sums.iter().enumerate() {
                    s.store(to.add(b * self.out_strides.block + p * self.out_strides.pixel), *sum);
                }
            }
        }
        P
    }
}
