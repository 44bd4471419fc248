//! Token sequences in memory.

use std::ops::Range;
use std::sync::Arc;

/// Sequences of different lengths, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sequences {
    /// Where each sequence ends in `ids`.
    pub(crate) ends: Vec<u32>,
    pub(crate) ids: Vec<u32>,
}

impl Sequences {
    pub(crate) fn push(&mut self, ids: &[u32]) {
        self.ids.extend_from_slice(ids);
        self.ends.push(self.ids.len() as u32);
    }
}

/// A split's sequences.
#[derive(Debug, Clone)]
pub(crate) struct TokenSplit {
    /// Row in the source of every example.
    pub(crate) rows: Arc<[u32]>,
    pub(crate) sequences: Arc<Sequences>,
}

impl TokenSplit {
    /// How long the sequence at `index` is.
    pub(crate) fn length(&self, index: u32) -> usize {
        self.span(index).len()
    }

    /// Where the sequences at `indices` lie among the ids.
    pub(crate) fn spans(&self, indices: &[u32]) -> Vec<Range<u32>> {
        indices.iter().map(|&index| self.span(index)).collect()
    }

    fn span(&self, index: u32) -> Range<u32> {
        let ends = &self.sequences.ends;
        let start = if index == 0 { 0 } else { ends[index as usize - 1] };
        start..ends[index as usize]
    }
}
