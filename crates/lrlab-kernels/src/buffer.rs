//! Working memory that is kept between uses, on cache lines.

#![allow(unsafe_code, reason = "a slice of cache lines is read as one of numbers")]

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::simd::LANES;

/// A cache line of sixteen numbers.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([f32; LANES]);

/// Buffers nobody uses, by their number of lines.
static FREE: Mutex<BTreeMap<usize, Vec<Vec<Line>>>> = Mutex::new(BTreeMap::new());

/// Numbers, the first on a cache line. The memory comes from a buffer dropped before where one fits (at most twice as
/// large), so each training step works in the pages of the step before.
pub(crate) struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    /// Of `len` numbers; the contents are anything.
    pub(crate) fn take(len: usize) -> Self {
        let wanted = len.div_ceil(LANES);
        let found = {
            let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
            let size = free.range(wanted..=2 * wanted).map(|(size, _)| *size).next();
            size.and_then(|size| {
                let of_size = free.get_mut(&size)?;
                let lines = of_size.pop();
                if of_size.is_empty() {
                    free.remove(&size);
                }
                lines
            })
        };
        Self { lines: found.unwrap_or_else(|| vec![Line([0.0; LANES]); wanted]), len }
    }

    /// Of `len` zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        let mut buffer = Self::take(len);
        buffer.fill(0.0);
        buffer
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        if !lines.is_empty() {
            let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
            free.entry(lines.len()).or_default().push(lines);
        }
    }
}

impl std::ops::Deref for Buffer {
    type Target = [f32];

    #[inline]
    fn deref(&self) -> &[f32] {
        // SAFETY: a line is sixteen numbers without gaps, and there are lines for `len` of them.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl std::ops::DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_contents() {
        for len in [0, 1, 15, 16, 17, 1000] {
            let mut buffer = Buffer::zeros(len);
            assert!(buffer.len() == len && buffer.iter().all(|v| *v == 0.0));
            assert_eq!(buffer.as_ptr() as usize % 64, 0);
            buffer.fill(7.0);
        }
        assert!(Buffer::zeros(500).iter().all(|v| *v == 0.0));
    }
}
