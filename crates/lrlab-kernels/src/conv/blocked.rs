//! Conversion between planes of channels (candle's layout) and blocks of sixteen interleaved channels.

#![allow(unsafe_code, reason = "vector loads and stores by address; each block states its bounds")]

use std::mem::MaybeUninit;

use super::geometry::Frame;
use crate::rows::put;
use crate::simd::{LANES, Simd, vectors};

/// Writes one picture `(channels, height, width)` to `out`: one frame per block of channels, with the picture at
/// (`top`, `left`) and zeros elsewhere.
#[inline(always)]
pub(super) fn pack<S: Simd>(
    s: S,
    picture: &[f32],
    (channels, height, width): (usize, usize, usize),
    frame: Frame,
    (top, left): (usize, usize),
    out: &mut [f32],
) {
    let pixels = height * width;
    let blocks = channels.div_ceil(LANES);
    assert!(picture.len() == channels * pixels && out.len() == blocks * frame.plane());
    assert!(top + height <= frame.height && left + width <= frame.width);
    if (frame.height, frame.width) != (height, width) || channels % LANES != 0 {
        out.fill(0.0);
    }
    for (planes, out) in picture.chunks(LANES * pixels).zip(out.chunks_mut(frame.plane())) {
        let count = planes.len() / pixels;
        let (mut y, mut x) = (0, 0);
        for start in (0..pixels).step_by(LANES) {
            let here = (pixels - start).min(LANES);
            let rows: [S::V; LANES] = vectors(s, |i| {
                if i >= count {
                    s.zero()
                } else if here == LANES {
                    // SAFETY: `start + LANES <= pixels` within plane i < count.
                    unsafe { s.load(planes.as_ptr().add(i * pixels + start)) }
                } else {
                    s.load_partial(&planes[i * pixels + start..][..here], 0.0)
                }
            });
            for column in s.transpose(rows).into_iter().take(here) {
                let at = ((top + y) * frame.width + left + x) * LANES;
                // SAFETY: the pixel (top + y, left + x) lies in the frame, asserted above.
                unsafe { s.store(out.as_mut_ptr().add(at), column) };
                x += 1;
                if x == width {
                    (x, y) = (0, y + 1);
                }
            }
        }
    }
}

/// The inverse of [`pack`]: writes the picture of `height` × `width` pixels at (`top`, `left`) of its frames to the
/// planes of `out`.
#[inline(always)]
pub(super) fn unpack<S: Simd>(
    s: S,
    blocks: &[f32],
    frame: Frame,
    (top, left): (usize, usize),
    (height, width): (usize, usize),
    out: &mut [MaybeUninit<f32>],
) {
    let pixels = height * width;
    let channels = out.len() / pixels;
    assert!(blocks.len() >= channels.div_ceil(LANES) * frame.plane());
    assert!(top + height <= frame.height && left + width <= frame.width);
    for (b, block) in blocks.chunks(frame.plane()).take(channels.div_ceil(LANES)).enumerate() {
        let count = (channels - b * LANES).min(LANES);
        let (mut y, mut x) = (0, 0);
        for start in (0..pixels).step_by(LANES) {
            let here = (pixels - start).min(LANES);
            let mut rows = [s.zero(); LANES];
            for row in rows.iter_mut().take(here) {
                let at = ((top + y) * frame.width + left + x) * LANES;
                // SAFETY: the pixel lies in the block, asserted above.
                *row = unsafe { s.load(block.as_ptr().add(at)) };
                x += 1;
                if x == width {
                    (x, y) = (0, y + 1);
                }
            }
            for (i, plane) in s.transpose(rows).into_iter().take(count).enumerate() {
                put(s, &mut out[(b * LANES + i) * pixels + start..][..here], plane);
            }
        }
    }
}
