//! F(4×4, 3×3): the transforms, sixteen channels at a time (Lavin and Gray, "Fast algorithms for convolutional neural
//! networks", CVPR 2016, section 4.3), and their adjoints for the gradients.
//!
//! y = Aᵀ [(G w Gᵀ) ⊙ (Bᵀ d B)] A with the points 0, ±1, ±2, ∞: 36 products for sixteen outputs instead of 144.

#![allow(
    unsafe_code,
    reason = "vector loads and stores by address; each function states what it reads and writes"
)]
#![allow(clippy::needless_range_loop, reason = "rows and columns of small matrices, unrolled in registers")]

use crate::simd::{LANES, Simd};

/// Products per tile and pair of channels.
pub(super) const POINTS: usize = 36;
/// Outputs along one side of a tile.
pub(crate) const TILE: usize = 4;
/// Inputs along one side of a tile.
const PATCH: usize = 6;

/// Bᵀ d
#[inline(always)]
fn b_t<S: Simd>(s: S, d: [S::V; 6]) -> [S::V; 6] {
    let (two, four, five) = (s.splat(2.0), s.splat(4.0), s.splat(-5.0));
    let minus = s.splat(-4.0);
    let even = s.fma(minus, d[2], d[4]);
    let odd = s.fma(minus, d[1], d[3]);
    let (step, twice) = (s.sub(d[4], d[2]), s.mul(two, s.sub(d[3], d[1])));
    [
        s.fma(four, d[0], s.fma(five, d[2], d[4])),
        s.add(even, odd),
        s.sub(even, odd),
        s.add(step, twice),
        s.sub(step, twice),
        s.fma(four, d[1], s.fma(five, d[3], d[5])),
    ]
}

/// B v, the adjoint of [`b_t`].
#[inline(always)]
fn b<S: Simd>(s: S, v: [S::V; 6]) -> [S::V; 6] {
    let (two, four, five) = (s.splat(2.0), s.splat(4.0), s.splat(-5.0));
    let minus = s.splat(-4.0);
    let (p, q) = (s.add(v[1], v[2]), s.sub(v[1], v[2]));
    let (r, t) = (s.add(v[3], v[4]), s.mul(two, s.sub(v[3], v[4])));
    [
        s.mul(four, v[0]),
        s.sub(s.fma(four, v[5], s.mul(minus, q)), t),
        s.sub(s.fma(five, v[0], s.mul(minus, p)), r),
        s.add(s.fma(five, v[5], q), t),
        s.add(s.add(v[0], p), r),
        v[5],
    ]
}

/// Aᵀ m
#[inline(always)]
fn a_t<S: Simd>(s: S, m: [S::V; 6]) -> [S::V; 4] {
    let (two, four, eight) = (s.splat(2.0), s.splat(4.0), s.splat(8.0));
    let (p, q) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
    let (r, t) = (s.add(m[3], m[4]), s.sub(m[3], m[4]));
    [s.add(s.add(m[0], p), r), s.fma(two, t, q), s.fma(four, r, p), s.add(s.fma(eight, t, q), m[5])]
}

/// A d, the adjoint of [`a_t`].
#[inline(always)]
fn a<S: Simd>(s: S, d: [S::V; 4]) -> [S::V; 6] {
    let (two, four) = (s.splat(2.0), s.splat(4.0));
    let (even, odd) = (s.add(d[0], d[2]), s.add(d[1], d[3]));
    let (far, further) = (s.fma(four, d[2], d[0]), s.mul(two, s.fma(four, d[3], d[1])));
    [d[0], s.add(even, odd), s.sub(even, odd), s.add(far, further), s.sub(far, further), d[3]]
}

/// G w
#[inline(always)]
fn g<S: Simd>(s: S, w: [S::V; 3]) -> [S::V; 6] {
    let (quarter, sixth) = (s.splat(0.25), s.splat(-1.0 / 6.0));
    let (x, y, z) = (s.splat(1.0 / 24.0), s.splat(1.0 / 12.0), s.splat(1.0 / 6.0));
    let ends = s.mul(sixth, s.add(w[0], w[2]));
    let middle = s.mul(sixth, w[1]);
    let far = s.fma(x, w[0], s.mul(z, w[2]));
    let step = s.mul(y, w[1]);
    [s.mul(quarter, w[0]), s.add(ends, middle), s.sub(ends, middle), s.add(far, step), s.sub(far, step), w[2]]
}

/// Gᵀ u, the adjoint of [`g`].
#[inline(always)]
fn g_t<S: Simd>(s: S, u: [S::V; 6]) -> [S::V; 3] {
    let (quarter, sixth) = (s.splat(0.25), s.splat(-1.0 / 6.0));
    let (x, y, z) = (s.splat(1.0 / 24.0), s.splat(1.0 / 12.0), s.splat(1.0 / 6.0));
    let (p, q) = (s.add(u[1], u[2]), s.sub(u[1], u[2]));
    let (r, t) = (s.add(u[3], u[4]), s.sub(u[3], u[4]));
    [
        s.fma(quarter, u[0], s.fma(sixth, p, s.mul(x, r))),
        s.fma(sixth, q, s.mul(y, t)),
        s.add(s.fma(sixth, p, s.mul(z, r)), u[5]),
    ]
}

/// Bᵀ d B of a 6×6 patch at `from` (rows `row` values apart) into 36 places `apart` values apart.
///
/// # Safety
/// The patch is readable, the places are writable.
#[inline(always)]
pub(super) unsafe fn input<S: Simd>(s: S, from: *const f32, row: usize, to: *mut f32, apart: usize) {
    let mut half = [[s.zero(); PATCH]; PATCH];
    // SAFETY: guaranteed by the caller.
    unsafe {
        for j in 0..PATCH {
            let mut d = [s.zero(); PATCH];
            for (i, d) in d.iter_mut().enumerate() {
                *d = s.load(from.add(i * row + j * LANES));
            }
            let d = b_t(s, d);
            for i in 0..PATCH {
                half[i][j] = d[i];
            }
        }
        for (i, line) in half.into_iter().enumerate() {
            let line = b_t(s, line);
            for (j, v) in line.into_iter().enumerate() {
                s.store(to.add((i * PATCH + j) * apart), v);
            }
        }
    }
}

/// Adds B v Bᵀ to the patch at `to`: the adjoint of [`input`].
///
/// # Safety
/// The places are readable, the patch is readable and writable.
#[inline(always)]
pub(super) unsafe fn input_grad<S: Simd>(s: S, from: *const f32, apart: usize, to: *mut f32, row: usize) {
    let mut half = [[s.zero(); PATCH]; PATCH];
    // SAFETY: guaranteed by the caller.
    unsafe {
        for j in 0..PATCH {
            let mut v = [s.zero(); PATCH];
            for (i, v) in v.iter_mut().enumerate() {
                *v = s.load(from.add((i * PATCH + j) * apart));
            }
            let v = b(s, v);
            for i in 0..PATCH {
                half[i][j] = v[i];
            }
        }
        for (i, line) in half.into_iter().enumerate() {
            let line = b(s, line);
            for (j, v) in line.into_iter().enumerate() {
                let to = to.add(i * row + j * LANES);
                s.store(to, s.add(s.load(to), v));
            }
        }
    }
}

/// Aᵀ m A of 36 places at `from`: rows of outputs.
///
/// # Safety
/// The places are readable.
#[inline(always)]
pub(super) unsafe fn output<S: Simd>(s: S, from: *const f32, apart: usize) -> [[S::V; TILE]; TILE] {
    let mut half = [[s.zero(); PATCH]; TILE];
    // SAFETY: guaranteed by the caller.
    unsafe {
        for j in 0..PATCH {
            let mut m = [s.zero(); PATCH];
            for (i, m) in m.iter_mut().enumerate() {
                *m = s.load(from.add((i * PATCH + j) * apart));
            }
            let m = a_t(s, m);
            for i in 0..TILE {
                half[i][j] = m[i];
            }
        }
    }
    let mut out = [[s.zero(); TILE]; TILE];
    for (out, line) in out.iter_mut().zip(half) {
        *out = a_t(s, line);
    }
    out
}

/// A d Aᵀ of the 4×4 gradients at `from` into 36 places: the adjoint of [`output`].
///
/// # Safety
/// The gradients are readable, the places are writable.
#[inline(always)]
pub(super) unsafe fn output_grad<S: Simd>(s: S, from: *const f32, row: usize, to: *mut f32, apart: usize) {
    let mut half = [[s.zero(); TILE]; PATCH];
    // SAFETY: guaranteed by the caller.
    unsafe {
        for j in 0..TILE {
            let mut d = [s.zero(); TILE];
            for (i, d) in d.iter_mut().enumerate() {
                *d = s.load(from.add(i * row + j * LANES));
            }
            let d = a(s, d);
            for i in 0..PATCH {
                half[i][j] = d[i];
            }
        }
        for (i, line) in half.into_iter().enumerate() {
            let line = a(s, line);
            for (j, v) in line.into_iter().enumerate() {
                s.store(to.add((i * PATCH + j) * apart), v);
            }
        }
    }
}

/// G w Gᵀ of nine vectors into 36 places.
///
/// # Safety
/// The places are writable.
#[inline(always)]
pub(super) unsafe fn weight<S: Simd>(s: S, w: [S::V; 9], to: *mut f32, apart: usize) {
    let mut half = [[s.zero(); 3]; PATCH];
    for j in 0..3 {
        let w = g(s, [w[j], w[3 + j], w[6 + j]]);
        for i in 0..PATCH {
            half[i][j] = w[i];
        }
    }
    for (i, line) in half.into_iter().enumerate() {
        let line = g(s, line);
        for (j, v) in line.into_iter().enumerate() {
            // SAFETY: guaranteed by the caller.
            unsafe { s.store(to.add((i * PATCH + j) * apart), v) };
        }
    }
}

/// Gᵀ u G of 36 places: the adjoint of [`weight`].
///
/// # Safety
/// The places are readable.
#[inline(always)]
pub(super) unsafe fn weight_grad<S: Simd>(s: S, from: *const f32, apart: usize) -> [S::V; 9] {
    let mut half = [[s.zero(); PATCH]; 3];
    for j in 0..PATCH {
        let mut u = [s.zero(); PATCH];
        for (i, u) in u.iter_mut().enumerate() {
            // SAFETY: guaranteed by the caller.
            *u = unsafe { s.load(from.add((i * PATCH + j) * apart)) };
        }
        let u = g_t(s, u);
        for i in 0..3 {
            half[i][j] = u[i];
        }
    }
    let mut out = [s.zero(); 9];
    for (i, line) in half.into_iter().enumerate() {
        let line = g_t(s, line);
        out[3 * i..3 * i + 3].copy_from_slice(&line);
    }
    out
}
