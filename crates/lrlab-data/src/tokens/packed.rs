//! Serialization of tokenised splits as little-endian 32-bit words.

use std::sync::Arc;

use super::sequences::{Sequences, TokenSplit};
use crate::dataset::{Duplicates, Split, Store};

/// The version of the layout; increment it when the layout changes.
const VERSION: u32 = 1;

/// The tokenised splits of a data set, as the cache stores them.
pub(crate) struct Prepared {
    pub(crate) vocabulary: usize,
    pub(crate) duplicates: Duplicates,
    /// The training, validation and test splits.
    pub(crate) splits: [Split; 3],
}

pub(crate) fn pack(prepared: &Prepared) -> Vec<u8> {
    let Duplicates { within_train, within_test, train_test } = prepared.duplicates;
    let mut words = vec![VERSION];
    words.extend([prepared.vocabulary, within_train, within_test, train_test].map(|n| n as u32));
    for split in &prepared.splits {
        let Store::Tokens(tokens) = &split.store else { continue };
        let Sequences { ends, ids } = &*tokens.sequences;
        words.extend([ends.len() as u32, ids.len() as u32]);
        for part in [&split.labels[..], &tokens.rows[..], ends, ids] {
            words.extend_from_slice(part);
        }
    }
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Deserializes the output of [`pack`]; `None` if the version differs or the bytes are truncated.
pub(crate) fn unpack(bytes: &[u8]) -> Option<Prepared> {
    let words: Vec<u32> =
        bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect();
    let mut rest = words.strip_prefix(&[VERSION])?;
    let mut take = |n: usize| {
        let (taken, left) = rest.split_at_checked(n)?;
        rest = left;
        Some(taken)
    };
    let head = take(4)?;
    let (vocabulary, duplicates) = (
        head[0] as usize,
        Duplicates {
            within_train: head[1] as usize,
            within_test: head[2] as usize,
            train_test: head[3] as usize,
        },
    );
    let mut split = || {
        let sizes = take(2)?;
        let (examples, ids) = (sizes[0] as usize, sizes[1] as usize);
        let (labels, rows) = (take(examples)?.into(), take(examples)?.into());
        let sequences = Arc::new(Sequences { ends: take(examples)?.to_vec(), ids: take(ids)?.to_vec() });
        Some(Split { labels, store: Store::Tokens(TokenSplit { rows, sequences }) })
    };
    let splits = [split()?, split()?, split()?];
    Some(Prepared { vocabulary, duplicates, splits })
}
