//! One head of one sequence on the CPU. The length × length matrix of weights is never stored: a few rows at a time lie
//! in scratch memory, and the backward pass recomputes them.

#![allow(unsafe_code, reason = "vector loads and stores by address; each block states its bounds")]

use crate::Precision;
use crate::buffer::Buffer;
use crate::dropout::{Bits, Dropout};
use crate::product::{Finish, Left, PANEL, Right, Rows, Store, pack, pack_transposed, packed_len, product};
use crate::rows::{RowsMut, Slot, put};
use crate::simd::{Kernel, LANES, Simd, dispatch, exp, part};

/// Query rows at a time.
const TILE: usize = 24;

/// The keys of a sequence that a head attends to.
pub(crate) struct Keys {
    /// 1 at keys that are not masked; padded with 0 to whole vectors.
    real: Vec<f32>,
    /// The index of the last key that is not masked, plus one.
    count: usize,
}

impl Keys {
    /// From a sequence's mask.
    pub(crate) fn new(mask: &[f32]) -> Self {
        let count = mask.iter().rposition(|m| *m > 0.0).map_or(0, |last| last + 1);
        let mut real = vec![0.0; count.next_multiple_of(LANES)];
        real[..count].copy_from_slice(&mask[..count]);
        Self { real, count }
    }

    fn pitch(&self) -> usize {
        self.real.len()
    }

    /// Returns whether a key before the last unmasked one is masked.
    pub(crate) fn has_gaps(&self) -> bool {
        self.real[..self.count].contains(&0.0)
    }
}

/// Query, key and value of a head, and where the draws of its `(length, length)` weights begin.
#[derive(Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) q: Rows<'a>,
    pub(crate) k: Rows<'a>,
    pub(crate) v: Rows<'a>,
    pub(crate) keys: &'a Keys,
    pub(crate) length: usize,
    /// The precision of both products.
    pub(crate) precision: Precision,
    pub(crate) draws: Option<(Dropout, usize)>,
}

/// Intermediate results of a head that the backward pass reads.
#[derive(Default)]
pub(crate) struct Kept {
    /// The largest scaled score of each query, and 1 / Σ e^(score − largest).
    tops: Vec<f32>,
    gains: Vec<f32>,
    bits: Option<Bits>,
}

impl Head<'_> {
    fn width(&self) -> usize {
        self.q.columns
    }

    fn scale(&self) -> f32 {
        1.0 / (self.width() as f32).sqrt()
    }

    /// The factor of weights that dropout keeps.
    fn kept_gain(&self) -> f32 {
        self.draws.map_or(1.0, |(drop, _)| drop.gain())
    }

    fn start(&self) -> usize {
        self.draws.map_or(0, |(_, start)| start)
    }

    /// Packs the matrix of the keys or values, or its transpose.
    fn packed(&self, of: Rows, transposed: bool) -> Buffer {
        let (count, d, precision) = (self.keys.count, self.width(), self.precision);
        if transposed {
            let mut to = Buffer::take(packed_len(precision, d, count, PANEL));
            pack_transposed(precision, of.data, of.stride, d, count, &mut to);
            to
        } else {
            let mut to = Buffer::take(packed_len(precision, count, d, PANEL));
            pack::<PANEL>(precision, of.data, of.stride, count, d, &mut to);
            to
        }
    }

    fn tiles(&self) -> impl Iterator<Item = (usize, usize)> {
        let length = self.length;
        (0..length).step_by(TILE).map(move |row| (row, TILE.min(length - row)))
    }

    /// Writes the output.
    pub(crate) fn forward<T: Slot>(&self, mut out: RowsMut<'_, T>) -> Kept {
        let (count, d, pitch) = (self.keys.count, self.width(), self.keys.pitch());
        if count == 0 {
            for row in 0..self.length {
                out.row(row).fill(T::of(0.0));
            }
            return Kept::default();
        }
        let bits = self.draws.map(|(drop, start)| Bits::draw(drop, start, self.length * self.length));
        let (keys, values) = (self.packed(self.k, true), self.packed(self.v, false));
        let mut scores = Buffer::take(TILE * pitch);
        let mut kept = Kept { tops: vec![0.0; self.length], gains: vec![0.0; self.length], bits };
        for (first, rows) in self.tiles() {
            self.scores(self.q, first, rows, &keys, &mut scores);
            dispatch(Softmax {
                head: self,
                first,
                rows,
                scores: &mut scores,
                bits: kept.bits.as_ref(),
                tops: &mut kept.tops[first..][..rows],
                gains: &mut kept.gains[first..][..rows],
            });
            let mut scaled = Scaled {
                to: out.reborrow().skip_rows(first),
                gains: &kept.gains[first..][..rows],
                gain: self.kept_gain(),
            };
            let right = Right { data: &values, k: count, n: d, precision: self.precision };
            product(rows, Left::rows(&scores, pitch), right, &mut scaled);
        }
        kept
    }

    /// Multiplies some rows with all keys or values.
    fn scores(&self, rows_of: Rows, first: usize, rows: usize, packed: &[f32], to: &mut [f32]) {
        let (count, pitch) = (self.keys.count, self.keys.pitch());
        let right = Right { data: packed, k: self.width(), n: count, precision: self.precision };
        let left = Left::rows(&rows_of.data[first * rows_of.stride..], rows_of.stride);
        let mut store = Store::new(RowsMut::new(to, pitch), None);
        product(rows, left, right, &mut store);
    }

    /// Writes the gradients of query, key and value. `y` is the output.
    ///
    /// With scores S = q kᵀ / √d, weights P = softmax(S), P' after dropout and y = P' v: dv = P'ᵀ dy, dP' = dy vᵀ,
    /// dS = P (dP − Σ dP P) by rows, whose sum is also Σ dy y, dq = dS k / √d, and dk = dSᵀ q / √d.
    pub(crate) fn backward<T: Slot>(&self, y: Rows, dy: Rows, kept: &Kept, out: [RowsMut<'_, T>; 3]) {
        let (count, d, pitch) = (self.keys.count, self.width(), self.keys.pitch());
        let [mut dq, mut dk, mut dv] = out;
        let beyond = |out: &mut RowsMut<'_, T>, from: usize| {
            for row in from..self.length {
                out.row(row).fill(T::of(0.0));
            }
        };
        beyond(&mut dk, count);
        beyond(&mut dv, count);
        if count == 0 {
            beyond(&mut dq, 0);
            return;
        }
        let keys_t = self.packed(self.k, true);
        let values_t = self.packed(self.v, true);
        let keys = self.packed(self.k, false);
        let mut scores = Buffer::take(TILE * pitch);
        let mut slopes = Buffer::take(TILE * pitch);
        // Weights and slopes of all rows, in panels of sixteen keys.
        let mut weights_t = Buffer::take(pitch * self.length);
        let mut slopes_t = Buffer::take(pitch * self.length);
        for (first, rows) in self.tiles() {
            self.scores(self.q, first, rows, &keys_t, &mut scores);
            self.scores(dy, first, rows, &values_t, &mut slopes);
            dispatch(SoftmaxGrad {
                head: self,
                kept,
                first,
                rows,
                y,
                dy,
                scores: &mut scores,
                slopes: &slopes,
                weights_t: &mut weights_t,
                slopes_t: &mut slopes_t,
            });
            let mut store = Store::new(dq.reborrow().skip_rows(first), None);
            let right = Right { data: &keys, k: count, n: d, precision: self.precision };
            product(rows, Left::rows(&scores, pitch), right, &mut store);
        }
        for (left, of, to) in [(&weights_t, dy, dv), (&slopes_t, self.q, dk)] {
            let mut right = Buffer::take(packed_len(self.precision, self.length, d, PANEL));
            pack::<PANEL>(self.precision, of.data, of.stride, self.length, d, &mut right);
            let right = Right { data: &right, k: self.length, n: d, precision: self.precision };
            let mut store = Store::new(to, None);
            product(count, Left::transposed(left, Precision::F32, self.length), right, &mut store);
        }
    }
}

/// Writes rows times their gain.
struct Scaled<'a, T> {
    to: RowsMut<'a, T>,
    gains: &'a [f32],
    gain: f32,
}

impl<T: Slot> Finish for Scaled<'_, T> {
    #[inline(always)]
    fn put<S: Simd>(&mut self, s: S, row: usize, column: usize, v: S::V) {
        let v = s.mul(v, s.splat(self.gains[row] * self.gain));
        put(s, &mut self.to.row(row)[column..], v);
    }
}

/// scores ← e^(score · scale − largest) where the key is not masked and dropout keeps it, else 0.
struct Softmax<'a> {
    head: &'a Head<'a>,
    first: usize,
    rows: usize,
    scores: &'a mut [f32],
    bits: Option<&'a Bits>,
    tops: &'a mut [f32],
    gains: &'a mut [f32],
}

impl Kernel for Softmax<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { head, first, rows, scores, bits, tops, gains } = self;
        let real = &head.keys.real;
        let pitch = real.len();
        assert!(pitch.is_multiple_of(LANES) && scores.len() >= rows * pitch);
        let (scale, lowest) = (s.splat(head.scale()), s.splat(f32::NEG_INFINITY));
        for (row, scores) in scores.chunks_exact_mut(pitch).take(rows).enumerate() {
            let mut top = lowest;
            // SAFETY (both loops): within the row's `pitch` values, as many as `real` has.
            for at in (0..pitch).step_by(LANES) {
                let (x, counts) = unsafe { (s.load(scores.as_ptr().add(at)), s.load(real.as_ptr().add(at))) };
                top = s.max(top, s.where_greater(counts, s.zero(), x, lowest));
            }
            tops[row] = s.largest(top) * head.scale();
            let top = s.splat(tops[row]);
            let mut total = s.zero();
            let draws = head.start() + (first + row) * head.length;
            for at in (0..pitch).step_by(LANES) {
                unsafe {
                    let to = scores.as_mut_ptr().add(at);
                    let e = exp(s, s.sub(s.mul(s.load(to), scale), top));
                    let e = s.where_greater(s.load(real.as_ptr().add(at)), s.zero(), e, s.zero());
                    total = s.add(total, e);
                    s.store(to, bits.map_or(e, |bits| s.keep(bits.at(draws + at), e)));
                }
            }
            let total = s.sum(total);
            gains[row] = if total == 0.0 { 0.0 } else { 1.0 / total };
        }
    }
}

/// scores ← weights (slopes − Σ weights slopes) scale, with the slopes after dropout. Also stores these gradients and
/// the weights after dropout in panels of sixteen keys.
struct SoftmaxGrad<'a> {
    head: &'a Head<'a>,
    kept: &'a Kept,
    first: usize,
    rows: usize,
    y: Rows<'a>,
    dy: Rows<'a>,
    scores: &'a mut [f32],
    slopes: &'a [f32],
    weights_t: &'a mut [f32],
    slopes_t: &'a mut [f32],
}

impl Kernel for SoftmaxGrad<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { head, kept, first, rows, y, dy, scores, slopes, weights_t, slopes_t } = self;
        let (real, length, d) = (&head.keys.real, head.length, head.width());
        let pitch = real.len();
        assert!(pitch.is_multiple_of(LANES) && scores.len() >= rows * pitch && slopes.len() >= rows * pitch);
        assert!(
            first + rows <= length && weights_t.len() >= pitch * length && slopes_t.len() >= pitch * length
        );
        let (scale, gain) = (s.splat(head.scale()), s.splat(head.kept_gain()));
        for row in 0..rows {
            let query = first + row;
            let (y, dy) = (&y.data[query * y.stride..][..d], &dy.data[query * dy.stride..][..d]);
            let (top, norm) = (s.splat(kept.tops[query]), s.splat(kept.gains[query]));
            let draws = head.start() + query * length;
            let scores = &mut scores[row * pitch..][..pitch];
            for at in (0..pitch).step_by(LANES) {
                // SAFETY: at + LANES <= pitch.
                unsafe {
                    let to = scores.as_mut_ptr().add(at);
                    let e = exp(s, s.sub(s.mul(s.load(to), scale), top));
                    let p = s.mul(e, norm);
                    s.store(to, s.where_greater(s.load(real.as_ptr().add(at)), s.zero(), p, s.zero()));
                }
            }
            let mut mean = s.zero();
            if head.precision == Precision::F32 {
                for at in (0..d).step_by(LANES) {
                    mean = s.fma(part(s, y, at, 0.0), part(s, dy, at, 0.0), mean);
                }
            } else {
                // The mean of the rounded slopes, so that the gradients of a query's scores add up to 0.
                for at in (0..pitch).step_by(LANES) {
                    // SAFETY: as above.
                    unsafe {
                        let slope = s.mul(s.load(slopes.as_ptr().add(row * pitch + at)), gain);
                        let slope =
                            kept.bits.as_ref().map_or(slope, |bits| s.keep(bits.at(draws + at), slope));
                        mean = s.fma(s.load(scores.as_ptr().add(at)), slope, mean);
                    }
                }
            }
            let mean = s.splat(s.sum(mean));
            for at in (0..pitch).step_by(LANES) {
                // SAFETY: at + LANES <= pitch; the panel of keys `at` … begins at at · length.
                unsafe {
                    let to = scores.as_mut_ptr().add(at);
                    let p = s.load(to);
                    let slope = s.mul(s.load(slopes.as_ptr().add(row * pitch + at)), gain);
                    let weight = s.mul(p, gain);
                    let (slope, weight) = match &kept.bits {
                        Some(bits) => {
                            let bits = bits.at(draws + at);
                            (s.keep(bits, slope), s.keep(bits, weight))
                        }
                        None => (slope, weight),
                    };
                    let ds = s.mul(s.mul(p, scale), s.sub(slope, mean));
                    s.store(to, ds);
                    let panel = at * length + query * LANES;
                    s.store(slopes_t.as_mut_ptr().add(panel), ds);
                    s.store(weights_t.as_mut_ptr().add(panel), weight);
                }
            }
        }
    }
}
