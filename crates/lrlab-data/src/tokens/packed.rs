//! Tokenised splits in a file of the cache, as little-endian 32-bit words.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use super::sequences::{IdFile, Ids, Sequences, TokenSplit, WIDTH, bytes, words};
use crate::cache;
use crate::dataset::{Duplicates, Split, Store};
use crate::digest::content_hash;
use crate::row_file::RowFile;

/// The version of the layout; increment it when the layout changes.
const VERSION: u32 = 1;
/// Words that are converted at once.
const CHUNK: usize = 1 << 14;

/// The tokenised splits of a data set, as the cache stores them.
pub(crate) struct Prepared {
    pub(crate) vocabulary: usize,
    pub(crate) duplicates: Duplicates,
    /// The training, validation and test splits.
    pub(crate) splits: [Split; 3],
}

impl Prepared {
    fn tokens(&self) -> impl Iterator<Item = (&[u32], &TokenSplit)> {
        self.splits.iter().filter_map(|split| match &split.store {
            Store::Tokens(tokens) => Some((&*split.labels, tokens)),
            Store::Pictures(_) => None,
        })
    }

    /// Returns whether the tokens of every split are in memory.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.tokens().all(|(_, tokens)| tokens.sequences.in_memory().is_some())
    }
}

/// Stores the splits at `path`. Returns whether this succeeded.
pub(crate) fn store(path: &Path, prepared: &Prepared) -> bool {
    cache::store_with(path, |file| pack(prepared, file))
}

fn pack(prepared: &Prepared, file: &mut dyn Write) -> std::io::Result<()> {
    let mut put = |words: &[u32]| words.chunks(CHUNK).try_for_each(|some| file.write_all(&bytes(some)));
    let Duplicates { within_train, within_test, train_test } = prepared.duplicates;
    put(&[VERSION])?;
    put(&[prepared.vocabulary, within_train, within_test, train_test].map(|n| n as u32))?;
    for (labels, TokenSplit { rows, sequences }) in prepared.tokens() {
        let Sequences { ends, ids } = &**sequences;
        put(&[ends.len() as u32, ends.last().copied().unwrap_or(0)])?;
        for part in [labels, rows, ends] {
            put(part)?;
        }
        match ids {
            Ids::Memory(ids) => put(ids)?,
            Ids::File(_) => {
                for index in 0..ends.len() as u32 {
                    put(&sequences.sequence(index).map_err(std::io::Error::other)?)?;
                }
            }
        }
    }
    Ok(())
}

/// Loads the splits that [`store`] stored at `path`; `None` if the file is missing, damaged or of another version. The tokens of a
/// split of more than `memory` bytes stay in the file.
pub(crate) fn load(path: &Path, memory: u64) -> Option<Prepared> {
    cache::read(path, |content| unpack(content, path, memory))
}

fn unpack(content: &mut cache::Content, path: &Path, memory: u64) -> Option<Prepared> {
    let head = take(content, 5)?;
    let [VERSION, vocabulary, within_train, within_test, train_test] = head[..] else { return None };
    let duplicates = Duplicates {
        within_train: within_train as usize,
        within_test: within_test as usize,
        train_test: train_test as usize,
    };
    let mut split = || {
        let sizes = take(content, 2)?;
        let (examples, ids) = (u64::from(sizes[0]), u64::from(sizes[1]));
        let (labels, rows) = (take(content, examples)?.into(), take(content, examples)?.into());
        let ends = take(content, examples)?;
        let ids = if ids * WIDTH as u64 <= memory {
            Ids::Memory(take(content, ids)?)
        } else {
            let (file, start) = (RowFile::new(content.file(), path), content.position());
            Ids::File(IdFile { file, start, contents: hashes(content, &ends)? })
        };
        let sequences = Arc::new(Sequences { ends, ids });
        Some(Split { labels, store: Store::Tokens(TokenSplit { rows, sequences }) })
    };
    let splits = [split()?, split()?, split()?];
    Some(Prepared { vocabulary: vocabulary as usize, duplicates, splits })
}

/// Reads `count` words.
fn take(content: &mut cache::Content, count: u64) -> Option<Vec<u32>> {
    content.take(count.checked_mul(WIDTH as u64)?).map(|bytes| words(&bytes))
}

/// Reads sequences with these ends and returns their hashes.
fn hashes(content: &mut cache::Content, ends: &[u32]) -> Option<Vec<u128>> {
    let mut start = 0;
    let hash = |&end: &u32| {
        let length = end.checked_sub(std::mem::replace(&mut start, end))?;
        content.take(u64::from(length) * WIDTH as u64).map(|bytes| content_hash(&bytes))
    };
    ends.iter().map(hash).collect()
}
