//! The draws of a dropout.

use candle_core::Result;
use lrlab_random::Stream;

use crate::check;
use crate::simd::{Kernel, Simd, dispatch};

/// The probability and the draws of a dropout.
#[derive(Debug, Clone, Copy)]
pub struct Dropout {
    /// Probability that an element is dropped, in [0, 1).
    pub p: f64,
    /// The stream of the draws: element i has word ⌊i / 16⌋ mod 4 of block 16 ⌊i / 64⌋ + i mod 16 and is kept where
    /// word ≥ p 2³². Sixteen elements in a row come from sixteen blocks side by side, one per vector lane.
    pub stream: Stream,
}

impl Dropout {
    /// Rejects a probability outside [0, 1); `name` is the operator.
    pub(crate) fn check(&self, name: &str) -> Result<()> {
        check::below_one(name, "p", self.p)
    }

    /// Words below this are dropped.
    pub(crate) fn threshold(&self) -> u32 {
        (self.p * 4_294_967_296.0) as u32
    }

    /// The factor of kept elements.
    pub(crate) fn gain(&self) -> f32 {
        (1.0 / (1.0 - self.p)) as f32
    }
}

/// One bit per element of a range: whether dropout keeps it.
#[derive(Default)]
pub(crate) struct Bits {
    /// Element i is bit i mod 64 of word i / 64 less the first's.
    words: Vec<u64>,
    /// The first element, at the beginning of a word.
    first: usize,
}

impl Bits {
    /// Of the elements from `start` on.
    pub(crate) fn draw(drop: Dropout, start: usize, count: usize) -> Self {
        let first = start / 64;
        // One word more than is filled: the last elements are read sixteen at a time.
        let mut words = vec![0; (start + count).div_ceil(64) - first + 1];
        dispatch(Draw { drop, first, words: &mut words });
        Self { words, first: first * 64 }
    }

    /// Bits of the sixteen elements from `at` on.
    #[inline(always)]
    pub(crate) fn at(&self, at: usize) -> u16 {
        let at = at - self.first;
        let (word, shift) = (at / 64, at % 64);
        let low = self.words[word] >> shift;
        if shift <= 48 { low as u16 } else { (low | self.words[word + 1] << (64 - shift)) as u16 }
    }
}

struct Draw<'a> {
    drop: Dropout,
    first: usize,
    words: &'a mut [u64],
}

impl Kernel for Draw<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (key, threshold) = (self.drop.stream.key(), self.drop.threshold());
        let count = self.words.len() - 1;
        for (i, word) in self.words[..count].iter_mut().enumerate() {
            let bits = s.draws((16 * (self.first + i)) as u64, key, threshold);
            *word = bits.iter().rev().fold(0, |word, bits| word << 16 | u64::from(*bits));
        }
    }
}
