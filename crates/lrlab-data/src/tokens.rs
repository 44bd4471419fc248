//! Texts as token sequences.

use std::ops::Range;

use candle_core::{Device, Tensor};

use crate::batch::Features;

pub(crate) mod packed;
mod sequences;
pub(crate) mod tokenizer;

pub(crate) use sequences::{Sequences, TokenSplit};

/// Returns the features of the sequences at `spans`, padded to the longest one: `(batch, length)`.
pub(crate) fn features(sequences: &Sequences, spans: &[Range<u32>]) -> candle_core::Result<Features> {
    let length = spans.iter().map(ExactSizeIterator::len).max().unwrap_or(0);
    let mut ids = vec![tokenizer::PAD; spans.len() * length];
    let mut mask = vec![0_f32; spans.len() * length];
    for (row, span) in spans.iter().enumerate() {
        let sequence = &sequences.ids[span.start as usize..span.end as usize];
        ids[row * length..][..sequence.len()].copy_from_slice(sequence);
        mask[row * length..][..sequence.len()].fill(1.0);
    }
    let shape = (spans.len(), length);
    Ok(Features::Tokens {
        ids: Tensor::from_vec(ids, shape, &Device::Cpu)?,
        mask: Tensor::from_vec(mask, shape, &Device::Cpu)?,
    })
}
