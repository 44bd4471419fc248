//! Convolutions with few output pixels as matrix products over the batch. Each output pixel takes only the taps that do
//! not read padding: with a single pixel, a 3×3 kernel reduces to its centre.

#![allow(unsafe_code, reason = "outputs are written in place before they have a length")]

use std::collections::BTreeSet;
use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::geometry::{Geometry, Sizes};
use super::moments::{Moments, measure};
use super::product::{Product, outer};
use super::source::{Place, Sink, Source};
use crate::host::{Scratch, Unwritten};
use crate::rows::{RowsMut, put};
use crate::simd::{Kernel, LANES, Simd, dispatch, part};

/// Pictures of one task.
const PER_TASK: usize = 32;

/// An input pixel, an output pixel and the tap that connects them, by its index among the taps in use.
#[derive(Debug, Clone, Copy)]
struct Joint {
    from: usize,
    to: usize,
    tap: usize,
}

/// All joints of a picture, in the order of the output pixels, and the taps in use.
fn joints(g: &Geometry) -> (Vec<Joint>, Vec<usize>) {
    let mut joints = Vec::new();
    for to in 0..g.oh * g.ow {
        for tap in 0..g.kh * g.kw {
            let y = to / g.ow * g.stride + tap / g.kw;
            let x = to % g.ow * g.stride + tap % g.kw;
            let (Some(y), Some(x)) = (y.checked_sub(g.padding), x.checked_sub(g.padding)) else { continue };
            if y < g.h && x < g.w {
                joints.push(Joint { from: y * g.w + x, to, tap });
            }
        }
    }
    let taps: Vec<usize> =
        joints.iter().map(|joint| joint.tap).collect::<BTreeSet<_>>().into_iter().collect();
    for joint in &mut joints {
        joint.tap = taps.partition_point(|tap| *tap < joint.tap);
    }
    (joints, taps)
}

/// The batch as `[block][pixel][picture][16]`.
fn gather(source: &Source<'_>, sizes: Sizes) -> Vec<f32> {
    struct Gather<'a>(&'a Source<'a>, Sizes, usize, RowsMut<'a, MaybeUninit<f32>>);
    impl Kernel for Gather<'_> {
        type Out = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let Self(source, sizes, picture, to) = self;
            let mut scratch = Scratch::take(sizes.picture());
            let values = &mut scratch[..sizes.picture()];
            source.load(s, &sizes, picture, Place::tight(&sizes), values);
            for (to, pixel) in to.into_rows().zip(values.chunks_exact(LANES)) {
                put(s, to, part(s, pixel, 0, 0.0));
            }
        }
    }
    let mut out = Unwritten::new(sizes.len());
    RowsMut::new(out.room(), sizes.n * LANES)
        .split_columns(LANES)
        .into_par_iter()
        .enumerate()
        .with_min_len(4)
        .for_each(|(picture, to)| dispatch(Gather(source, sizes, picture, to)));
    // SAFETY: every pixel of every picture was written.
    unsafe { out.written() }
}

/// Weights as `[lane block][tap][row][16]`, lanes and rows filled up to whole blocks, for the taps in use: lanes over
/// the outputs and rows over the inputs, or the other way round where `transposed`.
fn pack(g: &Geometry, weight: &[f32], taps: &[usize], transposed: bool) -> Vec<f32> {
    let all = g.kh * g.kw;
    let (lanes, rows) = if transposed { (g.c, g.o) } else { (g.o, g.c) };
    let (lane_stride, row_stride) = if transposed { (all, g.c * all) } else { (g.c * all, all) };
    let height = rows.next_multiple_of(LANES);
    let each = taps.len() * height * LANES;
    let mut packed = Unwritten::new(lanes.div_ceil(LANES) * each);
    packed.room().par_chunks_mut(each.max(1)).enumerate().for_each(|(block, packed)| {
        let here = (lanes - block * LANES).min(LANES);
        for row in 0..height {
            let from = block * LANES * lane_stride + row * row_stride;
            for (index, tap) in taps.iter().enumerate() {
                let to = &mut packed[(index * height + row) * LANES..][..LANES];
                if row < rows && here == LANES {
                    for (lane, to) in to.iter_mut().enumerate() {
                        to.write(weight[from + tap + lane * lane_stride]);
                    }
                } else {
                    for (lane, to) in to.iter_mut().enumerate() {
                        let inside = row < rows && lane < here;
                        to.write(if inside { weight[from + tap + lane * lane_stride] } else { 0.0 });
                    }
                }
            }
        }
    });
    // SAFETY: every lane of every row of every tap was written.
    unsafe { packed.written() }
}

/// For each of `to.pixels()` pixels, the sum over its terms (offset in x, offset in the weights) of x times weights.
struct Sums<'a> {
    x: &'a [f32],
    weights: &'a [f32],
    terms: &'a [Vec<(usize, usize)>],
    product: Product,
    /// The first block of the output.
    block: usize,
    /// The first picture.
    picture: usize,
    /// Some blocks of some pictures.
    out: RowsMut<'a, MaybeUninit<f32>>,
}

impl Kernel for Sums<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let blocks = self.out.columns() / self.product.out_block;
        let product = Product { rows: self.out.rows(), blocks, ..self.product };
        let (out, stride) = self.out.as_mut_ptr();
        assert!(stride == product.out_row && blocks * product.out_block == self.out.columns());
        for (pixel, terms) in self.terms.iter().enumerate() {
            // SAFETY: [`sums`] has asserted that every term lies in both arrays; pixels lie in the blocks of the rows.
            unsafe {
                let x = self.x.as_ptr().add(self.picture * LANES);
                let weights = self.weights.as_ptr().add(self.block * product.w_block);
                product.run(s, x, weights, terms, out.cast::<f32>().add(pixel * LANES));
            }
        }
    }
}

/// The sums of every pixel, block and picture of `to`, in blocks.
fn sums(
    x: &[f32],
    weights: &[f32],
    terms: &[Vec<(usize, usize)>],
    from: Sizes,
    to: Sizes,
    out: &mut [MaybeUninit<f32>],
) {
    let product = Product {
        rows: 0,
        depth: from.blocks() * LANES,
        blocks: 0,
        x_block: from.pixels() * from.n * LANES,
        w_block: weights.len() / to.blocks(),
        out_block: to.plane(),
        out_row: to.picture(),
    };
    for (x_at, w_at) in terms.iter().flatten() {
        assert!(x_at + (from.blocks() - 1) * product.x_block + from.n * LANES <= x.len());
        assert!(w_at + product.depth * LANES <= product.w_block);
    }
    assert!(terms.len() == to.pixels() && out.len() == to.len());
    // Tasks of the same blocks follow one another: their weights stay in the cache.
    let pairs = RowsMut::new(out, to.picture()).split_columns(2 * to.plane()).into_iter().enumerate();
    let tasks: Vec<_> = pairs
        .flat_map(|(pair, out)| {
            let shares = out.split_rows(PER_TASK).into_iter().enumerate();
            shares.map(move |(share, out)| (share * PER_TASK, pair * 2, out))
        })
        .collect();
    tasks.into_par_iter().for_each(|(picture, block, out)| {
        dispatch(Sums { x, weights, terms, product, block, picture, out });
    });
}

/// As [`super::forward::run`].
pub(super) fn forward(
    g: &Geometry,
    source: &Source<'_>,
    weight: &[f32],
    sink: Sink<'_>,
    moments: bool,
) -> Vec<Moments> {
    let (input, output, (joints, taps)) = (g.input(), g.output(), joints(g));
    let weights = pack(g, weight, &taps, false);
    let x = gather(source, input);
    let height = input.blocks() * LANES;
    let mut terms = vec![Vec::new(); output.pixels()];
    for joint in &joints {
        terms[joint.to].push((joint.from * g.n * LANES, joint.tap * height * LANES));
    }
    into(sink, output, |out| {
        sums(&x, &weights, &terms, input, output, out);
        // SAFETY: the sums are those of all pixels, blocks and pictures.
        let y = unsafe { std::slice::from_raw_parts(out.as_ptr().cast::<f32>(), out.len()) };
        if moments { measured(output, y) } else { Vec::new() }
    })
}

/// Lets `write` write all of a batch in blocks, and hands it to the sink.
fn into<T>(sink: Sink<'_>, sizes: Sizes, write: impl FnOnce(&mut [MaybeUninit<f32>]) -> T) -> T {
    struct Store<'a>(Sink<'a>, Sizes, &'a [f32]);
    impl Kernel for Store<'_> {
        type Out = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let Self(mut sink, sizes, picture) = self;
            sink.store(s, &sizes, 0, Place::tight(&sizes), picture);
        }
    }
    if let Sink::Blocks(out) = sink {
        return write(out);
    }
    let mut room = Unwritten::new(sizes.len());
    let out = write(room.room());
    // SAFETY: [`sums`] has written every pixel of every picture.
    let blocks = unsafe { room.written() };
    sink.split(&sizes, 1)
        .into_par_iter()
        .zip(blocks.par_chunks(sizes.picture()))
        .for_each(|(sink, picture)| dispatch(Store(sink, sizes, picture)));
    out
}

/// The moments of a batch in blocks.
fn measured(sizes: Sizes, y: &[f32]) -> Vec<Moments> {
    struct Measure<'a>(Sizes, &'a [f32]);
    impl Kernel for Measure<'_> {
        type Out = Vec<Moments>;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Vec<Moments> {
            let Self(sizes, y) = self;
            let mut moments = vec![Moments::default(); sizes.blocks() * LANES];
            for picture in y.chunks_exact(sizes.picture()) {
                let planes = picture.chunks_exact(sizes.plane());
                for (plane, moments) in planes.zip(moments.chunks_mut(LANES)) {
                    // SAFETY: the plane has as many pixels.
                    unsafe { measure(s, plane.as_ptr(), sizes.pixels(), moments) };
                }
            }
            moments
        }
    }
    let tasks: Vec<Vec<Moments>> =
        y.par_chunks(PER_TASK * sizes.picture()).map(|pictures| dispatch(Measure(sizes, pictures))).collect();
    let mut all = vec![Moments::default(); sizes.blocks() * LANES];
    for task in tasks {
        for (all, part) in all.iter_mut().zip(task) {
            *all = all.merge(part);
        }
    }
    all
}

/// As [`super::backward::run`].
pub(super) fn backward(
    g: &Geometry,
    source: &Source<'_>,
    weight: &[f32],
    grad: &Source<'_>,
    dx: Option<Sink<'_>>,
    want_weight: bool,
) -> Option<Vec<f32>> {
    let (input, output, (joints, taps)) = (g.input(), g.output(), joints(g));
    let dy = gather(grad, output);
    if let Some(sink) = dx {
        let weights = pack(g, weight, &taps, true);
        let height = output.blocks() * LANES;
        let mut terms = vec![Vec::new(); input.pixels()];
        for joint in &joints {
            terms[joint.from].push((joint.to * g.n * LANES, joint.tap * height * LANES));
        }
        into(sink, input, |out| sums(&dy, &weights, &terms, output, input, out));
    }
    want_weight.then(|| weight_grad(g, &gather(source, input), &dy, &joints, &taps))
}

fn weight_grad(g: &Geometry, x: &[f32], dy: &[f32], joints: &[Joint], taps: &[usize]) -> Vec<f32> {
    struct Outer<'a> {
        g: &'a Geometry,
        x: &'a [f32],
        dy: &'a [f32],
        joints: &'a [Joint],
        taps: &'a [usize],
        o_block: usize,
        /// The gradients of the block's outputs.
        to: &'a mut [MaybeUninit<f32>],
    }
    impl Kernel for Outer<'_> {
        type Out = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let Self { g, x, dy, joints, taps, o_block, to } = self;
            let (all, apart) = (g.kh * g.kw, g.n * LANES);
            assert!(x.len() == g.input().len() && dy.len() == g.output().len());
            let mut scratch = Scratch::take(taps.len() * LANES * LANES);
            let tiles = &mut scratch[..taps.len() * LANES * LANES];
            for c_block in 0..g.c_blocks() {
                let width = (g.c - c_block * LANES).min(LANES);
                tiles.fill(0.0);
                for joint in joints {
                    let tile = &mut tiles[joint.tap * LANES * LANES..][..LANES * LANES];
                    // SAFETY: joints lie in both arrays, whose lengths are asserted.
                    unsafe {
                        let x = x.as_ptr().add((c_block * g.h * g.w + joint.from) * apart);
                        let dy = dy.as_ptr().add((o_block * g.oh * g.ow + joint.to) * apart);
                        outer(s, x, dy, g.n, width, true, tile.as_mut_ptr());
                    }
                }
                for (lane, to) in to.chunks_mut(g.c * all).enumerate() {
                    let to = &mut to[c_block * LANES * all..][..width * all];
                    to.fill(MaybeUninit::new(0.0));
                    for (tap, tile) in taps.iter().zip(tiles.chunks_exact(LANES * LANES)) {
                        for (c, to) in to.chunks_exact_mut(all).enumerate() {
                            to[*tap].write(tile[c * LANES + lane]);
                        }
                    }
                }
            }
        }
    }
    let mut out = Unwritten::new(g.o * g.c * g.kh * g.kw);
    out.room()
        .par_chunks_mut(LANES * g.c * g.kh * g.kw)
        .enumerate()
        .for_each(|(o_block, to)| dispatch(Outer { g, x, dy, joints, taps, o_block, to }));
    // SAFETY: every input channel and tap of every output was written.
    unsafe { out.written() }
}
