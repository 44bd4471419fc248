//! Texts as token sequences.

use candle_core::{Device, Tensor};

use crate::Error;
use crate::batch::Features;

pub(crate) mod packed;
mod sequences;
pub(crate) mod tokenizer;

pub(crate) use sequences::{Sequences, TokenSplit, WIDTH, bytes, words};

/// Returns the features of the sequences at `indices`, padded to the longest one: `(batch, length)`.
pub(crate) fn features(split: &TokenSplit, indices: &[u32]) -> Result<Features, Error> {
    let length = indices.iter().map(|&index| split.length(index)).max().unwrap_or(0);
    let mut ids = vec![tokenizer::PAD; indices.len() * length];
    let mut mask = vec![0_f32; indices.len() * length];
    for (row, &index) in indices.iter().enumerate() {
        let sequence = split.sequences.sequence(index)?;
        ids[row * length..][..sequence.len()].copy_from_slice(&sequence);
        mask[row * length..][..sequence.len()].fill(1.0);
    }
    let shape = (indices.len(), length);
    Ok(Features::Tokens {
        ids: Tensor::from_vec(ids, shape, &Device::Cpu)?,
        mask: Tensor::from_vec(mask, shape, &Device::Cpu)?,
    })
}
