//! Sets of texts or token sequences: a tokenizer trained on the training split, and the tokens of each split, all cached.

use std::path::PathBuf;
use std::sync::Arc;

use rayon::prelude::*;

use super::about::{About, about};
use super::rows::{Rows, notes, pick, places, split_rows, validates};
use crate::catalog::Part;
use crate::collector::{Collector, Spool};
use crate::dataset::Store;
use crate::digest::{DatasetIdentity, content_hash};
use crate::files::{Located, imdb};
use crate::tokens::{Sequences, TokenSplit, WIDTH, bytes, packed, packed::Prepared, tokenizer, words};
use crate::{
    DataConfig, Dataset, Error, Kind, Source, Split, TokenConfig, Validation, cache, split, synthetic,
};

/// Rows that are tokenised at once.
const CHUNK: usize = 4096;

/// The rows of the training files or the test files.
pub(crate) struct Rowset {
    pub(crate) rows: Spool,
    pub(crate) labels: Vec<u32>,
    /// The labels with noise, for training.
    pub(crate) noisy: Option<Vec<u32>>,
}

/// The training rows and the test rows.
pub(crate) type Parts = (Rowset, Rowset);

/// What the rows are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Content {
    /// Texts, for a tokenizer that is trained on them.
    Texts,
    /// Token sequences over a vocabulary of this size. The cache keeps them if they exceed the memory or `keep` is set.
    Tokens { vocabulary: usize, keep: bool },
}

pub(super) fn load(
    config: &DataConfig,
    identity: DatasetIdentity,
    located: Option<&Located>,
) -> Result<Dataset, Error> {
    let about = about(&config.source, located)?;
    finish(config, identity, &about, Content::Texts, || {
        let part = |part| -> Result<Rowset, Error> {
            let mut collector = collector(config);
            let take = &mut |text: &str| collector.add(text.as_bytes(), text.len());
            let (labels, noisy) = read(&config.source, located, part, about.classes, take)?;
            Ok(Rowset { rows: Spool::new(collector.finish()?), labels, noisy })
        };
        Ok((part(Part::Train)?, part(Part::Test)?))
    })
}

/// Creates a collector of the rows of a part, or of the tokens of a split.
pub(crate) fn collector(config: &DataConfig) -> Collector {
    Collector::new(&config.cache.join("tokens"), config.memory)
}

/// Splits and tokenises the rows that `read` returns, unless the cache contains the result.
pub(crate) fn finish(
    config: &DataConfig,
    identity: DatasetIdentity,
    about: &About,
    content: Content,
    read: impl FnOnce() -> Result<Parts, Error>,
) -> Result<Dataset, Error> {
    let keys = Keys::of(config, content, &identity.digest, &about.columns.key());
    let has_tokenizer = keys.tokenizer.as_deref().is_none_or(|path| cache::load(path).is_some());
    let cached = has_tokenizer.then(|| packed::load(&keys.tokens, config.memory)).flatten();
    // A cache of an earlier version may have what is an error now.
    let cached = cached.filter(|prepared| {
        let fits =
            matches!(content, Content::Tokens { .. }) || prepared.vocabulary <= config.tokens.vocabulary;
        let [train, validation, test] = &prepared.splits;
        let is_empty = train.is_empty() || test.is_empty() || (validation.is_empty() && validates(config));
        fits && !is_empty
    });
    let prepared = match cached {
        Some(prepared) => prepared,
        None => prepare(config, about, content, read()?, &keys)?,
    };
    let [train, held_out, test] = prepared.splits;
    let validation = if config.validation == Some(Validation::TEST_SPLIT) { test.clone() } else { held_out };
    Ok(Dataset {
        notes: notes(config, about, &identity, prepared.duplicates),
        name: identity.name,
        classes: about.classes,
        class_names: about.names.clone(),
        kind: Kind::Tokens { vocabulary: prepared.vocabulary, max_length: config.tokens.max_length },
        digest: identity.digest,
        files: identity.files,
        duplicates: prepared.duplicates,
        tokenizer: keys.tokenizer,
        train,
        validation,
        test,
    })
}

/// Passes every text of a part of the source to `take`. Returns the labels and, for training, the labels with noise, if any.
fn read(
    source: &Source,
    located: Option<&Located>,
    part: Part,
    classes: usize,
    take: &mut imdb::Take<'_>,
) -> Result<(Vec<u32>, Option<Vec<u32>>), Error> {
    if let Source::SyntheticReviews(settings) = source {
        let (mut labels, mut noisy) = (Vec::new(), Vec::new());
        for review in synthetic::reviews::generate(settings, part) {
            take(&review.text)?;
            labels.push(review.label);
            noisy.push(review.noisy);
        }
        return Ok((labels, (part == Part::Train).then_some(noisy)));
    }
    let columns = located.map(|located| located.columns.clone()).unwrap_or_default();
    Ok((imdb::read(&places(located, part), &columns, classes, take)?, None))
}

/// Reads every row of the source, and hashes it.
pub(super) fn contents(
    source: &Source,
    located: Option<&Located>,
    classes: usize,
) -> Result<[Vec<u128>; 2], Error> {
    let part = |part| -> Result<Vec<u128>, Error> {
        let mut contents = Vec::new();
        read(source, located, part, classes, &mut |text| {
            contents.push(content_hash(text.as_bytes()));
            Ok(())
        })?;
        Ok(contents)
    };
    Ok([part(Part::Train)?, part(Part::Test)?])
}

fn prepare(
    config: &DataConfig,
    about: &About,
    content: Content,
    (train, test): Parts,
    keys: &Keys,
) -> Result<Prepared, Error> {
    let contents = [&train, &test].map(|part| &*part.rows.contents);
    let rows = split_rows(config, about, (&train.labels, contents[0]), &test.labels)?;
    let (vocabulary, splits) = match content {
        Content::Texts => {
            let tokenizer = cached_tokenizer(&config.tokens, &train.rows, &rows.train, keys)?;
            let encoder = tokenizer::Encoder::new(&tokenizer, &config.tokens);
            let encode = |texts: &Spool, row| encoder.encode(&texts.text(row)?);
            (tokenizer.get_vocab_size(true), splits(config, &encode, (&train, &test), &rows)?)
        }
        Content::Tokens { vocabulary, .. } => {
            let cut = |ids: &Spool, row| Ok(tokenizer::cut(&words(&ids.row(row)?), &config.tokens));
            (vocabulary, splits(config, &cut, (&train, &test), &rows)?)
        }
    };
    let duplicates = split::duplicates(contents[0], contents[1]);
    let prepared = Prepared { vocabulary, duplicates, splits };
    let in_memory = prepared.is_in_memory();
    if matches!(content, Content::Tokens { keep: false, .. }) && in_memory {
        return Ok(prepared);
    }
    // Beyond the memory, the file of the cache replaces the temporary ones.
    let stored = packed::store(&keys.tokens, &prepared) && !in_memory;
    Ok(stored.then(|| packed::load(&keys.tokens, config.memory)).flatten().unwrap_or(prepared))
}

/// Tokenises a row.
type Encode<'a> = dyn Fn(&Spool, u32) -> Result<Vec<u32>, Error> + Sync + 'a;

fn splits(
    config: &DataConfig,
    encode: &Encode<'_>,
    (train, test): (&Rowset, &Rowset),
    rows: &Rows,
) -> Result<[Split; 3], Error> {
    let part = |set: &Rowset, rows: &[u32], labels: &[u32]| -> Result<Split, Error> {
        let mut collector = collector(config);
        for some in rows.chunks(CHUNK) {
            let encoded: Vec<Vec<u32>> =
                some.par_iter().map(|&row| encode(&set.rows, row)).collect::<Result<_, _>>()?;
            for ids in encoded {
                collector.add(&bytes(&ids), ids.len() * WIDTH)?;
            }
        }
        let sequences = Arc::new(Sequences::new(collector.finish()?)?);
        let tokens = TokenSplit { rows: rows.into(), sequences };
        Ok(Split { labels: pick(labels, rows), store: Store::Tokens(tokens) })
    };
    let seen = train.noisy.as_deref().unwrap_or(&train.labels);
    Ok([
        part(train, &rows.train, seen)?,
        part(train, &rows.validation, &train.labels)?,
        part(test, &rows.test, &test.labels)?,
    ])
}

/// Returns the tokenizer for `rows` of these texts, from the cache if possible.
fn cached_tokenizer(
    config: &TokenConfig,
    texts: &Spool,
    rows: &[u32],
    keys: &Keys,
) -> Result<tokenizers::Tokenizer, Error> {
    let known = keys.tokenizer.as_deref().and_then(cache::load);
    let known = known.and_then(|bytes| tokenizers::Tokenizer::from_bytes(bytes).ok());
    if let Some(tokenizer) = known.filter(|known| known.get_vocab_size(true) <= config.vocabulary) {
        return Ok(tokenizer);
    }
    let tokenizer = tokenizer::train(config, texts, rows)?;
    let json = tokenizer.to_string(true).map_err(|source| Error::Tokenizer { source })?;
    if let Some(path) = &keys.tokenizer {
        cache::store(path, json.as_bytes());
    }
    Ok(tokenizer)
}

/// The cache files, named by a hash of everything that determines their content.
struct Keys {
    /// The file of the tokenizer of texts.
    tokenizer: Option<PathBuf>,
    tokens: PathBuf,
}

impl Keys {
    fn of(config: &DataConfig, content: Content, digest: &str, columns: &str) -> Self {
        let DataConfig { source, split_seed, validation, limit, tokens, cache, .. } = config;
        let TokenConfig { tokenizer, vocabulary, max_length, keep } = tokens;
        let rules = tokenizer::VERSION;
        let training = match content {
            Content::Texts => format!(
                "{rules} {digest} {split_seed} {validation:?} {:?} {tokenizer:?} {vocabulary}{columns}",
                limit.train
            ),
            Content::Tokens { vocabulary, .. } => {
                format!("tokens {digest} {split_seed} {validation:?} {:?} {vocabulary}", limit.train)
            }
        };
        let tokens = format!("{training} {:?} {:?} {max_length} {keep:?}", limit.validation, limit.test);
        let place = |kind: &str, text: &str, extension: &str| {
            let hash = blake3::hash(text.as_bytes()).to_hex();
            let name = source.name().replace(['/', '\\'], "-");
            cache.join(kind).join(format!("{name}-{}.{extension}", &hash[..32]))
        };
        let tokenizer = matches!(content, Content::Texts).then(|| place("tokenizers", &training, "json"));
        Self { tokenizer, tokens: place("tokens", &tokens, "tokens") }
    }
}
