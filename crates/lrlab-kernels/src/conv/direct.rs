//! Convolutions of any kernel and stride, tap by tap, one picture at a time.

#![allow(unsafe_code, reason = "loads by address; bounds are asserted once per picture")]

use super::geometry::{Frame, Geometry};
use super::source::Place;
use super::sweep::{Strides, Sweep};
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

/// Where the weight of `out`, `channel` (of `channels`) and tap `k` (of `taps`) stands in the packed order.
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
    /// Where the gradient stands in its frame, which is large enough for every tap of every phase.
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
                for tap in &self.taps {
                    let mut c = 0;
                    while c < count {
                        let x = &x[tap + c..];
                        let dw = &mut dw[out..];
                        let width = match count - c {
                            16.. if S::TILE >= 16 => self.outer::<S, 16>(s, g, x, grad, dw),
                            8.. if S::TILE >= 16 => self.outer::<S, 8>(s, g, x, grad, dw),
                            4.. => self.outer::<S, 4>(s, g, x, grad, dw),
                            2.. => self.outer::<S, 2>(s, g, x, grad, dw),
                            _ => self.outer::<S, 1>(s, g, x, grad, dw),
                        };
                        c += width;
                        out += width * LANES;
                    }
                }
            }
        }
    }

    /// dw[C][16] += Σ over pixels of x[C] ⊗ grad[16]
    #[inline(always)]
    fn outer<S: Simd, const C: usize>(
        &self,
        s: S,
        g: &Geometry,
        x: &[f32],
        grad: &[f32],
        dw: &mut [f32],
    ) -> usize {
        let (x_row, x_pixel) = (g.stride * g.input_frame().row(), g.stride * LANES);
        let Place { frame, top, left } = self.place;
        assert!(dw.len() >= C * LANES);
        assert!((g.oh - 1) * x_row + (g.ow - 1) * x_pixel + C <= x.len());
        assert!(top + g.oh <= frame.height && left + g.ow <= frame.width && grad.len() >= frame.plane());
        // SAFETY: the asserts above bound every address.
        unsafe {
            let mut sums = [s.zero(); C];
            for (c, sum) in sums.iter_mut().enumerate() {
                *sum = s.load(dw.as_ptr().add(c * LANES));
            }
            for row in 0..g.oh {
                let mut x = x.as_ptr().add(row * x_row);
                let mut dy = grad.as_ptr().add(((top + row) * frame.width + left) * LANES);
                for _ in 0..g.ow {
                    let v = s.load(dy);
                    for (c, sum) in sums.iter_mut().enumerate() {
                        *sum = s.fma(s.splat(*x.add(c)), v, *sum);
                    }
                    dy = dy.wrapping_add(LANES);
                    x = x.wrapping_add(x_pixel);
                }
            }
            for (c, sum) in sums.into_iter().enumerate() {
                s.store(dw.as_mut_ptr().add(c * LANES), sum);
            }
        }
        C
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
