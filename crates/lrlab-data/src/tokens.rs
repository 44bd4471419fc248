//! Token sequences in memory, and batches of them.

use std::sync::Arc;

use candle_core::{Device, Tensor};

use crate::batch::Features;

pub(crate) mod packed;
pub(crate) mod tokenizer;

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
    pub(crate) fn sequence(&self, index: usize) -> &[u32] {
        let ends = &self.sequences.ends;
        let start = if index == 0 { 0 } else { ends[index - 1] as usize };
        &self.sequences.ids[start..ends[index] as usize]
    }
}

/// The sequences at `indices` of a split, padded to the longest of them.
pub(crate) fn features(split: &TokenSplit, indices: &[u32]) -> candle_core::Result<Features> {
    let length = indices.iter().map(|&i| split.sequence(i as usize).len()).max().unwrap_or(0);
    let mut ids = vec![tokenizer::PAD; indices.len() * length];
    let mut mask = vec![0_f32; indices.len() * length];
    for (row, &index) in indices.iter().enumerate() {
        let sequence = split.sequence(index as usize);
        ids[row * length..][..sequence.len()].copy_from_slice(sequence);
        mask[row * length..][..sequence.len()].fill(1.0);
    }
    let shape = (indices.len(), length);
    Ok(Features::Tokens {
        ids: Tensor::from_vec(ids, shape, &Device::Cpu)?,
        mask: Tensor::from_vec(mask, shape, &Device::Cpu)?,
    })
}
