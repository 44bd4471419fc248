//! The gradients, one picture at a time; weight gradients are added up over a fixed split of the batch.

#![allow(unsafe_code, reason = "outputs are written in place before they have a length; loads by address")]

use rayon::prelude::*;

use super::blocked::{pack, unpack};
use super::forward::{packed_at, taps};
use super::geometry::{Frame, Geometry};
use super::sweep::{Strides, Sweep};
use crate::host::{Scratch, Shared, Unwritten, add_up};
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// Which gradients somebody wants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Want {
    pub(super) input: bool,
    pub(super) weight: bool,
}

pub(super) struct Grads {
    pub(super) input: Option<Vec<f32>>,
    pub(super) weight: Option<Vec<f32>>,
}

/// At most this many partial weight gradients: enough for the threads, few enough to add up.
const CHUNKS: usize = 16;

pub(super) fn run(g: &Geometry, x: &[f32], weight: &[f32], grad: &[f32], want: Want) -> Grads {
    let phases = if want.input { phases(g, weight) } else { Vec::new() };
    let (margin, frame) = grad_frame(g, &phases);
    let taps = taps(g);
    let mut dx = Unwritten::new(if want.input { x.len() } else { 0 });
    let out = Shared(dx.room().as_mut_ptr().cast());
    let per_chunk = g.n.div_ceil(CHUNKS);
    let partial: Vec<Vec<f32>> = (0..g.n.div_ceil(per_chunk))
        .into_par_iter()
        .map(|chunk| {
            let pictures = chunk * per_chunk..((chunk + 1) * per_chunk).min(g.n);
            dispatch(Chunk { g, x, grad, pictures, phases: &phases, margin, frame, taps: &taps, out, want })
        })
        .collect();
    Grads {
        // SAFETY: every picture belongs to one chunk, which wrote all phases and with them all pixels of it.
        input: want.input.then(|| unsafe { dx.written() }),
        weight: want.weight.then(|| unpack_weights(g, &add_up(partial))),
    }
}

fn unpack_weights(g: &Geometry, packed: &[f32]) -> Vec<f32> {
    let taps = g.kh * g.kw;
    let mut weight = Vec::with_capacity(g.o * g.c * taps);
    for o in 0..g.o {
        for c in 0..g.c {
            weight.extend((0..taps).map(|k| packed[packed_at(g.c, taps, o, c, k)]));
        }
    }
    weight
}

/// Input pixels (s a + y, s b + x) for one (y, x): they see the same taps.
struct Phase {
    y: usize,
    x: usize,
    /// Row and column of the gradient that each tap reads, relative to (a, b).
    reach: Vec<(isize, isize)>,
    weights: Vec<f32>,
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

/// How far the gradient is set into its frame, and the frame: large enough for every tap of every phase.
fn grad_frame(g: &Geometry, phases: &[Phase]) -> ((usize, usize), Frame) {
    let reaches = || phases.iter().flat_map(|phase| &phase.reach);
    let side = |of: fn(&(isize, isize)) -> isize, size: usize, grad: usize| {
        let low = reaches().map(of).min().unwrap_or(0).min(0).unsigned_abs();
        let high = reaches().map(of).max().unwrap_or(0).max(0) as usize;
        let last = (size - 1) / g.stride;
        (low, low + grad.max(last + high + 1))
    };
    let (top, height) = side(|r| r.0, g.h, g.oh);
    let (left, width) = side(|r| r.1, g.w, g.ow);
    ((top, left), Frame { height, width })
}

struct Chunk<'a> {
    g: &'a Geometry,
    x: &'a [f32],
    grad: &'a [f32],
    pictures: std::ops::Range<usize>,
    phases: &'a [Phase],
    margin: (usize, usize),
    frame: Frame,
    taps: &'a [usize],
    out: Shared,
    want: Want,
}

impl Kernel for Chunk<'_> {
    type Out = Vec<f32>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Vec<f32> {
        let g = self.g;
        let (x_len, grad_len) = (g.c_blocks() * g.input_frame().plane(), g.o_blocks() * self.frame.plane());
        let dx_len = g.c_blocks() * g.h * g.w * LANES;
        let mut dw = vec![0.0; if self.want.weight { g.o_blocks() * LANES * g.c * g.kh * g.kw } else { 0 }];
        let mut scratch = Scratch::take(x_len + grad_len + dx_len);
        let (x, rest) = scratch[..x_len + grad_len + dx_len].split_at_mut(x_len);
        let (grad, dx) = rest.split_at_mut(grad_len);
        for picture in self.pictures.clone() {
            let dy = &self.grad[picture * g.o * g.oh * g.ow..][..g.o * g.oh * g.ow];
            pack(s, dy, (g.o, g.oh, g.ow), self.frame, self.margin, grad);
            if self.want.weight {
                let from = &self.x[picture * g.c * g.h * g.w..][..g.c * g.h * g.w];
                pack(s, from, (g.c, g.h, g.w), g.input_frame(), (g.padding, g.padding), x);
                self.weight_grad(s, x, grad, &mut dw);
            }
            if self.want.input {
                self.input_grad(s, grad, dx);
                // SAFETY: the room holds every picture, and this chunk alone has this one.
                unsafe {
                    let to = self.out.get().add(picture * g.c * g.h * g.w);
                    unpack(s, dx, g.c, g.h * g.w, to);
                }
            }
        }
        dw
    }
}

impl Chunk<'_> {
    #[inline(always)]
    fn input_grad<S: Simd>(&self, s: S, grad: &[f32], dx: &mut [f32]) {
        let g = self.g;
        let (row, plane) = (self.frame.row(), self.frame.plane());
        for phase in self.phases {
            let at = |(dy, dx): &(isize, isize)| {
                (self.margin.0 as isize + dy) as usize * row + (self.margin.1 as isize + dx) as usize * LANES
            };
            let taps: Vec<usize> = phase.reach.iter().map(at).collect();
            let sweep = Sweep {
                input: grad,
                input_strides: Strides { block: plane, row, pixel: LANES },
                channels: g.o,
                taps: &taps,
                weights: &phase.weights,
                out_strides: Strides {
                    block: g.h * g.w * LANES,
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
    fn weight_grad<S: Simd>(&self, s: S, x: &[f32], grad: &[f32], dw: &mut [f32]) {
        let g = self.g;
        let frame = g.input_frame();
        let mut out = 0;
        for o_block in 0..g.o_blocks() {
            let grad = &grad[o_block * self.frame.plane()..][..self.frame.plane()];
            for c_block in 0..g.c_blocks() {
                let x = &x[c_block * frame.plane()..][..frame.plane()];
                let count = (g.c - c_block * LANES).min(LANES);
                for tap in self.taps {
                    let mut c = 0;
                    while c < count {
                        let x = &x[tap + c..];
                        let dw = &mut dw[out..];
                        let width = match count - c {
                            16.. if S::TILE >= 16 => self.outer::<S, 16>(s, x, grad, dw),
                            8.. if S::TILE >= 16 => self.outer::<S, 8>(s, x, grad, dw),
                            4.. => self.outer::<S, 4>(s, x, grad, dw),
                            2.. => self.outer::<S, 2>(s, x, grad, dw),
                            _ => self.outer::<S, 1>(s, x, grad, dw),
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
    fn outer<S: Simd, const C: usize>(&self, s: S, x: &[f32], grad: &[f32], dw: &mut [f32]) -> usize {
        let g = self.g;
        let (x_row, x_pixel) = (g.stride * g.input_frame().row(), g.stride * LANES);
        assert!(dw.len() >= C * LANES);
        assert!((g.oh - 1) * x_row + (g.ow - 1) * x_pixel + C <= x.len());
        let (top, left) = self.margin;
        assert!(top + g.oh <= self.frame.height && left + g.ow <= self.frame.width);
        assert!(grad.len() >= self.frame.plane());
        // SAFETY: the asserts above bound every address.
        unsafe {
            let mut sums: [S::V; C] = std::array::from_fn(|c| s.load(dw.as_ptr().add(c * LANES)));
            for row in 0..g.oh {
                let mut x = x.as_ptr().add(row * x_row);
                let mut dy = grad.as_ptr().add(((top + row) * self.frame.width + left) * LANES);
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
