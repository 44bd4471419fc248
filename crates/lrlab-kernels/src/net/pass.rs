//! The operations other than convolutions: sums over the batch, pools, copies. Threads share the pictures.

#![allow(unsafe_code, reason = "vector loads and stores by address; lengths are asserted")]

use rayon::prelude::*;

use crate::conv::geometry::Sizes;
use crate::conv::source::{Affine, Place, Sink, Source};
use crate::host::{Scratch, Unwritten};
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// Pictures of one task.
const PER_TASK: usize = 8;

/// Runs `work` for each picture, `parts` being one part of an output per picture.
fn each<T: Send>(parts: &mut [T], work: impl Fn(usize, &mut T) + Sync) {
    parts.par_iter_mut().enumerate().with_min_len(PER_TASK / 2).for_each(|(index, part)| work(index, part));
}

struct Load<'a>(&'a Source<'a>, Sizes, usize, &'a mut [f32]);

impl Kernel for Load<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.0.load(s, &self.1, self.2, Place::tight(&self.1), self.3);
    }
}

/// A value in blocks.
pub(super) fn copy(source: &Source<'_>, sizes: Sizes) -> Vec<f32> {
    let mut out = vec![0.0; sizes.len()];
    let mut parts: Vec<&mut [f32]> = out.chunks_mut(sizes.picture()).collect();
    each(&mut parts, |index, part| dispatch(Load(source, sizes, index, part)));
    out
}

/// The mean over the pixels, `(n, channels)`.
pub(super) fn average(source: &Source<'_>, sizes: Sizes) -> Vec<f32> {
    struct Average<'a>(&'a Source<'a>, Sizes, usize, &'a mut [f32]);
    impl Kernel for Average<'_> {
        type Out = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let Self(source, sizes, index, out) = self;
            let mut scratch = Scratch::take(sizes.picture());
            let picture = &mut scratch[..sizes.picture()];
            source.load(s, &sizes, index, Place::tight(&sizes), picture);
            let share = s.splat(1.0 / sizes.pixels() as f32);
            for (plane, out) in picture.chunks(sizes.plane()).zip(out.chunks_mut(LANES)) {
                let mut sum = s.zero();
                for pixel in plane.chunks_exact(LANES) {
                    // SAFETY: LANES values.
                    sum = s.add(sum, unsafe { s.load(pixel.as_ptr()) });
                }
                let mut lanes = [0.0; LANES];
                // SAFETY: an array of LANES values.
                unsafe { s.store(lanes.as_mut_ptr(), s.mul(sum, share)) };
                out.copy_from_slice(&lanes[..out.len()]);
            }
        }
    }
    let mut out = vec![0.0; sizes.n * sizes.c];
    let mut parts: Vec<&mut [f32]> = out.chunks_mut(sizes.c).collect();
    each(&mut parts, |index, part| dispatch(Average(source, sizes, index, part)));
    out
}

/// The gradient of [`average`]'s input from its output's.
pub(super) fn spread(grad: &[f32], sizes: Sizes) -> Vec<f32> {
    let mut out = vec![0.0; sizes.len()];
    let share = 1.0 / sizes.pixels() as f32;
    let mut parts: Vec<&mut [f32]> = out.chunks_mut(sizes.picture()).collect();
    each(&mut parts, |index, part| {
        let grad = &grad[index * sizes.c..][..sizes.c];
        for (plane, grad) in part.chunks_mut(sizes.plane()).zip(grad.chunks(LANES)) {
            let mut lanes = [0.0; LANES];
            for (lane, grad) in lanes.iter_mut().zip(grad) {
                *lane = grad * share;
            }
            for pixel in plane.chunks_mut(LANES) {
                pixel.copy_from_slice(&lanes);
            }
        }
    });
    out
}

/// Where a gradient passes a ReLU.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mask<'a> {
    /// There is none.
    None,
    /// Where this is positive.
    Whole(&'a [f32]),
    /// Where this of y is positive.
    Affine(&'a Affine),
}

/// Masks the gradient and gives its sum and that of its products with y − mean, per channel.
pub(super) fn reduce(
    grad: &mut [f32],
    y: &[f32],
    mask: Mask<'_>,
    mean: &[f32],
    sizes: Sizes,
) -> Vec<(f64, f64)> {
    struct Reduce<'a> {
        grad: &'a mut [f32],
        y: &'a [f32],
        mask: Mask<'a>,
        mean: &'a [f32],
        sizes: Sizes,
    }
    impl Kernel for Reduce<'_> {
        type Out = Vec<(f64, f64)>;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Vec<(f64, f64)> {
            let Self { grad, y, mask, mean, sizes } = self;
            let mut sums = vec![(0.0, 0.0); sizes.blocks() * LANES];
            assert!(mean.len() == sums.len() && y.len() == grad.len());
            for (index, plane) in grad.chunks_mut(sizes.plane()).enumerate() {
                let block = index % sizes.blocks();
                let from = index * sizes.plane();
                let (mut total, mut product) = (s.zero(), s.zero());
                // SAFETY: coefficients reach to the last block, pixels lie in the planes of equal lengths.
                unsafe {
                    let mean = s.load(mean.as_ptr().add(block * LANES));
                    let (gain, offset) = match mask {
                        Mask::Affine(affine) => (
                            s.load(affine.gain.as_ptr().add(block * LANES)),
                            s.load(affine.offset.as_ptr().add(block * LANES)),
                        ),
                        Mask::None | Mask::Whole(_) => (s.zero(), s.zero()),
                    };
                    for at in (0..sizes.plane()).step_by(LANES) {
                        let value = s.load(y.as_ptr().add(from + at));
                        let place = plane.as_mut_ptr().add(at);
                        let mut g = s.load(place);
                        match mask {
                            Mask::None => {}
                            Mask::Whole(z) => {
                                let z = s.load(z.as_ptr().add(from + at));
                                g = s.where_greater(z, s.zero(), g, s.zero());
                                s.store(place, g);
                            }
                            Mask::Affine(_) => {
                                let z = s.fma(value, gain, offset);
                                g = s.where_greater(z, s.zero(), g, s.zero());
                                s.store(place, g);
                            }
                        }
                        total = s.add(total, g);
                        product = s.fma(g, s.sub(value, mean), product);
                    }
                    let (mut totals, mut products) = ([0.0_f32; LANES], [0.0_f32; LANES]);
                    s.store(totals.as_mut_ptr(), total);
                    s.store(products.as_mut_ptr(), product);
                    for (lane, sum) in sums[block * LANES..][..LANES].iter_mut().enumerate() {
                        sum.0 += f64::from(totals[lane]);
                        sum.1 += f64::from(products[lane]);
                    }
                }
            }
            sums
        }
    }
    let len = PER_TASK * sizes.picture();
    let tasks: Vec<Vec<(f64, f64)>> = grad
        .par_chunks_mut(len)
        .enumerate()
        .map(|(task, grad)| {
            let from = task * len;
            let y = &y[from..][..grad.len()];
            let mask = match mask {
                Mask::Whole(z) => Mask::Whole(&z[from..][..grad.len()]),
                other => other,
            };
            dispatch(Reduce { grad, y, mask, mean, sizes })
        })
        .collect();
    let mut sums = vec![(0.0, 0.0); sizes.blocks() * LANES];
    for task in tasks {
        for (sum, part) in sums.iter_mut().zip(task) {
            sum.0 += part.0;
            sum.1 += part.1;
        }
    }
    sums
}

/// sum += more
pub(super) fn add(sum: &mut [f32], more: &[f32]) {
    const PART: usize = 1 << 16;
    sum.par_chunks_mut(PART).zip(more.par_chunks(PART)).for_each(|(sum, more)| {
        for (sum, more) in sum.iter_mut().zip(more) {
            *sum += more;
        }
    });
}

/// A pool's windows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) padding: usize,
}

/// The maxima in blocks and, lane by lane, the pixels they come from.
pub(super) fn max_pool(source: &Source<'_>, sizes: Sizes, to: Sizes, window: Window) -> (Vec<f32>, Vec<f32>) {
    struct Pool<'a>(&'a Source<'a>, [Sizes; 2], Window, usize, &'a mut (&'a mut [f32], &'a mut [f32]));
    impl Kernel for Pool<'_> {
        type Out = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let Self(source, [sizes, to], window, index, (best, picks)) = self;
            assert!(best.len() == to.picture() && picks.len() == to.picture());
            let mut scratch = Scratch::take(sizes.picture());
            let picture = &mut scratch[..sizes.picture()];
            source.load(s, &sizes, index, Place::tight(&sizes), picture);
            for block in 0..to.blocks() {
                let plane = &picture[block * sizes.plane()..][..sizes.plane()];
                for row in 0..to.h {
                    for column in 0..to.w {
                        let (rows, columns) = (window.range(row, sizes.h), window.range(column, sizes.w));
                        let (mut most, mut pick) = (s.splat(f32::NEG_INFINITY), s.zero());
                        // 0, or NaN after a NaN: the maximum itself loses a NaN at the next value.
                        let mut poison = s.zero();
                        let mut first = true;
                        for y in rows {
                            for x in columns.clone() {
                                let pixel = y * sizes.w + x;
                                // SAFETY: the pixel lies in the plane.
                                let value = unsafe { s.load(plane.as_ptr().add(pixel * LANES)) };
                                let here = s.splat(pixel as f32);
                                pick = if first { here } else { s.where_greater(value, most, here, pick) };
                                most = if first { value } else { s.max(value, most) };
                                let bounded = s.min(s.splat(1.0), s.max(s.splat(-1.0), value));
                                poison = s.fma(bounded, s.zero(), poison);
                                first = false;
                            }
                        }
                        let most = s.add(most, poison);
                        let at = block * to.plane() + (row * to.w + column) * LANES;
                        // SAFETY: the pixel lies in both parts, whose lengths are asserted.
                        unsafe {
                            s.store(best.as_mut_ptr().add(at), most);
                            s.store(picks.as_mut_ptr().add(at), pick);
                        }
                    }
                }
            }
        }
    }
    let (mut best, mut picks) = (vec![0.0; to.len()], vec![0.0; to.len()]);
    let mut parts: Vec<(&mut [f32], &mut [f32])> =
        best.chunks_mut(to.picture()).zip(picks.chunks_mut(to.picture())).collect();
    each(&mut parts, |index, part| {
        let (best, picks) = part;
        dispatch(Pool(source, [sizes, to], window, index, &mut (&mut **best, &mut **picks)));
    });
    (best, picks)
}

impl Window {
    /// What the window `index` covers of a side of `size`.
    fn range(&self, index: usize, size: usize) -> std::ops::Range<usize> {
        let start = index * self.stride;
        start.saturating_sub(self.padding)..(start + self.kernel).saturating_sub(self.padding).min(size)
    }
}

/// Adds the gradient of [`max_pool`]'s input.
pub(super) fn max_pool_grad(grad: &[f32], picks: &[f32], sizes: Sizes, to: Sizes, dx: &mut [f32]) {
    let mut parts: Vec<&mut [f32]> = dx.chunks_mut(sizes.picture()).collect();
    each(&mut parts, |index, dx| {
        let from = index * to.picture()..(index + 1) * to.picture();
        let pixels = grad[from.clone()].chunks(to.plane()).zip(picks[from].chunks(to.plane()));
        for (dx, (grad, picks)) in dx.chunks_mut(sizes.plane()).zip(pixels) {
            for (at, (grad, pick)) in grad.iter().zip(picks).enumerate() {
                dx[*pick as usize * LANES + at % LANES] += grad;
            }
        }
    });
}

/// The positions of each kept value within a picture of the input and of the output.
fn pairs(sizes: Sizes, to: Sizes, stride: usize, before: usize) -> impl Iterator<Item = (usize, usize)> {
    let place = |sizes: Sizes, c: usize, y: usize, x: usize| {
        c / LANES * sizes.plane() + (y * sizes.w + x) * LANES + c % LANES
    };
    (0..sizes.c).flat_map(move |c| {
        (0..to.h).flat_map(move |y| {
            (0..to.w).map(move |x| (place(sizes, c, y * stride, x * stride), place(to, c + before, y, x)))
        })
    })
}

/// Every `stride`-th pixel, with channels of zeros around.
pub(super) fn subsample(whole: &[f32], sizes: Sizes, to: Sizes, stride: usize, before: usize) -> Vec<f32> {
    let mut out = vec![0.0; to.len()];
    let mut parts: Vec<&mut [f32]> = out.chunks_mut(to.picture()).collect();
    each(&mut parts, |index, part| {
        let whole = &whole[index * sizes.picture()..][..sizes.picture()];
        for (from, at) in pairs(sizes, to, stride, before) {
            part[at] = whole[from];
        }
    });
    out
}

/// Adds the gradient of [`subsample`]'s input.
pub(super) fn subsample_grad(
    grad: &[f32],
    sizes: Sizes,
    to: Sizes,
    stride: usize,
    before: usize,
    dx: &mut [f32],
) {
    let mut parts: Vec<&mut [f32]> = dx.chunks_mut(sizes.picture()).collect();
    each(&mut parts, |index, dx| {
        let grad = &grad[index * to.picture()..][..to.picture()];
        for (at, from) in pairs(sizes, to, stride, before) {
            dx[at] += grad[from];
        }
    });
}

/// Blocks to candle's layout.
pub(super) fn to_planes(blocks: &[f32], sizes: Sizes) -> Vec<f32> {
    struct Store<'a>(&'a [f32], Sizes, Sink<'a>);
    impl Kernel for Store<'_> {
        type Out = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let Self(picture, sizes, mut to) = self;
            to.store(s, &sizes, 0, Place::tight(&sizes), picture);
        }
    }
    let mut out = Unwritten::new(sizes.n * sizes.flat());
    let planes = out.room().par_chunks_mut(sizes.flat()).zip(blocks.par_chunks(sizes.picture()));
    planes.for_each(|(to, picture)| dispatch(Store(picture, sizes, Sink::Planes(to))));
    // SAFETY: every picture was written.
    unsafe { out.written() }
}
