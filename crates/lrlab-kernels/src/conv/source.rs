//! The input and output of a convolution: pictures in candle's planes, or in blocks of sixteen channels. In blocks, the
//! operations before or after the convolution are fused into reading and writing, which saves passes over memory.

#![allow(
    unsafe_code,
    reason = "vector loads and stores by address; lengths are asserted at the start of a picture"
)]

use std::mem::MaybeUninit;
use std::sync::{Mutex, PoisonError};

use super::blocked::{pack, unpack};
use super::geometry::{Frame, Sizes};
use crate::rows::put;
use crate::simd::{LANES, Simd, part};

/// gain · y + offset, per channel; zeros in lanes without a channel.
#[derive(Debug, Clone)]
pub(crate) struct Affine {
    pub(crate) gain: Vec<f32>,
    pub(crate) offset: Vec<f32>,
}

/// A summand in blocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Term<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) affine: Option<&'a Affine>,
}

/// The gradient of a batch norm's input: slope · grad + drift + tilt · (y − mean), per channel.
#[derive(Debug, Clone)]
pub(crate) struct Backward {
    pub(crate) slope: Vec<f32>,
    pub(crate) drift: Vec<f32>,
    pub(crate) tilt: Vec<f32>,
    pub(crate) mean: Vec<f32>,
}

/// Stores the values of a source while it is read.
pub(crate) trait Keep: std::fmt::Debug + Sync {
    /// Writes a block of a picture from its frame.
    fn write(&self, picture: usize, block: usize, sizes: &Sizes, place: Place, frame: &[f32]);
}

/// A batch in blocks, written picture by picture from any thread.
#[derive(Debug)]
pub(crate) struct Pictures<'a>(Vec<Mutex<&'a mut [MaybeUninit<f32>]>>);

impl<'a> Pictures<'a> {
    pub(crate) fn new(batch: &'a mut [MaybeUninit<f32>], sizes: &Sizes) -> Self {
        Self(batch.chunks_exact_mut(sizes.picture()).map(Mutex::new).collect())
    }
}

impl Keep for Pictures<'_> {
    fn write(&self, picture: usize, block: usize, sizes: &Sizes, place: Place, frame: &[f32]) {
        let mut picture = self.0[picture].lock().unwrap_or_else(PoisonError::into_inner);
        let plane = &mut picture[block * sizes.plane()..][..sizes.plane()];
        for (to, row) in plane.chunks_exact_mut(sizes.w * LANES).zip(place.rows(sizes, frame)) {
            to.write_copy_of_slice(row);
        }
    }
}

/// The pictures that a convolution reads.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source<'a> {
    /// candle's layout `(n, c, h, w)`.
    Planes(&'a [f32]),
    /// first + second, or with `relu` max(first + second, 0). `keep` stores the result.
    Blocks { first: Term<'a>, second: Option<Term<'a>>, relu: bool, keep: Option<&'a dyn Keep> },
    /// The gradient of a convolution's output from that of the norm after it.
    Norm { grad: &'a [f32], y: &'a [f32], backward: &'a Backward },
}

/// The position of a picture in its frame of zeros.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) frame: Frame,
    pub(crate) top: usize,
    pub(crate) left: usize,
}

impl Place {
    /// No frame around the picture.
    pub(crate) fn tight(sizes: &Sizes) -> Self {
        Self { frame: Frame { height: sizes.h, width: sizes.w }, top: 0, left: 0 }
    }

    /// The rows of a picture in the frame of one of its blocks.
    #[inline(always)]
    fn rows<'f>(self, sizes: &Sizes, frame: &'f [f32]) -> impl Iterator<Item = &'f [f32]> + use<'f> {
        let (width, columns) = (self.frame.width * LANES, sizes.w * LANES);
        let first = (self.top * self.frame.width + self.left) * LANES;
        frame[first..].chunks(width).take(sizes.h).map(move |row| &row[..columns])
    }
}

impl Source<'_> {
    /// Returns whether the source holds the pictures.
    pub(crate) fn holds(&self, sizes: &Sizes) -> bool {
        let len = sizes.len();
        match self {
            Self::Planes(data) => data.len() == sizes.n * sizes.flat(),
            Self::Blocks { first, second, .. } => {
                let fits = |term: &Term<'_>| {
                    let lanes = sizes.blocks() * LANES;
                    let affine = term.affine.is_none_or(|a| a.gain.len() == lanes && a.offset.len() == lanes);
                    term.data.len() == len && affine
                };
                fits(first) && second.as_ref().is_none_or(fits)
            }
            Self::Norm { grad, y, .. } => grad.len() == len && y.len() == len,
        }
    }

    /// Picture `index` into `out`, one frame per block.
    #[inline(always)]
    pub(crate) fn load<S: Simd>(&self, s: S, sizes: &Sizes, index: usize, place: Place, out: &mut [f32]) {
        let Place { frame, top, left } = place;
        assert!(out.len() == sizes.blocks() * frame.plane());
        assert!(top + sizes.h <= frame.height && left + sizes.w <= frame.width && index < sizes.n);
        assert!(self.holds(sizes));
        if let Self::Planes(data) = self {
            let picture = &data[index * sizes.flat()..][..sizes.flat()];
            pack(s, picture, (sizes.c, sizes.h, sizes.w), frame, (top, left), out);
            return;
        }
        for block in 0..sizes.blocks() {
            let out = &mut out[block * frame.plane()..][..frame.plane()];
            if (frame.height, frame.width) != (sizes.h, sizes.w) {
                border(frame, sizes, top, left, out);
            }
            let from = index * sizes.picture() + block * sizes.plane();
            for row in 0..sizes.h {
                let at = ((top + row) * frame.width + left) * LANES;
                let from = from + row * sizes.w * LANES;
                // SAFETY: the row lies in the frame and in each array, as asserted.
                unsafe { self.row(s, from, block * LANES, sizes.w, out.as_mut_ptr().add(at)) };
            }
            if let Self::Blocks { keep: Some(keep), .. } = self {
                keep.write(index, block, sizes, place, out);
            }
        }
    }

    /// # Safety
    /// The arrays hold `width` pixels from `from` on, and `to` has room for them.
    #[inline(always)]
    unsafe fn row<S: Simd>(&self, s: S, from: usize, lane: usize, width: usize, to: *mut f32) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            match self {
                Self::Planes(_) => {}
                Self::Blocks { first, second: None, relu: false, .. } if first.affine.is_none() => {
                    to.copy_from_nonoverlapping(first.data.as_ptr().add(from), width * LANES);
                }
                Self::Blocks { first, second, relu, .. } => {
                    let floor = s.splat(if *relu { 0.0 } else { f32::NEG_INFINITY });
                    let (gain, offset) = first.coefficients(s, lane);
                    let first = first.data.as_ptr().add(from);
                    match second {
                        None => {
                            for x in 0..width {
                                let z = s.fma(s.load(first.add(x * LANES)), gain, offset);
                                // This order of arguments propagates a NaN.
                                let z = s.max(floor, z);
                                s.store(to.add(x * LANES), z);
                            }
                        }
                        Some(second) => {
                            let (gain2, offset2) = second.coefficients(s, lane);
                            let second = second.data.as_ptr().add(from);
                            for x in 0..width {
                                let z = s.fma(s.load(first.add(x * LANES)), gain, offset);
                                let r = s.fma(s.load(second.add(x * LANES)), gain2, offset2);
                                s.store(to.add(x * LANES), s.max(floor, s.add(z, r)));
                            }
                        }
                    }
                }
                Self::Norm { grad, y, backward } => {
                    let slope = s.load(backward.slope.as_ptr().add(lane));
                    let drift = s.load(backward.drift.as_ptr().add(lane));
                    let tilt = s.load(backward.tilt.as_ptr().add(lane));
                    let mean = s.load(backward.mean.as_ptr().add(lane));
                    let (grad, y) = (grad.as_ptr().add(from), y.as_ptr().add(from));
                    for x in 0..width {
                        let away = s.sub(s.load(y.add(x * LANES)), mean);
                        let d = s.fma(s.load(grad.add(x * LANES)), slope, s.fma(tilt, away, drift));
                        s.store(to.add(x * LANES), d);
                    }
                }
            }
        }
    }
}

impl Term<'_> {
    /// # Safety
    /// The coefficients reach as far as `lane + 16`.
    #[inline(always)]
    unsafe fn coefficients<S: Simd>(&self, s: S, lane: usize) -> (S::V, S::V) {
        match self.affine {
            // SAFETY: guaranteed by the caller.
            Some(affine) => unsafe {
                (s.load(affine.gain.as_ptr().add(lane)), s.load(affine.offset.as_ptr().add(lane)))
            },
            None => (s.splat(1.0), s.zero()),
        }
    }
}

/// Zeros around the picture.
fn border(frame: Frame, sizes: &Sizes, top: usize, left: usize, out: &mut [f32]) {
    let row = frame.row();
    out[..top * row].fill(0.0);
    out[(top + sizes.h) * row..].fill(0.0);
    for line in out[top * row..(top + sizes.h) * row].chunks_exact_mut(row) {
        line[..left * LANES].fill(0.0);
        line[(left + sizes.w) * LANES..].fill(0.0);
    }
}

/// The pictures that a convolution writes.
#[derive(Debug)]
pub(crate) enum Sink<'a> {
    /// candle's layout.
    Planes(&'a mut [MaybeUninit<f32>]),
    /// Blocks.
    Blocks(&'a mut [MaybeUninit<f32>]),
    /// Added to what the blocks hold.
    Add(&'a mut [f32]),
}

impl Sink<'_> {
    /// Returns whether the sink has room for the batch and no more.
    pub(crate) fn holds(&self, sizes: &Sizes) -> bool {
        match self {
            Self::Planes(to) => to.len() == sizes.n * sizes.flat(),
            Self::Blocks(to) => to.len() == sizes.len(),
            Self::Add(to) => to.len() == sizes.len(),
        }
    }

    /// Sinks for `count` pictures each; the last may have fewer.
    pub(crate) fn split(self, sizes: &Sizes, count: usize) -> Vec<Self> {
        let blocks = count * sizes.picture();
        match self {
            Self::Planes(to) => to.chunks_mut(count * sizes.flat()).map(Self::Planes).collect(),
            Self::Blocks(to) => to.chunks_mut(blocks).map(Self::Blocks).collect(),
            Self::Add(to) => to.chunks_mut(blocks).map(Self::Add).collect(),
        }
    }

    /// The sink's pictures from `first` on, if the sink stores blocks.
    pub(crate) fn in_place(
        &mut self,
        sizes: &Sizes,
        first: usize,
    ) -> Option<impl Iterator<Item = &mut [MaybeUninit<f32>]>> {
        match self {
            Self::Blocks(to) => Some(to[first * sizes.picture()..].chunks_exact_mut(sizes.picture())),
            Self::Planes(_) | Self::Add(_) => None,
        }
    }

    /// The sink's picture `index` from its frames.
    #[inline(always)]
    pub(crate) fn store<S: Simd>(&mut self, s: S, sizes: &Sizes, index: usize, place: Place, from: &[f32]) {
        let Place { frame, top, left } = place;
        assert!(from.len() >= sizes.blocks() * frame.plane());
        assert!(top + sizes.h <= frame.height && left + sizes.w <= frame.width);
        match self {
            Self::Planes(to) => {
                let to = &mut to[index * sizes.flat()..][..sizes.flat()];
                unpack(s, from, frame, (top, left), (sizes.h, sizes.w), to);
            }
            Self::Blocks(to) => {
                let to = &mut to[index * sizes.picture()..][..sizes.picture()];
                let frames = from.chunks_exact(frame.plane());
                for (to, frame) in to.chunks_exact_mut(sizes.plane()).zip(frames) {
                    for (to, row) in to.chunks_exact_mut(sizes.w * LANES).zip(place.rows(sizes, frame)) {
                        to.write_copy_of_slice(row);
                    }
                }
            }
            Self::Add(to) => {
                let to = &mut to[index * sizes.picture()..][..sizes.picture()];
                let frames = from.chunks_exact(frame.plane());
                for (to, frame) in to.chunks_exact_mut(sizes.plane()).zip(frames) {
                    for (to, row) in to.chunks_exact_mut(sizes.w * LANES).zip(place.rows(sizes, frame)) {
                        for (to, from) in to.chunks_exact_mut(LANES).zip(row.chunks_exact(LANES)) {
                            put(s, to, s.add(part(s, from, 0, 0.0), part(s, to, 0, 0.0)));
                        }
                    }
                }
            }
        }
    }
}
