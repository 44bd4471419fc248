//! Token sequences in memory.

use std::ops::Range;
use std::sync::Arc;

/// Concatenated sequences of different lengths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sequences {
    /// The end of each sequence in `ids`.
    pub(crate) ends: Vec<u32>,
    pub(crate) ids: Vec<u32>,
}

impl Sequences {
    pub(crate) fn push(&mut self, ids: &[u32]) {
        self.ids.extend_from_slice(ids);
        self.ends.push(self.ids.len() as u32);
    }
}

/// The sequences of a split.
#[derive(Debug, Clone)]
pub(crate) struct TokenSplit {
    /// The row of every example in its source.
    pub(crate) rows: Arc<[u32]>,
    pub(crate) sequences: Arc<Sequences>,
}

impl TokenSplit {
    /// Returns the length of the sequence at `index`.
    pub(crate) fn length(&self, index: u32) -> usize {
        self.span(index).len()
    }

    /// Returns the ranges in `ids` of the sequences at `indices`.
    pub(crate) fn spans(&self, indices: &[u32]) -> Vec<Range<u32>> {
        indices.iter().map(|&index| self.span(index)).collect()
    }

    fn span(&self, index: u32) -> Range<u32> {
        let ends = &self.sequences.ends;
        let start = if index == 0 { 0 } else { ends[index as usize - 1] };
        start..ends[index as usize]
    }
}
