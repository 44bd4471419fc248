//! Custom data sets of texts and of token sequences.

use std::convert::Infallible;

use super::stream::{Rows, Streams};
use super::{InMemory, Labelled};
use crate::collector::Spool;
use crate::digest::DatasetIdentity;
use crate::load::{check_tokens, reviews};
use crate::tokens::{WIDTH, bytes, tokenizer};
use crate::{Cause, DataConfig, Dataset, Error};

impl Dataset {
    /// Creates a data set of texts. A tokenizer with the settings `config.tokens` is trained on the training split.
    ///
    /// # Errors
    /// Returns an error if a part has no example, examples and labels differ in number, a label or setting is out of range, a
    /// text is empty, the settings leave no example for training, or the digest differs from the required one.
    pub fn from_texts(texts: InMemory<Vec<String>>, config: &DataConfig) -> Result<Self, Error> {
        check_tokens(&config.tokens)?;
        texts.check(Some(&Vec::len))?;
        Self::from_text_stream(texts.streamed(), config)
    }

    /// Creates a data set of texts that need not fit in memory. The examples of a part are an iterator over its texts, in the order
    /// of the labels.
    ///
    /// Up to `config.memory` bytes of the texts of training and validation, of the texts of test, and of the tokens of each
    /// split are kept in memory. Other texts are written to a temporary file in `config.cache`, and other tokens to the file that
    /// caches them, from which a batch reads its sequences. The data set equals that of [`Dataset::from_texts`] for the
    /// same texts: the digest and the batches are bit-identical. A call reads the iterators once, or not at all if the cache has
    /// the tokens under [`InMemory::key`].
    ///
    /// ```
    /// use lrlab_data::{DataConfig, Dataset, InMemory, Labelled, Source, SyntheticReviews};
    ///
    /// # fn main() -> Result<(), lrlab_data::Error> {
    /// # let cache = std::env::temp_dir().join("lrlab-data-texts");
    /// # let source = Source::SyntheticReviews(SyntheticReviews::default());
    /// let part = |n: u32| {
    ///     let text = |i: u32| Ok::<_, std::io::Error>(format!("text number {i}"));
    ///     Labelled::new((0..n).map(text), (0..n).map(|i| i % 2).collect())
    /// };
    /// let config = DataConfig { memory: 100, ..DataConfig::new(source, cache) };
    /// let data = Dataset::from_text_stream(InMemory::new("numbers", ["even", "odd"], part(50), part(10)), &config)?;
    /// assert_eq!((data.train.len(), data.validation.len(), data.test.len()), (40, 10, 10));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns the errors of [`Dataset::from_texts`]. Returns an error if an item is an error, or a file cannot be written.
    pub fn from_text_stream<P, E>(texts: InMemory<P>, config: &DataConfig) -> Result<Self, Error>
    where
        P: IntoIterator<Item = Result<String, E>>,
        E: Into<Cause>,
    {
        let rows = |text: String| {
            if text.trim().is_empty() {
                return Err("the text is empty".to_owned());
            }
            let length = text.len();
            Ok(Rows { bytes: text.into_bytes(), row: length, length: Some(length) })
        };
        from_rows(texts.separated(), config, ("texts", reviews::Content::Texts), &rows)
    }

    /// Creates a data set of token sequences over a vocabulary of `vocabulary` ids, of which 0 is padding and does not occur in a
    /// sequence. `config.tokens` gives the maximum length and the end of a longer sequence to keep.
    ///
    /// # Errors
    /// Returns an error if a part has no example, examples and labels differ in number, a label or setting is out of range, a
    /// sequence is empty, an id is 0 or not below `vocabulary`, the settings leave no example for training, or the digest
    /// differs from the required one.
    pub fn from_tokens(
        vocabulary: usize,
        tokens: InMemory<Vec<Vec<u32>>>,
        config: &DataConfig,
    ) -> Result<Self, Error> {
        check_tokens(&config.tokens)?;
        tokens.check(Some(&Vec::len))?;
        Self::from_token_stream(vocabulary, tokens.streamed(), config)
    }

    /// Creates a data set of token sequences that need not fit in memory. The examples of a part are an iterator over its
    /// sequences, in the order of the labels.
    ///
    /// Memory and files are used as in [`Dataset::from_text_stream`]. The data set equals that of [`Dataset::from_tokens`] for
    /// the same sequences: the digest and the batches are bit-identical. A call reads the iterators once, or not at all if the cache
    /// has the tokens under [`InMemory::key`].
    ///
    /// ```
    /// use lrlab_data::{DataConfig, Dataset, InMemory, Labelled, Source, SyntheticReviews};
    ///
    /// # fn main() -> Result<(), lrlab_data::Error> {
    /// # let cache = std::env::temp_dir().join("lrlab-data-tokens");
    /// # let source = Source::SyntheticReviews(SyntheticReviews::default());
    /// let part = |n: u32| {
    ///     let sequence = |i: u32| Ok::<_, std::io::Error>(vec![1 + i % 9, 1 + i / 9]);
    ///     Labelled::new((0..n).map(sequence), (0..n).map(|i| i % 2).collect())
    /// };
    /// let config = DataConfig { memory: 100, ..DataConfig::new(source, cache) };
    /// let set = InMemory::new("codes", ["even", "odd"], part(50), part(10));
    /// let data = Dataset::from_token_stream(10, set, &config)?;
    /// assert_eq!((data.train.len(), data.validation.len(), data.test.len()), (40, 10, 10));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns the errors of [`Dataset::from_tokens`]. Returns an error if an item is an error, or a file cannot be written.
    pub fn from_token_stream<P, E>(
        vocabulary: usize,
        tokens: InMemory<P>,
        config: &DataConfig,
    ) -> Result<Self, Error>
    where
        P: IntoIterator<Item = Result<Vec<u32>, E>>,
        E: Into<Cause>,
    {
        let rows = |ids: Vec<u32>| {
            if ids.is_empty() {
                return Err("the sequence is empty".to_owned());
            }
            let invalid = |id: &&u32| **id == tokenizer::PAD || **id as usize >= vocabulary;
            if let Some(id) = ids.iter().find(invalid) {
                return Err(format!("token {id} is out of range 1 … {}", vocabulary.saturating_sub(1)));
            }
            Ok(Rows { bytes: bytes(&ids), row: ids.len() * WIDTH, length: Some(ids.len()) })
        };
        let kind = format!("tokens of {vocabulary}");
        let content = reviews::Content::Tokens { vocabulary, keep: tokens.key.is_some() };
        from_rows(tokens.separated(), config, (&kind, content), &rows)
    }
}

impl<T> InMemory<Vec<T>> {
    /// Turns examples in memory into streams of them.
    fn streamed(self) -> InMemory<impl Iterator<Item = Result<T, Infallible>>> {
        let part = |part: Labelled<Vec<T>>| Labelled::new(part.examples.into_iter().map(Ok), part.labels);
        let Self { name, classes, train, validation, test, notes, key } = self;
        let (train, validation, test) = (part(train), validation.map(part), part(test));
        InMemory { name, classes, train, validation, test, notes, key }
    }
}

fn from_rows<P, T, E>(
    (about, streams): (InMemory<()>, Streams<P>),
    config: &DataConfig,
    (kind, content): (&str, reviews::Content),
    rows: &dyn Fn(T) -> Result<Rows, String>,
) -> Result<Dataset, Error>
where
    P: IntoIterator<Item = Result<T, E>>,
    E: Into<Cause>,
{
    check_tokens(&config.tokens)?;
    about.check(None)?;
    let (about, config) = (&about, &about.settings(config));
    let read = || -> Result<(DatasetIdentity, reviews::Parts), Error> {
        let (mut train, mut test) = (reviews::collector(config), reviews::collector(config));
        let identity = about.read(streams, (config, kind), rows, [&mut train, &mut test])?;
        let part = |rows, labels| reviews::Rowset { rows: Spool::new(rows), labels, noisy: None };
        let test = part(test.finish()?, about.test.labels.clone());
        Ok((identity, (part(train.finish()?, about.training_labels()), test)))
    };
    let properties = about.about([0; 3]);
    if let Some(digest) = about.remembered(config, kind) {
        let identity = about.with_digest(config, digest)?;
        reviews::finish(config, identity, &properties, content, || Ok(read()?.1))
    } else {
        let (identity, parts) = read()?;
        reviews::finish(config, identity, &properties, content, || Ok(parts))
    }
}
