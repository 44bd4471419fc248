//! Custom data sets from values in memory, or from a stream of pictures.
//!
//! Splits, limits, normalisation, vocabulary, duplicate detection and digest work as for built-in data sets.

use std::fmt::Write as _;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::dataset::Store;
use crate::digest::{DatasetIdentity, content_hash, hex};
use crate::files::{Columns, cifar10::Format};
use crate::load::about::About;
use crate::load::rows::{notes, pick, split_rows};
use crate::load::{check_tokens, pictures, pinned, reviews};
use crate::pixels::Collector;
use crate::tokens::{Sequences, TokenSplit, tokenizer};
use crate::{Cause, DataConfig, Dataset, Error, Kind, Split, Validation, split};

/// Examples with their classes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labelled<T> {
    /// The examples: the pixels of all pictures, the token sequences, or the texts.
    pub examples: T,
    /// The class of every example, counted from 0.
    pub labels: Vec<u32>,
}

impl<T> Labelled<T> {
    /// Pairs examples with their classes.
    #[must_use]
    pub fn new(examples: T, labels: Vec<u32>) -> Self {
        Self { examples, labels }
    }
}

/// A data set in memory, for [`Dataset::from_pictures`], [`Dataset::from_tokens`] and [`Dataset::from_texts`]. For
/// [`Dataset::from_picture_stream`], only the labels are in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InMemory<T> {
    /// The name.
    pub name: String,
    /// The names of the classes in the order of the labels.
    pub classes: Vec<String>,
    /// The training split. Without a validation split of its own, a part of it is held out.
    pub train: Labelled<T>,
    /// The validation split, if the data set has one of its own.
    pub validation: Option<Labelled<T>>,
    /// The test split.
    pub test: Labelled<T>,
    /// Notes for readers of results.
    pub notes: Vec<String>,
}

impl<T> InMemory<T> {
    /// Creates a data set without a validation split of its own and without notes.
    #[must_use]
    pub fn new<S: Into<String>>(
        name: impl Into<String>,
        classes: impl IntoIterator<Item = S>,
        train: Labelled<T>,
        test: Labelled<T>,
    ) -> Self {
        Self {
            name: name.into(),
            classes: classes.into_iter().map(Into::into).collect(),
            train,
            validation: None,
            test,
            notes: Vec::new(),
        }
    }

    fn parts(&self) -> impl Iterator<Item = (&'static str, &Labelled<T>)> {
        let validation = self.validation.iter().map(|part| ("validation", part));
        [("train", &self.train), ("test", &self.test)].into_iter().chain(validation)
    }

    fn error(&self, place: impl Into<String>, problem: impl Into<String>) -> Error {
        Error::InMemory { dataset: self.name.clone(), place: place.into(), problem: problem.into() }
    }

    /// Returns the bytes of a picture of this shape.
    fn bytes_per_picture(&self, shape: [usize; 3]) -> Result<usize, Error> {
        match shape.iter().product() {
            0 => Err(self.error("shape", format!("{shape:?}, expected three sizes above 0"))),
            bytes => Ok(bytes),
        }
    }

    /// Checks the labels; `count` returns the number of examples of a part, if it is known before the examples are read.
    fn check(&self, count: Option<&dyn Fn(&T) -> usize>) -> Result<(), Error> {
        let classes = self.classes.len();
        if classes < 2 {
            return Err(self.error("classes", format!("{classes} names, expected at least 2")));
        }
        for (part, Labelled { examples, labels }) in self.parts() {
            if labels.is_empty() {
                return Err(self.error(part, "no examples, expected at least 1"));
            }
            if let Some(count) = count.map(|count| count(examples)).filter(|count| *count != labels.len()) {
                let problem = format!("{count} examples, but {} labels", labels.len());
                return Err(self.error(part, problem));
            }
            let invalid = labels.iter().enumerate().find(|(_, label)| **label as usize >= classes);
            if let Some((row, label)) = invalid {
                let problem = format!("label {label} is out of range 0 … {}", classes - 1);
                return Err(self.error(format!("{part} row {row}"), problem));
            }
        }
        Ok(())
    }

    /// Hashes everything that determines the examples: `about`, the number of classes, and of every part the labels and the
    /// examples, which `write` passes to the hasher.
    fn identity(
        &self,
        config: &DataConfig,
        about: &str,
        write: impl Fn(&mut Sha256, &T),
    ) -> Result<DatasetIdentity, Error> {
        let hashed = |(part, Labelled { examples, labels }): (&'static str, &Labelled<T>)| {
            let mut hasher = label_hasher(labels);
            write(&mut hasher, examples);
            (part, labels.len(), hasher)
        };
        self.named(config, about, self.parts().map(hashed))
    }

    /// Derives the identity from the hashes of the parts: training, test and, if there is one, validation.
    fn named(
        &self,
        config: &DataConfig,
        about: &str,
        parts: impl Iterator<Item = (&'static str, usize, Sha256)>,
    ) -> Result<DatasetIdentity, Error> {
        let mut all = format!("lrlab data set {}\n{about}, {} classes\n", self.name, self.classes.len());
        for (part, count, hasher) in parts {
            let _ = writeln!(all, "{part} {count} {}", hex(hasher.finalize()));
        }
        let identity = DatasetIdentity {
            name: self.name.clone(),
            digest: hex(Sha256::digest(&all)),
            files: Vec::new(),
            notes: self.notes.clone(),
        };
        pinned(config, identity)
    }

    fn about(&self, shape: [usize; 3]) -> About {
        About { classes: self.classes.len(), names: self.classes.clone(), shape, columns: Columns::default() }
    }
}

impl InMemory<()> {
    /// Collects the pictures of a part. Returns the hasher of its labels and pictures.
    fn collect<P, E>(
        &self,
        (name, part): (&str, Labelled<P>),
        bytes: usize,
        collector: &mut Collector,
    ) -> Result<Sha256, Error>
    where
        P: IntoIterator<Item = Result<Vec<u8>, E>>,
        E: Into<Cause>,
    {
        let (mut hasher, mut count) = (label_hasher(&part.labels), 0);
        for item in part.examples {
            let place = || format!("{name} row {count}");
            let pictures = item.map_err(|error| self.error(place(), error.into().to_string()))?;
            if pictures.len() % bytes != 0 {
                let problem = format!("{} bytes of pixels, expected a multiple of {bytes}", pictures.len());
                return Err(self.error(place(), problem));
            }
            count += pictures.len() / bytes;
            if count > part.labels.len() {
                break;
            }
            hasher.update(&pictures);
            collector.add(&pictures)?;
        }
        if count == part.labels.len() {
            return Ok(hasher);
        }
        let more = if count > part.labels.len() { "or more " } else { "" };
        Err(self.error(name, format!("{count} {more}examples, but {} labels", part.labels.len())))
    }
}

/// Returns a hasher that has consumed the labels of a part.
fn label_hasher(labels: &[u32]) -> Sha256 {
    let mut hasher = Sha256::new();
    for label in labels {
        hasher.update(label.to_le_bytes());
    }
    hasher
}

impl<T: Extend<I> + IntoIterator<Item = I>, I> InMemory<T> {
    /// Appends the validation split to the training split. Returns both parts and the first row of validation.
    fn joined(self) -> (Labelled<T>, Labelled<T>, Option<usize>) {
        let Self { mut train, validation, test, .. } = self;
        let held_out = validation.map(|validation| {
            let first = train.labels.len();
            train.labels.extend(validation.labels);
            train.examples.extend(validation.examples);
            first
        });
        (train, test, held_out)
    }
}

impl Dataset {
    /// Creates a data set of pictures of `shape`: channels, height and width. The examples of a part are the bytes of all its
    /// pictures, `(picture, channel, row, column)`.
    ///
    /// `config` splits and limits the examples as it does those of a built-in data set; its source is not read. Pictures are
    /// normalised by mean and standard deviation of the training split.
    ///
    /// ```
    /// use lrlab_data::{DataConfig, Dataset, InMemory, Labelled, Source, SyntheticPictures};
    ///
    /// # fn main() -> Result<(), lrlab_data::Error> {
    /// # let config = DataConfig::new(Source::SyntheticPictures(SyntheticPictures::default()), std::env::temp_dir());
    /// let part = |n: usize| {
    ///     let pixels = (0..n * 3 * 8 * 8).map(|i| (i % 251) as u8).collect();
    ///     Labelled::new(pixels, (0..n as u32).map(|i| i % 2).collect())
    /// };
    /// let birds = InMemory::new("birds", ["wren", "robin"], part(50), part(10));
    /// let data = Dataset::from_pictures([3, 8, 8], birds, &config)?;
    /// assert_eq!((data.train.len(), data.validation.len(), data.test.len()), (40, 10, 10));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if a side is 0, a part has no example, the numbers of labels and pixels do not match, a label is out of
    /// range, the settings leave no example for training, or the digest differs from the required one.
    pub fn from_pictures(
        shape: [usize; 3],
        pictures: InMemory<Vec<u8>>,
        config: &DataConfig,
    ) -> Result<Self, Error> {
        let bytes = pictures.bytes_per_picture(shape)?;
        for (part, Labelled { examples, labels }) in pictures.parts() {
            if examples.len() != labels.len() * bytes {
                let (found, expected) = (examples.len(), labels.len() * bytes);
                let labels = labels.len();
                let problem = format!(
                    "{found} bytes of pixels, expected {expected}: {labels} labels, {bytes} bytes per picture"
                );
                return Err(pictures.error(part, problem));
            }
        }
        pictures.check(Some(&|pixels: &Vec<u8>| pixels.len() / bytes))?;
        let identity = pictures
            .identity(config, &format!("pictures {shape:?}"), |hasher, pixels| hasher.update(pixels))?;
        let about = pictures.about(shape);
        let (train, test, held_out) = pictures.joined();
        let format: Format = about.format();
        let rows =
            |part: Labelled<Vec<u8>>| pictures::Rowset::decoded(part.labels, None, part.examples, &format);
        pictures::finish(config, identity, &about, (rows(train), rows(test)), held_out)
    }

    /// Creates a data set of pictures that need not fit in memory. The examples of a part are an iterator whose items are the
    /// bytes of one or more pictures, in the order of the labels.
    ///
    /// Up to `config.memory` bytes of each part are kept in memory; a larger part is written to a file in `config.cache`, from
    /// which its pictures are read when used. The data set equals that of [`Dataset::from_pictures`] for the same
    /// pictures: the digest and the batches are bit-identical. Every call reads the iterators once.
    ///
    /// ```
    /// use lrlab_data::{DataConfig, Dataset, InMemory, Labelled, Source, SyntheticPictures};
    ///
    /// # fn main() -> Result<(), lrlab_data::Error> {
    /// # let cache = std::env::temp_dir().join("lrlab-data-stream");
    /// # let source = Source::SyntheticPictures(SyntheticPictures::default());
    /// let part = |n: u32| {
    ///     let picture = |i: u32| Ok::<_, std::io::Error>(vec![i as u8; 3 * 8 * 8]);
    ///     Labelled::new((0..n).map(picture), (0..n).map(|i| i % 2).collect())
    /// };
    /// let config = DataConfig { memory: 1000, ..DataConfig::new(source, cache) };
    /// let data = Dataset::from_picture_stream([3, 8, 8], InMemory::new("birds", ["wren", "robin"], part(50), part(10)), &config)?;
    /// assert_eq!((data.train.len(), data.validation.len(), data.test.len()), (40, 10, 10));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns the errors of [`Dataset::from_pictures`]. Returns an error if an item is an error or not a whole number of
    /// pictures, or a file cannot be written.
    pub fn from_picture_stream<P, E>(
        shape: [usize; 3],
        pictures: InMemory<P>,
        config: &DataConfig,
    ) -> Result<Self, Error>
    where
        P: IntoIterator<Item = Result<Vec<u8>, E>>,
        E: Into<Cause>,
    {
        let bytes = pictures.bytes_per_picture(shape)?;
        let InMemory { name, classes, train, validation, test, notes } = pictures;
        let labels = |part: &Labelled<P>| Labelled::new((), part.labels.clone());
        let about = InMemory {
            train: labels(&train),
            test: labels(&test),
            validation: validation.as_ref().map(labels),
            name,
            classes,
            notes,
        };
        about.check(None)?;
        let folder = config.cache.join("pictures");
        let collector = || Collector::new(&folder, config.memory, bytes);
        let (mut training, mut testing) = (collector(), collector());
        let mut hashed = vec![
            ("train", train.labels.len(), about.collect(("train", train), bytes, &mut training)?),
            ("test", test.labels.len(), about.collect(("test", test), bytes, &mut testing)?),
        ];
        let (mut train_labels, mut held_out) = (about.train.labels.clone(), None);
        if let Some(part) = validation {
            held_out = Some(train_labels.len());
            train_labels.extend(&part.labels);
            let count = part.labels.len();
            hashed.push(("validation", count, about.collect(("validation", part), bytes, &mut training)?));
        }
        let identity = about.named(config, &format!("pictures {shape:?}"), hashed.into_iter())?;
        let place = |part: &str| folder.join(format!("{}.{part}.pixels", identity.digest));
        let rows = (
            pictures::Rowset::collected(train_labels, training, &place("train"))?,
            pictures::Rowset::collected(about.test.labels.clone(), testing, &place("test"))?,
        );
        pictures::finish(config, identity, &about.about(shape), rows, held_out)
    }

    /// Creates a data set of texts. A tokenizer with the settings `config.tokens` is trained on the training split.
    ///
    /// # Errors
    /// Returns an error if a part has no example, examples and labels differ in number, a label or setting is out of range, a
    /// text is empty, the settings leave no example for training, or the digest differs from the required one.
    pub fn from_texts(texts: InMemory<Vec<String>>, config: &DataConfig) -> Result<Self, Error> {
        check_tokens(&config.tokens)?;
        texts.check(Some(&Vec::len))?;
        for (part, Labelled { examples, .. }) in texts.parts() {
            if let Some(row) = examples.iter().position(|text| text.trim().is_empty()) {
                return Err(texts.error(format!("{part} row {row}"), "the text is empty"));
            }
        }
        let identity = texts.identity(config, "texts", |hasher, texts| {
            for text in texts {
                hasher.update((text.len() as u64).to_le_bytes());
                hasher.update(text);
            }
        })?;
        let about = texts.about([0; 3]);
        reviews::finish(config, identity, &about, || {
            let (train, test, held_out) = texts.joined();
            let rows = |part: Labelled<Vec<String>>| reviews::Rowset {
                texts: part.examples,
                labels: part.labels,
                noisy: None,
            };
            Ok(((rows(train), rows(test)), held_out))
        })
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
        for (part, Labelled { examples, .. }) in tokens.parts() {
            for (row, ids) in examples.iter().enumerate() {
                let place = || format!("{part} row {row}");
                if ids.is_empty() {
                    return Err(tokens.error(place(), "the sequence is empty"));
                }
                let invalid = |id: &&u32| **id == tokenizer::PAD || **id as usize >= vocabulary;
                if let Some(id) = ids.iter().find(invalid) {
                    let last = vocabulary.saturating_sub(1);
                    return Err(tokens.error(place(), format!("token {id} is out of range 1 … {last}")));
                }
            }
        }
        let about = format!("tokens of {vocabulary}");
        let identity = tokens.identity(config, &about, |hasher, sequences| {
            for ids in sequences {
                hasher.update((ids.len() as u64).to_le_bytes());
                for id in ids {
                    hasher.update(id.to_le_bytes());
                }
            }
        })?;
        let names = tokens.classes.clone();
        let (train, test, held_out) = tokens.joined();
        let content =
            |ids: &Vec<u32>| content_hash(&ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<_>>());
        let [train_contents, test_contents] =
            [&train, &test].map(|part| part.examples.iter().map(content).collect::<Vec<_>>());
        let rows = split_rows(config, names.len(), (&train.labels, &train_contents), &test.labels, held_out)?;
        let duplicates = split::duplicates(&train_contents, &test_contents);
        let part = |part: &Labelled<Vec<Vec<u32>>>, rows: &[u32]| {
            let mut sequences = Sequences::default();
            for &row in rows {
                sequences.push(&tokenizer::cut(&part.examples[row as usize], &config.tokens));
            }
            let tokens = TokenSplit { rows: rows.into(), sequences: Arc::new(sequences) };
            Split { labels: pick(&part.labels, rows), store: Store::Tokens(tokens) }
        };
        let test_split = part(&test, &rows.test);
        let on_test = config.validation == Some(Validation::TEST_SPLIT);
        Ok(Self {
            notes: notes(config, &identity, duplicates),
            name: identity.name,
            classes: names.len(),
            class_names: names,
            kind: Kind::Tokens { vocabulary, max_length: config.tokens.max_length },
            digest: identity.digest,
            files: identity.files,
            duplicates,
            tokenizer: None,
            train: part(&train, &rows.train),
            validation: if on_test { test_split.clone() } else { part(&train, &rows.validation) },
            test: test_split,
        })
    }
}
