//! A layer's sizes and settings, and what it keeps of a group of sequences.

use candle_core::Shape;
use rayon::prelude::*;

use crate::Precision;
use crate::buffer::Buffer;
use crate::embedding::Readers;
use crate::simd::LANES;

/// Sequences per task.
pub(super) const GROUP: usize = 16;
/// Batch, length, width of the input, hidden units.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) b: usize,
    pub(super) l: usize,
    pub(super) inputs: usize,
    pub(super) h: usize,
}

impl Sizes {
    /// Hidden units, padded.
    pub(super) fn hp(&self) -> usize {
        self.h.next_multiple_of(LANES)
    }

    /// The rows of all four gates, each padded.
    pub(super) fn gates(&self) -> usize {
        4 * self.hp()
    }

    /// Of `w_ih`, `w_hh`, `b_ih` and `b_hh`.
    pub(super) fn parameters(&self) -> usize {
        4 * self.h * (self.inputs + self.h + 2)
    }
}

/// Intermediate results of a group of sequences that the backward pass reads.
pub(super) struct Kept {
    /// Gates after their functions, `(l, rows, 4 hp)`; their gradients once the group went back through time.
    pub(super) gates: Buffer,
    /// `(l + 1, rows, hp)`: before and after each time (see [`Layer::before`]).
    pub(super) cells: Buffer,
    /// As `cells`.
    pub(super) states: Buffer,
}

/// What the layer returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Output {
    /// The states at all times, `(b, l, h)`, not only that after the last token read, `(b, h)`.
    pub(super) every: bool,
    /// Each state is followed by its cells, so that there are 2h columns.
    pub(super) cells: bool,
}

/// A layer's sizes and settings, and what it reads.
pub(super) struct Layer {
    pub(super) sizes: Sizes,
    /// Per sequence and time: not padding.
    pub(super) real: Vec<bool>,
    pub(super) reverse: bool,
    /// The state and the cells before the first time are parameters, not 0.
    pub(super) initial: bool,
    pub(super) output: Output,
    /// Which of the first argument's rows are read, and where.
    pub(super) readers: Readers,
    pub(super) precision: Precision,
}

/// A group's sequences.
#[derive(Clone, Copy)]
pub(super) struct Group {
    pub(super) first: usize,
    pub(super) rows: usize,
}

impl Layer {
    /// The readers of the first argument's `count` rows at the times that are `real`. A place reads the row of its id,
    /// or without `ids` the row of its own index.
    pub(super) fn readers(real: &[bool], count: usize, ids: Option<&[u32]>) -> Readers {
        let row = |place: usize| ids.map_or(place as u32, |ids| ids[place]);
        let read = real.iter().enumerate().filter(|(_, real)| **real);
        Readers::new(read.map(|(place, _)| (place as u32, row(place))), count)
    }

    /// The times in the order they are read.
    pub(super) fn time(&self, step: usize) -> usize {
        if self.reverse { self.sizes.l - 1 - step } else { step }
    }

    /// Where cells and states before time t are kept.
    pub(super) fn before(&self, t: usize) -> usize {
        t + usize::from(self.reverse)
    }

    /// Where cells and states after time t are kept.
    pub(super) fn after(&self, t: usize) -> usize {
        t + usize::from(!self.reverse)
    }

    /// The group of a place `(sequence, time)`, and the place's row in what the group keeps.
    pub(super) fn kept_at(&self, place: u32) -> (usize, usize) {
        let Sizes { b, l, .. } = self.sizes;
        let (sequence, t) = (place as usize / l, place as usize % l);
        let group = sequence / GROUP;
        (group, t * GROUP.min(b - group * GROUP) + sequence % GROUP)
    }

    /// All sequences in groups.
    pub(super) fn groups(&self) -> impl IndexedParallelIterator<Item = Group> {
        let b = self.sizes.b;
        (0..b.div_ceil(GROUP))
            .into_par_iter()
            .map(move |i| Group { first: i * GROUP, rows: GROUP.min(b - i * GROUP) })
    }

    /// The columns of the output.
    pub(super) fn columns(&self) -> usize {
        if self.output.cells { 2 * self.sizes.h } else { self.sizes.h }
    }

    /// The shape of the output.
    pub(super) fn shape(&self) -> Shape {
        let (Sizes { b, l, .. }, columns) = (self.sizes, self.columns());
        if self.output.every { Shape::from((b, l, columns)) } else { Shape::from((b, columns)) }
    }
}
