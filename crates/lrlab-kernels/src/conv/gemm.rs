//! Convolutions with few output pixels: products over the pictures of the batch, for each output pixel only the taps
//! that do not read padding. At one pixel, a 3×3 kernel is its middle.

#![allow(unsafe_code, reason = "outputs are written in place before they have a length")]

use rayon::prelude::*;

use super::geometry::{Geometry, Sizes};
use super::moments::{Moments, measure};
use super::product::{Product, outer};
use super::source::{Place, Sink, Source};
use crate::host::{Scratch, Shared, Unwritten};
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// Pictures of one task.
const PER_TASK: usize = 32;

/// Input pixel, output pixel and the tap that joins them.
#[derive(Debug, Clone, Copy)]
struct Joint {
    from: usize,
    to: usize,
    tap: usize,
}

fn joints(g: &Geometry) -> Vec<Joint> {
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
    joints
}

/// The batch as `[block][pixel][picture][16]`.
fn gather(source: &Source<'_>, sizes: Sizes) -> Vec<f32> {
    struct Gather<'a>(&'a Source<'a>, Sizes, usize, Shared);
    impl Kernel for Gather<'_> {
        type Out = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let Self(source, sizes, picture, to) = self;
            let mut scratch = Scratch::take(sizes.picture());
            let values = &mut scratch[..sizes.picture()];
            source.load(s, &sizes, picture, Place::tight(&sizes), values);
            for (index, pixel) in values.chunks_exact(LANES).enumerate() {
                // SAFETY: the room holds every pixel of every picture; this task alone writes this picture's.
                unsafe {
                    let to = to.get().add((index * sizes.n + picture) * LANES);
                    s.store(to, s.load(pixel.as_ptr()));
                }
            }
        }
    }
    let mut out = Unwritten::new(sizes.len());
    let to = Shared(out.room().as_mut_ptr().cast());
    (0..sizes.n)
        .into_par_iter()
        .with_min_len(4)
        .for_each(|picture| dispatch(Gather(source, sizes, picture, to)));
    // SAFETY: every pixel of every picture was written.
    unsafe { out.written() }
}

/// Weights as `[lane block][tap][row][16]`, rows filled up to whole blocks, for the taps in use: lanes over the
/// outputs and rows over the inputs, or the other way round where `transposed`.
fn pack(g: &Geometry, weight: &[f32], used: &[bool], transposed: bool) -> Vec<f32> {
    let taps = g.kh * g.kw;
    let (lanes, rows) = if transposed { (g.c, g.o) } else { (g.o, g.c) };
    let (lane_stride, row_stride) = if transposed { (taps, g.c * taps) } else { (g.c * taps, taps) };
    let height = rows.next_multiple_of(LANES);
    let mut packed = vec![0.0; lanes.div_ceil(LANES) * taps * height * LANES];
    packed.par_chunks_mut(taps * height * LANES).enumerate().for_each(|(block, packed)| {
        let here = (lanes - block * LANES).min(LANES);
        for (tap, packed) in packed.chunks_exact_mut(height * LANES).enumerate().filter(|(tap, _)| used[*tap])
        {
            for (row, packed) in packed.chunks_exact_mut(LANES).take(rows).enumerate() {
                let from = block * LANES * lane_stride + row * row_stride + tap;
                for (lane, packed) in packed.iter_mut().take(here).enumerate() {
                    *packed = weight[from + lane * lane_stride];
                }
            }
        }
    });
    packed
}

fn used(g: &Geometry, joints: &[Joint]) -> Vec<bool> {
    let mut used = vec![false; g.kh * g.kw];
    for joint in joints {
        used[joint.tap] = true;
    }
    used
}

/// For each of `to.pixels()` pixels, the sum over its terms (offset in x, offset in the weights) of x times weights.
struct Sums<'a> {
    x: &'a [f32],
    weights: &'a [f32],
    terms: &'a [Vec<(usize, usize)>],
    product: Product,
    to: Sizes,
    /// Blocks of the output.
    blocks: std::ops::Range<usize>,
    pictures: std::ops::Range<usize>,
    out: Shared,
}

impl Kernel for Sums<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let product = Product { rows: self.pictures.len(), blocks: self.blocks.len(), ..self.product };
        for (pixel, terms) in self.terms.iter().enumerate() {
            // SAFETY: [`sums`] has asserted that every term lies in both arrays; the room holds the output, and this
            // task alone writes these blocks of these pictures.
            unsafe {
                let x = self.x.as_ptr().add(self.pictures.start * LANES);
                let weights = self.weights.as_ptr().add(self.blocks.start * product.w_block);
                let at = self.pictures.start * self.to.picture() + self.blocks.start * self.to.plane();
                product.run(s, x, weights, terms, self.out.get().add(at + pixel * LANES));
            }
        }
    }
}

/// # Safety
/// `out` has room for `to` in blocks.
unsafe fn sums(
    x: &[f32],
    weights: &[f32],
    terms: &[Vec<(usize, usize)>],
    from: Sizes,
    to: Sizes,
    out: Shared,
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
    assert!(terms.len() == to.pixels());
    let pairs = to.blocks().div_ceil(2);
    let shares = to.n.div_ceil(PER_TASK);
    (0..pairs * shares).into_par_iter().for_each(|task| {
        let (block, share) = (task / shares * 2, task % shares);
        let blocks = block..(block + 2).min(to.blocks());
        let pictures = share * PER_TASK..((share + 1) * PER_TASK).min(to.n);
        dispatch(Sums { x, weights, terms, product, to, blocks, pictures, out });
    });
}

/// As [`super::forward::run`].
///
/// # Safety
/// As there.
pub(super) unsafe fn forward(
    g: &Geometry,
    source: &Source<'_>,
    weight: &[f32],
    sink: Sink,
    moments: bool,
) -> Vec<Moments> {
    let (input, output, joints) = (g.input(), g.output(), joints(g));
    let weights = pack(g, weight, &used(g, &joints), false);
    let x = gather(source, input);
    let height = input.blocks() * LANES;
    let mut terms = vec![Vec::new(); output.pixels()];
    for joint in &joints {
        terms[joint.to].push((joint.from * g.n * LANES, joint.tap * height * LANES));
    }
    // SAFETY: the caller's word.
    unsafe {
        into(sink, output, |out| {
            sums(&x, &weights, &terms, input, output, out);
            if moments { measured(output, out) } else { Vec::new() }
        })
    }
}

/// Lets `write` write a batch in blocks, and hands it to the sink.
///
/// # Safety
/// The sink has room for the batch; `write` writes all of it.
unsafe fn into<T>(sink: Sink, sizes: Sizes, write: impl FnOnce(Shared) -> T) -> T {
    struct Store<'a>(Sink, Sizes, usize, &'a [f32]);
    impl Kernel for Store<'_> {
        type Out = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let Self(sink, sizes, index, picture) = self;
            // SAFETY: the caller of `into` vouches for the room; each picture has one task.
            unsafe { sink.store(s, &sizes, index, Place::tight(&sizes), picture) };
        }
    }
    if let Sink::Blocks(out) = sink {
        return write(out);
    }
    let mut room = Unwritten::new(sizes.len());
    let out = write(Shared(room.room().as_mut_ptr().cast()));
    // SAFETY: the caller's word.
    let blocks = unsafe { room.written() };
    blocks
        .par_chunks(sizes.picture())
        .enumerate()
        .for_each(|(index, picture)| dispatch(Store(sink, sizes, index, picture)));
    out
}

/// # Safety
/// `y` holds the batch in blocks.
unsafe fn measured(sizes: Sizes, y: Shared) -> Vec<Moments> {
    struct Measure(Sizes, Shared, std::ops::Range<usize>);
    impl Kernel for Measure {
        type Out = Vec<Moments>;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Vec<Moments> {
            let Self(sizes, y, pictures) = self;
            let mut moments = vec![Moments::default(); sizes.blocks() * LANES];
            for picture in pictures {
                for (block, moments) in moments.chunks_mut(LANES).enumerate() {
                    // SAFETY: the caller of `measured` vouches for the batch.
                    unsafe {
                        let plane = y.get().add(picture * sizes.picture() + block * sizes.plane());
                        measure(s, plane, sizes.pixels(), moments);
                    }
                }
            }
            moments
        }
    }
    let tasks: Vec<Vec<Moments>> = (0..sizes.n.div_ceil(PER_TASK))
        .into_par_iter()
        .map(|task| dispatch(Measure(sizes, y, task * PER_TASK..((task + 1) * PER_TASK).min(sizes.n))))
        .collect();
    let mut all = vec![Moments::default(); sizes.blocks() * LANES];
    for task in tasks {
        for (all, part) in all.iter_mut().zip(task) {
            *all = all.merge(part);
        }
    }
    all
}

/// As [`super::backward::run`].
///
/// # Safety
/// As there.
pub(super) unsafe fn backward(
    g: &Geometry,
    source: &Source<'_>,
    weight: &[f32],
    grad: &Source<'_>,
    dx: Option<Sink>,
    want_weight: bool,
) -> Option<Vec<f32>> {
    let (input, output, joints) = (g.input(), g.output(), joints(g));
    let dy = gather(grad, output);
    if let Some(sink) = dx {
        let weights = pack(g, weight, &used(g, &joints), true);
        let height = output.blocks() * LANES;
        let mut terms = vec![Vec::new(); input.pixels()];
        for joint in &joints {
            terms[joint.from].push((joint.to * g.n * LANES, joint.tap * height * LANES));
        }
        // SAFETY: the caller's word.
        unsafe { into(sink, input, |out| sums(&dy, &weights, &terms, output, input, out)) };
    }
    want_weight.then(|| weight_grad(g, &gather(source, input), &dy, &joints))
}

fn weight_grad(g: &Geometry, x: &[f32], dy: &[f32], joints: &[Joint]) -> Vec<f32> {
    struct Outer<'a>(&'a Geometry, &'a [f32], &'a [f32], &'a [Joint], usize, &'a mut [f32]);
    impl Kernel for Outer<'_> {
        type Out = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let Self(g, x, dy, joints, o_block, to) = self;
            let (taps, apart) = (g.kh * g.kw, g.n * LANES);
            assert!(x.len() == g.input().len() && dy.len() == g.output().len());
            for tap in 0..taps {
                if !joints.iter().any(|joint| joint.tap == tap) {
                    continue;
                }
                for c_block in 0..g.c_blocks() {
                    let width = (g.c - c_block * LANES).min(LANES);
                    let mut sums = [0.0_f32; LANES * LANES];
                    for joint in joints.iter().filter(|joint| joint.tap == tap) {
                        // SAFETY: joints lie in both arrays, whose lengths are asserted.
                        unsafe {
                            let x = x.as_ptr().add((c_block * g.h * g.w + joint.from) * apart);
                            let dy = dy.as_ptr().add((o_block * g.oh * g.ow + joint.to) * apart);
                            outer(s, x, dy, g.n, width, sums.as_mut_ptr());
                        }
                    }
                    for (lane, to) in to.chunks_mut(g.c * taps).enumerate() {
                        for c in 0..width {
                            to[(c_block * LANES + c) * taps + tap] = sums[c * LANES + lane];
                        }
                    }
                }
            }
        }
    }
    let mut out = vec![0.0; g.o * g.c * g.kh * g.kw];
    out.par_chunks_mut(LANES * g.c * g.kh * g.kw)
        .enumerate()
        .for_each(|(o_block, to)| dispatch(Outer(g, x, dy, joints, o_block, to)));
    out
}
