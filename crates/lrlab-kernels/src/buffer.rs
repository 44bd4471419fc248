//! Working memory, aligned to cache lines and reused.

#![allow(unsafe_code, reason = "a slice of cache lines is read as one of numbers")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::simd::LANES;

/// A cache line of sixteen numbers.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([f32; LANES]);

static POOL: Mutex<Pool> = Mutex::new(Pool::new());

/// f32 values, aligned to cache lines. The memory of a dropped buffer is reused if it fits, so each training step works
/// in the pages of the previous one.
pub(crate) struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    /// A buffer of `len` values with unspecified contents.
    pub(crate) fn take(len: usize) -> Self {
        Self { lines: take(&POOL, len.div_ceil(LANES)), len }
    }

    /// A buffer of `len` zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        let mut buffer = Self::take(len);
        buffer.fill(0.0);
        buffer
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        put(&POOL, std::mem::take(&mut self.lines));
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

/// The lines of idle buffers, in size classes: eight per doubling.
///
/// For any sequence of sizes, used and idle buffers together hold at most a quarter more than the largest amount in use
/// at once. The pool frees the buffer that has been idle the longest first, before it allocates a new one.
struct Pool {
    /// By their number of lines, each class in the order in which its buffers were dropped.
    idle: BTreeMap<usize, VecDeque<Idle>>,
    /// Lines of all idle buffers.
    idle_lines: usize,
    /// Lines of all buffers in use.
    used_lines: usize,
    /// The most lines that were in use at once.
    most_lines: usize,
    /// Buffers dropped so far.
    clock: u64,
}

struct Idle {
    lines: Vec<Line>,
    since: u64,
}

/// Lines of the class that holds `wanted` lines: at most an eighth more.
fn class(wanted: usize) -> usize {
    let step = 1 << wanted.max(8).ilog2().saturating_sub(3);
    wanted.next_multiple_of(step)
}

fn lock(pool: &Mutex<Pool>) -> MutexGuard<'_, Pool> {
    pool.lock().unwrap_or_else(PoisonError::into_inner)
}

/// At least `wanted` lines with any contents; none for 0.
fn take(pool: &Mutex<Pool>, wanted: usize) -> Vec<Line> {
    let size = class(wanted);
    let (found, surplus) = lock(pool).take(size);
    // Outside the lock: freeing, and zeroing new lines.
    drop(surplus);
    found.unwrap_or_else(|| vec![Line([0.0; LANES]); size])
}

/// Returns lines to the pool.
fn put(pool: &Mutex<Pool>, lines: Vec<Line>) {
    let surplus = lock(pool).put(lines);
    // Outside the lock.
    drop(surplus);
}

impl Pool {
    const fn new() -> Self {
        Self { idle: BTreeMap::new(), idle_lines: 0, used_lines: 0, most_lines: 0, clock: 0 }
    }

    /// Returns an idle buffer of `size` lines, or of up to twice as many, and the buffers to free. The pool counts the
    /// buffer as used; if there is none, the caller allocates one of `size` lines.
    fn take(&mut self, size: usize) -> (Option<Vec<Line>>, Vec<Vec<Line>>) {
        let fitting = self.idle.range(size..=2 * size).next().map(|(size, _)| *size);
        let found = fitting.and_then(|size| self.remove(size, VecDeque::pop_back));
        self.used_lines += found.as_ref().map_or(size, Vec::len);
        self.most_lines = self.most_lines.max(self.used_lines);
        let surplus = self.trim();
        (found, surplus)
    }

    /// Takes lines back; returns what is to be freed.
    fn put(&mut self, lines: Vec<Line>) -> Vec<Vec<Line>> {
        if lines.is_empty() {
            return Vec::new();
        }
        self.used_lines -= lines.len();
        self.idle_lines += lines.len();
        self.idle.entry(lines.len()).or_default().push_back(Idle { lines, since: self.clock });
        self.clock += 1;
        self.trim()
    }

    /// Removes what lies idle beyond the bound.
    fn trim(&mut self) -> Vec<Vec<Line>> {
        let mut surplus = Vec::new();
        while self.used_lines + self.idle_lines > self.most_lines + self.most_lines / 4 {
            let since = |of_size: &VecDeque<Idle>| of_size.front().map(|idle| idle.since);
            let oldest = self.idle.iter().min_by_key(|(_, of_size)| since(of_size)).map(|(size, _)| *size);
            let Some(lines) = oldest.and_then(|size| self.remove(size, VecDeque::pop_front)) else { break };
            surplus.push(lines);
        }
        surplus
    }

    /// Removes one end of a class.
    fn remove(
        &mut self,
        size: usize,
        end: impl FnOnce(&mut VecDeque<Idle>) -> Option<Idle>,
    ) -> Option<Vec<Line>> {
        let of_size = self.idle.get_mut(&size)?;
        let found = end(of_size);
        if of_size.is_empty() {
            self.idle.remove(&size);
        }
        let lines = found?.lines;
        self.idle_lines -= lines.len();
        Some(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_contents() {
        for len in [0, 1, 15, 16, 17, 1000, 100_003] {
            let mut buffer = Buffer::zeros(len);
            assert!(buffer.len() == len && buffer.iter().all(|v| *v == 0.0));
            assert_eq!(buffer.as_ptr() as usize % 64, 0);
            buffer.fill(7.0);
        }
        assert!(Buffer::zeros(500).iter().all(|v| *v == 0.0));
    }

    #[test]
    fn size_classes_are_close_and_few() {
        let mut classes = std::collections::BTreeSet::new();
        for wanted in 0..100_000 {
            let size = class(wanted);
            assert!(wanted <= size && size <= wanted + wanted / 8, "{size} lines for {wanted}");
            assert_eq!(class(size), size);
            classes.insert(size);
        }
        assert!(classes.len() < 8 * 17, "{} classes", classes.len());
    }

    /// The lines of a batch of `length` in use at once, as an encoder's forward pass has them, then given back.
    fn batch(pool: &Mutex<Pool>, length: usize) -> usize {
        let sequence =
            [24 * length, 8 * length, 8 * length, length.div_ceil(16), 16 * length, length * length / 16];
        let wanted: Vec<usize> = std::iter::repeat_n(sequence, 16).flatten().collect();
        let taken: Vec<Vec<Line>> = wanted.iter().map(|wanted| take(pool, *wanted)).collect();
        assert!(taken.iter().zip(&wanted).all(|(lines, wanted)| lines.len() >= *wanted));
        for lines in taken {
            put(pool, lines);
        }
        wanted.iter().sum()
    }

    #[test]
    fn the_largest_batch_bounds_the_held_memory() {
        let held = |pool: &Mutex<Pool>| {
            let pool = lock(pool);
            let idle: usize = pool.idle.values().flatten().map(|idle| idle.lines.len()).sum();
            assert!(pool.idle_lines == idle && pool.used_lines == 0);
            idle
        };
        let shuffled = |i: usize| (i * 157) % 400 + 1;
        let orders: [(&str, Vec<usize>); 4] = [
            ("ascending", (1..=400).collect()),
            ("descending", (1..=400).rev().collect()),
            ("shuffled", (0..400).map(shuffled).collect()),
            ("ascending twice", (1..=400).chain(1..=400).collect()),
        ];
        for (order, lengths) in orders {
            let pool = Mutex::new(Pool::new());
            let (mut largest, mut most) = (0, 0);
            for length in lengths {
                largest = largest.max(batch(&pool, length));
                most = most.max(held(&pool));
                // Besides classes and idle buffers, some are larger than their places need.
                assert!(held(&pool) <= 2 * largest, "{order}, {length}: {} of {largest}", held(&pool));
            }
            assert!(most >= largest, "{order}: {most} of {largest} kept");
        }
    }

    #[test]
    fn a_repeated_step_allocates_nothing() {
        let pool = Mutex::new(Pool::new());
        let addresses = || {
            let mut all: Vec<usize> =
                lock(&pool).idle.values().flatten().map(|idle| idle.lines.as_ptr().addr()).collect();
            all.sort_unstable();
            all
        };
        batch(&pool, 300);
        let first = addresses();
        for _ in 0..5 {
            batch(&pool, 300);
            assert_eq!(addresses(), first);
        }
    }

    #[test]
    fn the_buffer_idle_longest_is_freed_first() {
        let pool = Mutex::new(Pool::new());
        for size in [64, 128, 256] {
            put(&pool, take(&pool, size));
        }
        // Each was freed for the next.
        assert_eq!(lock(&pool).idle.keys().copied().collect::<Vec<_>>(), [256]);
        put(&pool, take(&pool, 100));
        assert_eq!(lock(&pool).idle.keys().copied().collect::<Vec<_>>(), [104]);
    }

    #[test]
    fn threads_share_buffers_but_not_contents() {
        let (sender, received) = std::sync::mpsc::channel::<(Buffer, f32)>();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let sender = sender.clone();
                scope.spawn(move || {
                    for i in 0..500 {
                        let len = (thread * 131 + i * 37) % 3000;
                        let mut buffer = Buffer::zeros(len);
                        assert!(buffer.len() == len && buffer.iter().all(|v| *v == 0.0));
                        let mark = (thread * 1000 + i) as f32;
                        buffer.fill(mark);
                        std::thread::yield_now();
                        assert!(buffer.iter().all(|v| *v == mark));
                        // Every other one is dropped by another thread.
                        if i % 2 == 0 {
                            sender.send((buffer, mark)).expect("the receiver lives");
                        }
                    }
                });
            }
            drop(sender);
            for (buffer, mark) in received {
                assert!(buffer.iter().all(|v| *v == mark));
            }
        });
    }
}
