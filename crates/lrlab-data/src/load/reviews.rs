//! Review sets: texts, a tokenizer trained on the training split, and token sequences, all cached.

use std::path::PathBuf;
use std::sync::Arc;

use super::about::{About, about};
use super::rows::{Rows, notes, pick, places, split_rows};
use crate::catalog::Part;
use crate::dataset::Store;
use crate::digest::{DatasetIdentity, content_hash};
use crate::files::{Located, imdb};
use crate::tokens::{Sequences, TokenSplit, packed, packed::Prepared, tokenizer};
use crate::{
    DataConfig, Dataset, Error, Kind, Source, Split, TokenConfig, Validation, cache, split, synthetic,
};

/// The rows of the training files or the test files.
pub(crate) struct Rowset {
    pub(crate) texts: Vec<String>,
    pub(crate) labels: Vec<u32>,
    /// The labels with noise, for training.
    pub(crate) noisy: Option<Vec<u32>>,
}

impl Rowset {
    /// Returns the hash of every text.
    pub(crate) fn contents(&self) -> Vec<u128> {
        self.texts.iter().map(|text| content_hash(text.as_bytes())).collect()
    }

    fn pick(&self, rows: &[u32]) -> Vec<&str> {
        rows.iter().map(|&row| self.texts[row as usize].as_str()).collect()
    }
}

pub(super) fn load(
    config: &DataConfig,
    identity: DatasetIdentity,
    located: Option<&Located>,
) -> Result<Dataset, Error> {
    let about = about(&config.source, located)?;
    finish(config, identity, &about, || Ok((read(&config.source, located, about.classes)?, None)))
}

/// Splits and tokenises the rows that `read` returns, unless the cache contains the result. If `read` also returns a row
/// number, the training rows from that row on are the data set's own validation split.
pub(crate) fn finish(
    config: &DataConfig,
    identity: DatasetIdentity,
    about: &About,
    read: impl FnOnce() -> Result<((Rowset, Rowset), Option<usize>), Error>,
) -> Result<Dataset, Error> {
    let keys = Keys::of(config, &identity.digest, &about.columns.key());
    let cached = cache::load(&keys.tokens).filter(|_| cache::load(&keys.tokenizer).is_some());
    let prepared = match cached.and_then(|bytes| packed::unpack(&bytes)) {
        Some(prepared) => prepared,
        None => prepare(config, about.classes, read()?, &keys)?,
    };
    let [train, held_out, test] = prepared.splits;
    let validation = if config.validation == Some(Validation::TEST_SPLIT) { test.clone() } else { held_out };
    Ok(Dataset {
        notes: notes(config, &identity, prepared.duplicates),
        name: identity.name,
        classes: about.classes,
        class_names: about.names.clone(),
        kind: Kind::Tokens { vocabulary: prepared.vocabulary, max_length: config.tokens.max_length },
        digest: identity.digest,
        files: identity.files,
        duplicates: prepared.duplicates,
        tokenizer: Some(keys.tokenizer),
        train,
        validation,
        test,
    })
}

/// Reads every row of the source.
pub(super) fn read(
    source: &Source,
    located: Option<&Located>,
    classes: usize,
) -> Result<(Rowset, Rowset), Error> {
    if let Source::SyntheticReviews(settings) = source {
        let (train, test) = synthetic::reviews::generate(settings);
        return Ok((
            Rowset { texts: train.texts, labels: train.labels, noisy: Some(train.noisy) },
            Rowset { texts: test.texts, labels: test.labels, noisy: None },
        ));
    }
    let part = |part| -> Result<Rowset, Error> {
        let columns = located.map(|located| located.columns.clone()).unwrap_or_default();
        let imdb::Reviews { texts, labels } = imdb::read(&places(located, part), &columns, classes)?;
        Ok(Rowset { texts, labels, noisy: None })
    };
    Ok((part(Part::Train)?, part(Part::Test)?))
}

fn prepare(
    config: &DataConfig,
    classes: usize,
    ((train, test), held_out): ((Rowset, Rowset), Option<usize>),
    keys: &Keys,
) -> Result<Prepared, Error> {
    let contents = train.contents();
    let rows = split_rows(config, classes, (&train.labels, &contents), &test.labels, held_out)?;
    let tokenizer = cached_tokenizer(&config.tokens, &train.pick(&rows.train), keys)?;
    let splits = tokenise(config, &tokenizer, (&train, &test), &rows)?;
    let prepared = Prepared {
        vocabulary: tokenizer.get_vocab_size(true),
        duplicates: split::duplicates(&contents, &test.contents()),
        splits,
    };
    cache::store(&keys.tokens, &packed::pack(&prepared));
    Ok(prepared)
}

fn tokenise(
    config: &DataConfig,
    tokenizer: &tokenizers::Tokenizer,
    (train, test): (&Rowset, &Rowset),
    rows: &Rows,
) -> Result<[Split; 3], Error> {
    let part = |set: &Rowset, rows: &[u32], labels: &[u32]| -> Result<Split, Error> {
        let sequences: Sequences = tokenizer::encode(tokenizer, &config.tokens, &set.pick(rows))?;
        let tokens = TokenSplit { rows: rows.into(), sequences: Arc::new(sequences) };
        Ok(Split { labels: pick(labels, rows), store: Store::Tokens(tokens) })
    };
    let seen = train.noisy.as_deref().unwrap_or(&train.labels);
    Ok([
        part(train, &rows.train, seen)?,
        part(train, &rows.validation, &train.labels)?,
        part(test, &rows.test, &test.labels)?,
    ])
}

/// Returns the tokenizer for these training texts, from the cache if possible.
fn cached_tokenizer(
    config: &TokenConfig,
    texts: &[&str],
    keys: &Keys,
) -> Result<tokenizers::Tokenizer, Error> {
    let known = cache::load(&keys.tokenizer).and_then(|bytes| tokenizers::Tokenizer::from_bytes(bytes).ok());
    if let Some(tokenizer) = known {
        return Ok(tokenizer);
    }
    let tokenizer = tokenizer::train(config, texts)?;
    let json = tokenizer.to_string(true).map_err(|source| Error::Tokenizer { source })?;
    cache::store(&keys.tokenizer, json.as_bytes());
    Ok(tokenizer)
}

/// The cache files, named by a hash of everything that determines their content.
struct Keys {
    tokenizer: PathBuf,
    tokens: PathBuf,
}

impl Keys {
    fn of(config: &DataConfig, digest: &str, columns: &str) -> Self {
        let DataConfig { source, split_seed, validation, limit, tokens, cache, .. } = config;
        let TokenConfig { tokenizer, vocabulary, max_length, keep } = tokens;
        let rules = tokenizer::VERSION;
        let training = format!(
            "{rules} {digest} {split_seed} {validation:?} {:?} {tokenizer:?} {vocabulary}{columns}",
            limit.train
        );
        let tokens = format!("{training} {:?} {:?} {max_length} {keep:?}", limit.validation, limit.test);
        let place = |kind: &str, text: &str, extension: &str| {
            let hash = blake3::hash(text.as_bytes()).to_hex();
            let name = source.name().replace(['/', '\\'], "-");
            cache.join(kind).join(format!("{name}-{}.{extension}", &hash[..32]))
        };
        Self { tokenizer: place("tokenizers", &training, "json"), tokens: place("tokens", &tokens, "tokens") }
    }
}
