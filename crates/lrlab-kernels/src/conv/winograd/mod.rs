//! 3×3 convolutions of stride 1 by F(4×4, 3×3), in strips of tiles small enough for the cache.
//!
//! The backward pass is the adjoint of the forward pass, transform by transform, so that the gradient's tiles are
//! transformed once for both gradients.

#![allow(unsafe_code, reason = "tiles are read and written by address; sizes come from the plan")]

mod transform;

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::geometry::{Frame, Geometry};
use super::product::{Product, outer};
use crate::rows::RowsMut;
use crate::simd::{Kernel, LANES, Simd, dispatch};
use transform::POINTS;
pub(super) use transform::TILE;

/// How a convolution is cut into tiles.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Tiles of a picture.
    pub(super) down: usize,
    pub(super) across: usize,
    /// Pictures worked on together, so that a strip is filled.
    pub(super) group: usize,
    /// Tiles worked on together.
    pub(super) strip: usize,
    c: usize,
    c_blocks: usize,
    o_blocks: usize,
    h: usize,
    w: usize,
}

/// A group of pictures in the backward pass.
pub(super) struct Group<'a> {
    pub(super) pictures: usize,
    /// The inputs, if the weight's gradient is wanted.
    pub(super) frames: Option<&'a [f32]>,
    /// The outputs' gradients.
    pub(super) grads: &'a [f32],
    /// The weights of [`weights_transposed`], if the input's gradient is wanted.
    pub(super) weights: Option<&'a [f32]>,
}

impl Plan {
    pub(super) fn new(g: &Geometry) -> Self {
        let (down, across) = (g.h.div_ceil(TILE), g.w.div_ceil(TILE));
        let wide = g.c_blocks().max(g.o_blocks());
        // Both transformed strips and their weights should stay in the second-level cache.
        let strip: usize = if wide <= 2 { 32 } else { 16 };
        let group = strip.div_ceil(down * across).clamp(1, g.n);
        let (c_blocks, o_blocks) = (g.c_blocks(), g.o_blocks());
        Self { down, across, group, strip, c: g.c, c_blocks, o_blocks, h: g.h, w: g.w }
    }

    /// The input's frame: the picture at (1, 1), tiles overlap by two.
    pub(super) fn frame(&self) -> Frame {
        Frame { height: TILE * self.down + 2, width: TILE * self.across + 2 }
    }

    /// The gradient's frame: the picture at (0, 0).
    pub(super) fn grad_frame(&self) -> Frame {
        Frame { height: TILE * self.down, width: TILE * self.across }
    }

    fn tiles(&self) -> usize {
        self.down * self.across
    }

    /// The distance between two points of a transformed strip: an odd number of cache lines, so that points do not
    /// share a cache set.
    fn apart(&self, blocks: usize) -> usize {
        (blocks * self.strip + 1) * LANES
    }

    /// Values of a transformed strip of input channels.
    pub(super) fn input_strip(&self) -> usize {
        POINTS * self.apart(self.c_blocks)
    }

    /// Values of a transformed strip of output channels.
    pub(super) fn output_strip(&self) -> usize {
        POINTS * self.apart(self.o_blocks)
    }

    /// Values of the transformed weights: `[point][o block][c][16]`.
    pub(super) fn weights(&self) -> usize {
        POINTS * self.o_blocks * self.c_blocks * LANES * LANES
    }

    fn weights_apart(&self) -> usize {
        self.o_blocks * self.c_blocks * LANES * LANES
    }

    /// Picture of the group, row and column of a tile.
    fn tile(&self, index: usize) -> (usize, usize, usize) {
        let (picture, tile) = (index / self.tiles(), index % self.tiles());
        (picture, tile / self.across, tile % self.across)
    }

    /// The outputs of a group of pictures from their frames.
    ///
    /// # Safety
    /// `to` gives each picture of the group its room.
    #[inline(always)]
    pub(super) unsafe fn forward<S: Simd>(
        &self,
        s: S,
        frames: &[f32],
        weights: &[f32],
        (v, m): (&mut [f32], &mut [f32]),
        to: &[*mut f32],
    ) {
        let frame = self.frame();
        assert!(frames.len() >= to.len() * self.c_blocks * frame.plane() && weights.len() >= self.weights());
        assert!(v.len() >= self.input_strip() && m.len() >= self.output_strip());
        let (v_apart, m_apart) = (self.apart(self.c_blocks), self.apart(self.o_blocks));
        let all = to.len() * self.tiles();
        let mut first = 0;
        while first < all {
            let count = self.strip.min(all - first);
            // SAFETY: tiles lie in their frames, strips have the room asserted.
            unsafe {
                self.input_tiles(s, frames, first, count, v);
                let product = Product {
                    rows: count,
                    depth: self.c,
                    blocks: self.o_blocks,
                    x_block: self.strip * LANES,
                    w_block: self.c_blocks * LANES * LANES,
                    out_block: self.strip * LANES,
                    out_row: LANES,
                };
                for point in 0..POINTS {
                    let (v, m) = (v.as_ptr().add(point * v_apart), m.as_mut_ptr().add(point * m_apart));
                    let weights = weights.as_ptr().add(point * self.weights_apart());
                    product.run(s, v, weights, &[(0, 0)], m);
                }
                for index in 0..count {
                    let (picture, down, across) = self.tile(first + index);
                    for block in 0..self.o_blocks {
                        let from = m.as_ptr().add((block * self.strip + index) * LANES);
                        let out = transform::output(s, from, m_apart);
                        let (y, x) = (TILE * down, TILE * across);
                        let plane = to[picture].add(block * self.h * self.w * LANES);
                        for (row, line) in out.iter().enumerate().take(self.h - y) {
                            let at = plane.add(((y + row) * self.w + x) * LANES);
                            for (column, value) in line.iter().enumerate().take(self.w - x) {
                                s.store(at.add(column * LANES), *value);
                            }
                        }
                    }
                }
            }
            first += count;
        }
    }

    #[inline(always)]
    unsafe fn input_tiles<S: Simd>(&self, s: S, frames: &[f32], first: usize, count: usize, v: &mut [f32]) {
        let frame = self.frame();
        let apart = self.apart(self.c_blocks);
        for index in 0..count {
            let (picture, down, across) = self.tile(first + index);
            for block in 0..self.c_blocks {
                let corner = (TILE * down * frame.width + TILE * across) * LANES;
                let from = (picture * self.c_blocks + block) * frame.plane() + corner;
                // SAFETY: guaranteed by the caller.
                unsafe {
                    let to = v.as_mut_ptr().add((block * self.strip + index) * LANES);
                    transform::input(s, frames.as_ptr().add(from), frame.row(), to, apart);
                }
            }
        }
    }

    /// The gradients of a group of pictures: the weights' is written to `dw` or, if `add`, added to it, for the input
    /// channels that there are; the input's is added to the frames `dx`. `v` and `m` are the strips of inputs and outputs.
    #[inline(always)]
    pub(super) fn backward<S: Simd>(
        &self,
        s: S,
        group: &Group<'_>,
        (v, m): (&mut [f32], &mut [f32]),
        dw: &mut [MaybeUninit<f32>],
        add: bool,
        dx: &mut [f32],
    ) {
        let Group { pictures, frames, grads, weights } = *group;
        let (frame, grad_frame) = (self.frame(), self.grad_frame());
        assert!(grads.len() >= pictures * self.o_blocks * grad_frame.plane());
        assert!(v.len() >= self.input_strip() && m.len() >= self.output_strip());
        assert!(frames.is_none_or(|f| {
            f.len() >= pictures * self.c_blocks * frame.plane() && dw.len() >= self.weights()
        }));
        assert!(weights.is_none_or(|w| {
            w.len() >= self.weights() && dx.len() >= pictures * self.c_blocks * frame.plane()
        }));
        let (v_apart, m_apart) = (self.apart(self.c_blocks), self.apart(self.o_blocks));
        let all = pictures * self.tiles();
        let mut first = 0;
        while first < all {
            let count = self.strip.min(all - first);
            // SAFETY: tiles lie in their frames, strips and weights have the room asserted.
            unsafe {
                for index in 0..count {
                    let (picture, down, across) = self.tile(first + index);
                    for block in 0..self.o_blocks {
                        let corner = (TILE * down * grad_frame.width + TILE * across) * LANES;
                        let from = (picture * self.o_blocks + block) * grad_frame.plane() + corner;
                        let to = m.as_mut_ptr().add((block * self.strip + index) * LANES);
                        transform::output_grad(s, grads.as_ptr().add(from), grad_frame.row(), to, m_apart);
                    }
                }
                if let Some(frames) = frames {
                    self.input_tiles(s, frames, first, count, v);
                    for point in 0..POINTS {
                        let (v, m) = (v.as_ptr().add(point * v_apart), m.as_ptr().add(point * m_apart));
                        let dw = dw.as_mut_ptr().cast::<f32>().add(point * self.weights_apart());
                        self.weight_products(s, (v, m), count, add || first > 0, dw);
                    }
                }
                if let Some(weights) = weights {
                    let product = Product {
                        rows: count,
                        depth: self.o_blocks * LANES,
                        blocks: self.c_blocks,
                        x_block: self.strip * LANES,
                        w_block: self.o_blocks * LANES * LANES,
                        out_block: self.strip * LANES,
                        out_row: LANES,
                    };
                    for point in 0..POINTS {
                        let (v, m) = (v.as_mut_ptr().add(point * v_apart), m.as_ptr().add(point * m_apart));
                        let weights = weights.as_ptr().add(point * self.weights_apart());
                        product.run(s, m, weights, &[(0, 0)], v);
                    }
                    self.input_grad_tiles(s, v, first, count, dx);
                }
            }
            first += count;
        }
    }

    #[inline(always)]
    unsafe fn weight_products<S: Simd>(
        &self,
        s: S,
        (v, m): (*const f32, *const f32),
        count: usize,
        add: bool,
        dw: *mut f32,
    ) {
        for o in 0..self.o_blocks {
            for c in 0..self.c_blocks {
                let width = (self.c - c * LANES).min(LANES);
                // SAFETY: guaranteed by the caller.
                unsafe {
                    let (v, m) = (v.add(c * self.strip * LANES), m.add(o * self.strip * LANES));
                    outer(s, v, m, count, width, add, dw.add((o * self.c_blocks + c) * LANES * LANES));
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn input_grad_tiles<S: Simd>(&self, s: S, v: &[f32], first: usize, count: usize, dx: &mut [f32]) {
        let frame = self.frame();
        let apart = self.apart(self.c_blocks);
        for index in 0..count {
            let (picture, down, across) = self.tile(first + index);
            for block in 0..self.c_blocks {
                let corner = (TILE * down * frame.width + TILE * across) * LANES;
                let to = (picture * self.c_blocks + block) * frame.plane() + corner;
                // SAFETY: guaranteed by the caller.
                unsafe {
                    let from = v.as_ptr().add((block * self.strip + index) * LANES);
                    transform::input_grad(s, from, apart, dx.as_mut_ptr().add(to), frame.row());
                }
            }
        }
    }
}

/// G w Gᵀ for the forward pass, `[point][o block][c][16 o]`, from `(o, c, 3, 3)`.
pub(super) fn weights(g: &Geometry, weight: &[f32]) -> Vec<f32> {
    transformed(weight, (g.o, g.c * 9), (g.c, 9))
}

/// G w Gᵀ for the input's gradient, `[point][c block][o][16 c]`.
pub(super) fn weights_transposed(g: &Geometry, weight: &[f32]) -> Vec<f32> {
    transformed(weight, (g.c, 9), (g.o, g.c * 9))
}

/// Lanes over the first dimension (size, stride), rows over the second.
fn transformed(weight: &[f32], lanes: (usize, usize), rows: (usize, usize)) -> Vec<f32> {
    struct Lines<'a>(&'a [f32], (usize, usize), (usize, usize), usize, RowsMut<'a, f32>);
    impl Kernel for Lines<'_> {
        type Out = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let Self(weight, lanes, rows, block, mut to) = self;
            let here = (lanes.0 - block * LANES).min(LANES);
            assert!(to.rows() == POINTS && rows.0 * LANES <= to.columns());
            let (to, apart) = to.as_mut_ptr();
            for row in 0..rows.0 {
                let mut taps = [[0.0_f32; LANES]; 9];
                for lane in 0..here {
                    let from = &weight[(block * LANES + lane) * lanes.1 + row * rows.1..][..9];
                    for (tap, value) in taps.iter_mut().zip(from) {
                        tap[lane] = *value;
                    }
                }
                let mut vectors = [s.zero(); 9];
                for (vector, tap) in vectors.iter_mut().zip(&taps) {
                    // SAFETY: an array of LANES values.
                    *vector = unsafe { s.load(tap.as_ptr()) };
                }
                // SAFETY: each point has room for the block's rows, asserted above.
                unsafe { transform::weight(s, vectors, to.add(row * LANES), apart) };
            }
        }
    }
    let blocks = lanes.0.div_ceil(LANES);
    let each = rows.0.next_multiple_of(LANES) * LANES;
    let mut out = vec![0.0; POINTS * blocks * each];
    let parts = RowsMut::new(&mut out, blocks * each).split_columns(each);
    let parts = parts.into_par_iter().enumerate();
    parts.for_each(|(block, to)| dispatch(Lines(weight, lanes, rows, block, to)));
    out
}

/// The weights' gradient `(o, c, 3, 3)` from that of the transformed weights.
pub(super) fn weight_grad(g: &Geometry, dw: &[f32]) -> Vec<f32> {
    struct Lines<'a>(&'a Geometry, &'a [f32], usize, &'a mut [f32]);
    impl Kernel for Lines<'_> {
        type Out = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let Self(g, dw, block, to) = self;
            let height = g.c_blocks() * LANES;
            let apart = g.o_blocks() * height * LANES;
            assert!(dw.len() >= POINTS * apart);
            for c in 0..g.c {
                // SAFETY: the row lies in the array, asserted above.
                let taps = unsafe {
                    transform::weight_grad(s, dw.as_ptr().add((block * height + c) * LANES), apart)
                };
                for (k, tap) in taps.into_iter().enumerate() {
                    let mut lanes = [0.0_f32; LANES];
                    // SAFETY: an array of LANES values.
                    unsafe { s.store(lanes.as_mut_ptr(), tap) };
                    for (row, value) in to.chunks_mut(g.c * 9).zip(lanes) {
                        row[c * 9 + k] = value;
                    }
                }
            }
        }
    }
    let mut out = vec![0.0; g.o * g.c * 9];
    out.par_chunks_mut(LANES * g.c * 9).enumerate().for_each(|(block, to)| dispatch(Lines(g, dw, block, to)));
    out
}
