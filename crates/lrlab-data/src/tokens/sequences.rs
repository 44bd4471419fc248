//! Token sequences, in memory or in a file of the cache.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use crate::Error;
use crate::collector::{Bytes, Collected};
use crate::row_file::RowFile;

/// Bytes per token.
pub(crate) const WIDTH: usize = size_of::<u32>();

/// Concatenated sequences of different lengths.
#[derive(Debug, Clone)]
pub(crate) struct Sequences {
    /// The end of each sequence in `ids`.
    pub(crate) ends: Vec<u32>,
    pub(crate) ids: Ids,
}

/// Where the tokens of sequences are, one after the other.
#[derive(Debug, Clone)]
pub(crate) enum Ids {
    Memory(Vec<u32>),
    File(IdFile),
}

/// Sequences in a file, as little-endian 32-bit words.
#[derive(Debug, Clone)]
pub(crate) struct IdFile {
    pub(crate) file: RowFile,
    /// The position of the first byte.
    pub(crate) start: u64,
    /// The hash of each sequence.
    pub(crate) contents: Vec<u128>,
}

impl Sequences {
    /// The sequences that were collected as the bytes of their tokens.
    pub(crate) fn new(rows: Collected) -> Result<Self, Error> {
        let Collected { bytes, ends, contents } = rows;
        let end = |&end: &u64| {
            u32::try_from(end / WIDTH as u64).map_err(|_| Error::Setting {
                setting: "tokens.max_length",
                value: format!("{} tokens in a split", end / WIDTH as u64),
                expected: "fewer than 2^32; reduce it, or the examples with `limit`",
            })
        };
        let ends = ends.iter().map(end).collect::<Result<_, _>>()?;
        let ids = match bytes {
            Bytes::Memory(bytes) => Ids::Memory(words(&bytes)),
            Bytes::File(file) => Ids::File(IdFile { file: RowFile::temporary(file), start: 0, contents }),
        };
        Ok(Self { ends, ids })
    }

    /// Returns the tokens of all sequences, if they are in memory.
    pub(crate) fn in_memory(&self) -> Option<&[u32]> {
        match &self.ids {
            Ids::Memory(ids) => Some(ids),
            Ids::File(_) => None,
        }
    }

    /// Returns the tokens of the sequence at `index`.
    pub(crate) fn sequence(&self, index: u32) -> Result<Cow<'_, [u32]>, Error> {
        let Range { start, end } = self.span(index);
        match &self.ids {
            Ids::Memory(ids) => Ok(Cow::Borrowed(&ids[start as usize..end as usize])),
            Ids::File(IdFile { file, start: first, contents }) => {
                let mut bytes = vec![0; (end - start) as usize * WIDTH];
                let offset = first + u64::from(start) * WIDTH as u64;
                file.read((index as usize, contents[index as usize]), offset, &mut bytes)?;
                Ok(Cow::Owned(words(&bytes)))
            }
        }
    }

    fn span(&self, index: u32) -> Range<u32> {
        let start = if index == 0 { 0 } else { self.ends[index as usize - 1] };
        start..self.ends[index as usize]
    }
}

/// Returns the little-endian bytes of tokens.
pub(crate) fn bytes(ids: &[u32]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.to_le_bytes()).collect()
}

/// Returns the tokens of little-endian bytes.
pub(crate) fn words(bytes: &[u8]) -> Vec<u32> {
    let word = |word: &[u8]| u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
    bytes.chunks_exact(WIDTH).map(word).collect()
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
        self.sequences.span(index).len()
    }

    /// Returns the ranges in `ids` of the sequences at `indices`.
    pub(crate) fn spans(&self, indices: &[u32]) -> Vec<Range<u32>> {
        indices.iter().map(|&index| self.sequences.span(index)).collect()
    }
}
