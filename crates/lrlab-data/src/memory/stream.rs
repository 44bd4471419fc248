//! Parts of a data set that are read item by item.

use sha2::{Digest, Sha256};

use super::{InMemory, Labelled, label_hasher};
use crate::collector::Collector;
use crate::digest::DatasetIdentity;
use crate::{Cause, DataConfig, Error};

/// The examples of the parts of a data set, without the labels.
pub(super) struct Streams<P> {
    train: P,
    validation: Option<P>,
    test: P,
}

/// The examples of an item of a stream.
pub(super) struct Rows {
    /// Their bytes, which are hashed and collected.
    pub(super) bytes: Vec<u8>,
    /// Bytes per example, at least 1.
    pub(super) row: usize,
    /// A length that is hashed before the bytes, for examples of different lengths.
    pub(super) length: Option<usize>,
}

impl<P> InMemory<P> {
    /// Separates the labels, and everything else that is in memory, from the examples.
    pub(super) fn separated(self) -> (InMemory<()>, Streams<P>) {
        let Self { name, classes, train, validation, test, notes, key } = self;
        let labels = |labels| Labelled::new((), labels);
        let (validation_labels, validation) =
            validation.map(|part| (labels(part.labels), part.examples)).unzip();
        let about = InMemory {
            name,
            classes,
            train: labels(train.labels),
            validation: validation_labels,
            test: labels(test.labels),
            notes,
            key,
        };
        (about, Streams { train: train.examples, validation, test: test.examples })
    }
}

impl InMemory<()> {
    /// Reads all parts. `rows` converts an item or says what is wrong with it. `about` describes the kind of examples for
    /// the identity, which is remembered under the key. The training rows are followed by those of the data set's own validation split, if any.
    pub(super) fn read<P, T, E>(
        &self,
        streams: Streams<P>,
        (config, about): (&DataConfig, &str),
        rows: &dyn Fn(T) -> Result<Rows, String>,
        [train, test]: [&mut Collector; 2],
    ) -> Result<DatasetIdentity, Error>
    where
        P: IntoIterator<Item = Result<T, E>>,
        E: Into<Cause>,
    {
        let mut hashed = vec![
            (
                "train",
                self.train.labels.len(),
                self.collect("train", &self.train, streams.train, rows, train)?,
            ),
            ("test", self.test.labels.len(), self.collect("test", &self.test, streams.test, rows, test)?),
        ];
        if let Some((part, items)) = self.validation.as_ref().zip(streams.validation) {
            let hasher = self.collect("validation", part, items, rows, train)?;
            hashed.push(("validation", part.labels.len(), hasher));
        }
        let identity = self.named(config, about, hashed.into_iter())?;
        self.remember(config, about, &identity.digest)?;
        Ok(identity)
    }

    /// Collects the examples of a part. Returns the hasher of its labels and examples.
    fn collect<P, T, E>(
        &self,
        name: &str,
        part: &Labelled<()>,
        items: P,
        rows: &dyn Fn(T) -> Result<Rows, String>,
        collector: &mut Collector,
    ) -> Result<Sha256, Error>
    where
        P: IntoIterator<Item = Result<T, E>>,
        E: Into<Cause>,
    {
        let (mut hasher, mut count) = (label_hasher(&part.labels), 0);
        for item in items {
            let place = || format!("{name} row {count}");
            let item = item.map_err(|error| self.error(place(), error.into().to_string()))?;
            let Rows { bytes, row, length } = rows(item).map_err(|problem| self.error(place(), problem))?;
            count += bytes.len() / row;
            if count > part.labels.len() {
                break;
            }
            if let Some(length) = length {
                hasher.update((length as u64).to_le_bytes());
            }
            hasher.update(&bytes);
            collector.add(&bytes, row)?;
        }
        if count == part.labels.len() {
            return Ok(hasher);
        }
        let more = if count > part.labels.len() { "or more " } else { "" };
        Err(self.error(name, format!("{count} {more}examples, but {} labels", part.labels.len())))
    }

    /// Returns the labels of training, followed by those of the data set's own validation split, if any.
    pub(super) fn training_labels(&self) -> Vec<u32> {
        let validation = self.validation.iter().flat_map(|part| &part.labels);
        self.train.labels.iter().chain(validation).copied().collect()
    }
}
