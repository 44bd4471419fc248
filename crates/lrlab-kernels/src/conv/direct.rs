//! Convolutions of any kernel and stride, tap by tap, one picture at a time.

#![allow(unsafe_code, reason = "loads by address; bounds are asserted once per picture")]

use super::geometry::{Frame, Geometry};
use super::source::Place;
use super::sweep::{Strides, Sweep};
use crate::microkernel::{Extent, Operands, Tiles, strip};
use crate::simd::{LANES, Simd};

/// Offsets of the taps in the padded input, in the weights' order.
pub(super) fn taps(g: &Geometry) -> Vec<usize> {
    let row = g.input_frame().row();
    (0..g.kh * g.kw).map(|k| k / g.kw * row + k % g.kw * LANES).collect()
}

/// `(o, c, kh, kw)` to `[o block][c block][tap][c][16 o]`, zeros in lanes without a channel.
pub(super) fn pack_weights(g: &Geometry, weight: &[f32]) -> Vec<f32> {
    let taps = g.kh * g.kw;
    let mut packed = vec![0.0; packed_len(g)];
    for o in 0..g.o {
        for c in 0..g.c {
            for k in 0..taps {
                packed[packed_at(g.c, taps, o, c, k)] = weight[(o * g.c + c) * taps + k];
            }
        }
    }
    packed
}

/// The inverse of [`pack_weights`].
pub(super) fn unpack_weights(g: &Geometry, packed: &[f32]) -> Vec<f32> {
    let taps = g.kh * g.kw;
    let mut weight = Vec::with_capacity(g.o * g.c * taps);
    for o in 0..g.o {
        for c in 0..g.c {
            weight.extend((0..taps).map(|k| packed[packed_at(g.c, taps, o, c, k)]));
        }
    }
    weight
}

/// Values of the packed weights.
pub(super) fn packed_len(g: &Geometry) -> usize {
    g.o_blocks() * LANES * g.c * g.kh * g.kw
}

/// The index of the weight of `out`, `channel` (of `channels`) and tap `k` (of `taps`) in the packed order.
fn packed_at(channels: usize, taps: usize, out: usize, channel: usize, k: usize) -> usize {
    let (o_block, lane) = (out / LANES, out % LANES);
    let block = channel / LANES;
    let width = (channels - block * LANES).min(LANES);
    ((o_block * channels + block * LANES) * taps + k * width + channel % LANES) * LANES + lane
}

/// One picture's output in blocks from its frame.
#[inline(always)]
pub(super) fn forward<S: Simd>(
    s: S,
    g: &Geometry,
    input: &[f32],
    taps: &[usize],
    weights: &[f32],
    out: &mut [f32],
) {
    let frame = g.input_frame();
    let sweep = Sweep {
        input,
        input_strides: Strides { block: frame.plane(), row: g.stride * frame.row(), pixel: g.stride * LANES },
        channels: g.c,
        taps,
        weights,
        out_strides: Strides { block: g.output().plane(), row: g.ow * LANES, pixel: LANES },
        out_blocks: g.o_blocks(),
        rows: g.oh,
        pixels: g.ow,
    };
    sweep.run(s, out);
}

/// Input pixels (s a + y, s b + x) for one (y, x): they see the same taps.
struct Phase {
    y: usize,
    x: usize,
    /// Row and column of the gradient that each tap reads, relative to (a, b).
    reach: Vec<(isize, isize)>,
    weights: Vec<f32>,
}

/// What both gradients need besides the picture.
pub(super) struct Backward {
    phases: Vec<Phase>,
    /// The gradient's position in its frame, which is large enough for every tap of every phase.
    pub(super) place: Place,
    taps: Vec<usize>,
}

impl Backward {
    pub(super) fn new(g: &Geometry, weight: &[f32], want_input: bool) -> Self {
        let phases = if want_input { phases(g, weight) } else { Vec::new() };
        Self { place: place(g, &phases), phases, taps: taps(g) }
    }

    /// The input's gradient in blocks from the gradient's frame.
    #[inline(always)]
    pub(super) fn input_grad<S: Simd>(&self, s: S, g: &Geometry, grad: &[f32], dx: &mut [f32]) {
        let (row, plane) = (self.place.frame.row(), self.place.frame.plane());
        for phase in &self.phases {
            let at = |(dy, dx): &(isize, isize)| {
                (self.place.top as isize + dy) as usize * row
                    + (self.place.left as isize + dx) as usize * LANES
            };
            let taps: Vec<usize> = phase.reach.iter().map(at).collect();
            let sweep = Sweep {
                input: grad,
                input_strides: Strides { block: plane, row, pixel: LANES },
                channels: g.o,
                taps: &taps,
                weights: &phase.weights,
                out_strides: Strides {
                    block: g.input().plane(),
                    row: g.stride * g.w * LANES,
                    pixel: g.stride * LANES,
                },
                out_blocks: g.c_blocks(),
                rows: (g.h - phase.y).div_ceil(g.stride),
                pixels: (g.w - phase.x).div_ceil(g.stride),
            };
            sweep.run(s, &mut dx[(phase.y * g.w + phase.x) * LANES..]);
        }
    }

    /// dw[o block][c block][tap][c][16 o] += Σ over pixels of x · grad
    #[inline(always)]
    pub(super) fn weight_grad<S: Simd>(&self, s: S, g: &Geometry, x: &[f32], grad: &[f32], dw: &mut [f32]) {
        let (frame, grad_frame) = (g.input_frame(), self.place.frame);
        let mut out = 0;
        for o_block in 0..g.o_blocks() {
            let grad = &grad[o_block * grad_frame.plane()..][..grad_frame.plane()];
            for c_block in 0..g.c_blocks() {
                let x = &x[c_block * frame.plane()..][..frame.plane()];
                let count = (g.c - c_block * LANES).min(LANES);
                let dw = &mut dw[out..][..self.taps.len() * count * LANES];
                out += dw.len();
                if count == LANES {
                    for (tap, dw) in self.taps.iter().zip(dw.chunks_exact_mut(LANES * LANES)) {
                        Outer { g, place: self.place, x: &x[*tap..], grad, dw }.run(s, count);
                    }
                } else {
                    let offsets: Vec<usize> =
                        self.taps.iter().flat_map(|tap| (0..count).map(move |c| tap + c)).collect();
                    Scattered { g, place: self.place, x, offsets: &offsets, grad, dw }.run(s);
                }
            }
        }
    }
}

/// dw[c][16] += Σ over pixels of x[pixel][c] · grad[pixel][16]
struct Outer<'a> {
    g: &'a Geometry,
    place: Place,
    /// A plane of the input's frame, from the pixel on that the tap reads first.
    x: &'a [f32],
    /// A plane of the gradient's frame.
    grad: &'a [f32],
    dw: &'a mut [f32],
}

impl Outer<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S, channels: usize) {
        let Self { g, place: Place { frame, top, left }, x, grad, ref dw } = self;
        let last = (g.oh - 1) * g.stride * g.input_frame().row() + (g.ow - 1) * g.stride * LANES;
        assert!(dw.len() >= channels * LANES && last + channels <= x.len());
        assert!(top + g.oh <= frame.height && left + g.ow <= frame.width && grad.len() >= frame.plane());
        let extent = Extent { rows: channels, vectors: 1, twelve: false };
        // SAFETY: the asserts above bound every address.
        unsafe { strip::<S, _, 1>(s, &mut self, extent, 0) };
    }
}

impl Tiles for Outer<'_> {
    #[inline(always)]
    unsafe fn tile<S: Simd, const R: usize, const V: usize>(&mut self, s: S, channel: usize, _: usize) {
        let Self { g, place: Place { frame, top, left }, x, grad, .. } = *self;
        let mut sums = [[s.zero(); V]; R];
        // SAFETY: `run` asserted the bounds.
        unsafe {
            let dw = self.dw.as_mut_ptr().add(channel * LANES);
            for (r, sums) in sums.iter_mut().enumerate() {
                sums[0] = s.load(dw.add(r * LANES));
            }
            for row in 0..g.oh {
                let operands = Operands {
                    left: x.as_ptr().add(row * g.stride * g.input_frame().row() + channel),
                    row: 1,
                    left_step: g.stride * LANES,
                    right: grad.as_ptr().add(((top + row) * frame.width + left) * LANES),
                    vector: 0,
                    right_step: LANES,
                };
                operands.accumulate::<S, false, R, V>(s, g.ow, &mut sums);
            }
            for (r, sums) in sums.iter().enumerate() {
                s.store(dw.add(r * LANES), sums[0]);
            }
        }
    }
}

/// As [`Outer`], for a few channels of many taps: dw[r][16] += Σ over pixels of x[pixel + offset r] · grad[pixel][16]. A
/// tile has rows of several taps, so that its sums do not wait for one another.
struct Scattered<'a> {
    g: &'a Geometry,
    place: Place,
    /// A plane of the input's frame.
    x: &'a [f32],
    offsets: &'a [usize],
    /// A plane of the gradient's frame.
    grad: &'a [f32],
    dw: &'a mut [f32],
}

impl Scattered<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let Self { g, place: Place { frame, top, left }, x, offsets, grad, ref dw } = self;
        let last = (g.oh - 1) * g.stride * g.input_frame().row() + (g.ow - 1) * g.stride * LANES;
        assert!(dw.len() == offsets.len() * LANES && offsets.iter().all(|offset| last + offset < x.len()));
        assert!(top + g.oh <= frame.height && left + g.ow <= frame.width && grad.len() >= frame.plane());
        let extent = Extent { rows: offsets.len(), vectors: 1, twelve: false };
        // SAFETY: the asserts above bound every address.
        unsafe { strip::<S, _, 1>(s, &mut self, extent, 0) };
    }
}

impl Tiles for Scattered<'_> {
    #[inline(always)]
    unsafe fn tile<S: Simd, const R: usize, const V: usize>(&mut self, s: S, first: usize, _: usize) {
        let Self { g, place: Place { frame, top, left }, x, offsets, grad, .. } = *self;
        let offsets = &offsets[first..][..R];
        let mut sums = [s.zero(); R];
        // SAFETY: `run` asserted the bounds.
        unsafe {
            let dw = self.dw.as_mut_ptr().add(first * LANES);
            for (r, sum) in sums.iter_mut().enumerate() {
                *sum = s.load(dw.add(r * LANES));
            }
            for row in 0..g.oh {
                let mut from = x.as_ptr().add(row * g.stride * g.input_frame().row());
                let mut grad = grad.as_ptr().add(((top + row) * frame.width + left) * LANES);
                for _ in 0..g.ow {
                    let pixel = s.load(grad);
                    for (sum, offset) in sums.iter_mut().zip(offsets) {
                        *sum = s.fma(s.splat(*from.add(*offset)), pixel, *sum);
                    }
                    (from, grad) = (from.wrapping_add(g.stride * LANES), grad.wrapping_add(LANES));
                }
            }
            for (r, sum) in sums.iter().enumerate() {
                s.store(dw.add(r * LANES), *sum);
            }
        }
    }
}

/// From i + p − k = s · o follows, for i = s a + y: o = a + (y + p − k) / s, for the k that divide.
fn phases(g: &Geometry, weight: &[f32]) -> Vec<Phase> {
    let s = g.stride as isize;
    let fitting = |phase: usize, kernel: usize| -> Vec<(usize, isize)> {
        (0..kernel)
            .map(|k| (k, (phase + g.padding) as isize - k as isize))
            .filter(|(_, distance)| distance % s == 0)
            .map(|(k, distance)| (k, distance / s))
            .collect()
    };
    let mut phases = Vec::new();
    for y in 0..g.stride.min(g.h) {
        for x in 0..g.stride.min(g.w) {
            let (rows, columns) = (fitting(y, g.kh), fitting(x, g.kw));
            let count = rows.len() * columns.len();
            let mut weights = vec![0.0; g.c_blocks() * g.o * count * LANES];
            let mut reach = Vec::with_capacity(count);
            for (kh, dy) in &rows {
                for (kw, dx) in &columns {
                    for o in 0..g.o {
                        for c in 0..g.c {
                            weights[packed_at(g.o, count, c, o, reach.len())] =
                                weight[((o * g.c + c) * g.kh + kh) * g.kw + kw];
                        }
                    }
                    reach.push((*dy, *dx));
                }
            }
            phases.push(Phase { y, x, reach, weights });
        }
    }
    phases
}

fn place(g: &Geometry, phases: &[Phase]) -> Place {
    let reaches = || phases.iter().flat_map(|phase| &phase.reach);
    let side = |of: fn(&(isize, isize)) -> isize, size: usize, grad: usize| {
        let low = reaches().map(of).min().unwrap_or(0).min(0).unsigned_abs();
        let high = reaches().map(of).max().unwrap_or(0).max(0) as usize;
        let last = (size - 1) / g.stride;
        (low, low + grad.max(last + high + 1))
    };
    let (top, height) = side(|r| r.0, g.h, g.oh);
    let (left, width) = side(|r| r.1, g.w, g.ow);
    Place { frame: Frame { height, width }, top, left }
}
