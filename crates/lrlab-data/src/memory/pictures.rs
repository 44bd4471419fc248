//! Custom data sets of pictures.

use sha2::Digest;

use super::stream::Rows;
use super::{InMemory, Labelled, label_hasher};
use crate::collector::Collector;
use crate::digest::DatasetIdentity;
use crate::files::cifar10::Format;
use crate::load::pictures;
use crate::{Cause, DataConfig, Dataset, Error};

impl<T> InMemory<T> {
    /// Returns the bytes of a picture of this shape.
    fn bytes_per_picture(&self, shape: [usize; 3]) -> Result<usize, Error> {
        match shape.iter().product() {
            0 => Err(self.error("shape", format!("{shape:?}, expected three sizes above 0"))),
            bytes => Ok(bytes),
        }
    }
}

impl InMemory<Vec<u8>> {
    /// Hashes everything that determines the pictures: the shape, the number of classes, and of every part the labels and the pixels.
    fn identity(&self, config: &DataConfig, about: &str) -> Result<DatasetIdentity, Error> {
        let hashed = |(part, Labelled { examples, labels }): (&'static str, &Labelled<Vec<u8>>)| {
            let mut hasher = label_hasher(labels);
            hasher.update(examples);
            (part, labels.len(), hasher)
        };
        self.named(config, about, self.parts().map(hashed))
    }

    /// Appends the validation split to the training split. Returns this and the test split.
    fn joined(self) -> (Labelled<Vec<u8>>, Labelled<Vec<u8>>) {
        let Self { mut train, validation, test, .. } = self;
        if let Some(validation) = validation {
            train.labels.extend(validation.labels);
            train.examples.extend(validation.examples);
        }
        (train, test)
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
        let identity = pictures.identity(config, &format!("pictures {shape:?}"))?;
        let (about, config) = (pictures.about(shape), &pictures.settings(config));
        let (train, test) = pictures.joined();
        let format: Format = about.format();
        let rows =
            |part: Labelled<Vec<u8>>| pictures::Rowset::decoded(part.labels, None, part.examples, &format);
        pictures::finish(config, identity, &about, (rows(train), rows(test)))
    }

    /// Creates a data set of pictures that need not fit in memory. The examples of a part are an iterator whose items are the
    /// bytes of one or more pictures, in the order of the labels.
    ///
    /// Up to `config.memory` bytes of each part are kept in memory; a larger part is written to a file in `config.cache`, from
    /// which its pictures are read when used. The data set equals that of [`Dataset::from_pictures`] for the same
    /// pictures: the digest and the batches are bit-identical. A call reads the iterators once, or not at all if the cache has the
    /// pictures under [`InMemory::key`], with which all parts are written to files.
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
        let (about, streams) = pictures.separated();
        about.check(None)?;
        let rows = |pixels: Vec<u8>| {
            if pixels.len().is_multiple_of(bytes) {
                Ok(Rows { bytes: pixels, row: bytes, length: None })
            } else {
                Err(format!("{} bytes of pixels, expected a multiple of {bytes}", pixels.len()))
            }
        };
        let folder = config.cache.join("pictures");
        let kind = format!("pictures {shape:?}");
        let (labels, config) = (about.training_labels(), &about.settings(config));
        if let Some(digest) = about.remembered(config, &kind)
            && let Some(kept) = pictures::kept(&folder, &digest, bytes)
        {
            let identity = about.with_digest(config, digest)?;
            return pictures::finish(config, identity, &about.about(shape), kept);
        }
        let keep = about.key.is_some();
        let collector = || Collector::new(&folder, if keep { 0 } else { config.memory });
        let (mut train, mut test) = (collector(), collector());
        let identity = about.read(streams, (config, &kind), &rows, [&mut train, &mut test])?;
        let part = |part, labels, collector| {
            let index = folder.join(format!("{}.{part}", identity.digest));
            pictures::Rowset::collected(labels, collector, &index, keep)
        };
        let rows = (part("train", labels, train)?, part("test", about.test.labels.clone(), test)?);
        pictures::finish(config, identity, &about.about(shape), rows)
    }
}
