//! The exchange with `candle-datasets`: its reader of CIFAR-10's binary version, and its form of a picture set.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use candle_datasets::vision;

use crate::catalog::Part;
use crate::dataset::Store;
use crate::files::{Located, cifar10, label};
use crate::{Dataset, Error, Kind, Split};

/// Pictures in each of the six files of the published binary version.
const PICTURES_PER_FILE: usize = 10_000;

/// The classes that labels of one byte distinguish.
const MOST_CLASSES: usize = 1 << u8::BITS;

/// Reads the labels and the pixels `(picture, channel, row, column)` of the training and the test split of CIFAR-10's binary
/// version with `candle_datasets::vision::cifar::load_dir`.
///
/// Returns `None` for other files, and for files that do not hold exactly 10,000 pictures: `load_dir` fails on fewer
/// without naming the row, and ignores further pictures.
///
/// # Errors
/// Returns an error if a file cannot be read or a label is not a class.
pub(crate) fn load_dir(located: &Located) -> Result<Option<[(Vec<u32>, Vec<u8>); 2]>, Error> {
    let Some(folder) = published_folder(located) else { return Ok(None) };
    let vision::Dataset { train_images, train_labels, test_images, test_labels, .. } =
        vision::cifar::load_dir(folder)?;
    let (train, test) = (located.part(Part::Train), located.part(Part::Test));
    Ok(Some([rows(&train, &train_labels, &train_images)?, rows(&test, &test_labels, &test_images)?]))
}

/// Returns the folder of the six published files; `None` if a file has another format or size.
fn published_folder(located: &Located) -> Option<&Path> {
    let size = (PICTURES_PER_FILE * (cifar10::BYTES + 1)) as u64;
    let is_published = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "bin")
            && path.metadata().is_ok_and(|about| about.len() == size)
    };
    let folder = located.files.first()?.1.parent()?;
    located.files.iter().all(|(_, path)| is_published(path)).then_some(folder)
}

/// Converts labels, which are checked, and pixels to integers.
fn rows(files: &[PathBuf], labels: &Tensor, images: &Tensor) -> Result<(Vec<u32>, Vec<u8>), Error> {
    let mut pixels = Vec::with_capacity(images.elem_count());
    for index in 0..files.len() {
        let images = images.narrow(0, index * PICTURES_PER_FILE, PICTURES_PER_FILE)?.flatten_all()?;
        // The loader scaled each byte to 0 … 1; rounding removes the error of the product.
        pixels.extend((images * 255.0)?.round()?.to_dtype(DType::U8)?.to_vec1::<u8>()?);
    }
    let check = |(row, value): (usize, u8)| {
        let file = &files[row / PICTURES_PER_FILE];
        label::label(file, row % PICTURES_PER_FILE, i128::from(value), cifar10::CLASSES)
    };
    let labels = labels.to_vec1::<u8>()?.into_iter().enumerate().map(check).collect::<Result<_, _>>()?;
    Ok((labels, pixels))
}

impl Dataset {
    /// Returns the training and test splits in the form of `candle_datasets::vision`: f32 pictures
    /// `(pictures, channels, height, width)` in 0 … 1 and u8 labels. Returns `None` for text.
    ///
    /// The pictures are upright for every source, whereas `candle_datasets::vision::cifar::load` 0.11
    /// exchanges rows and columns of those in parquet files.
    ///
    /// ```
    /// use candle_datasets::vision;
    /// use lrlab_data::{DataConfig, Source, SyntheticPictures, load};
    ///
    /// # fn main() -> Result<(), lrlab_data::Error> {
    /// # let cache = std::env::temp_dir().join("lrlab-data-vision");
    /// let pictures = SyntheticPictures { train: 100, test: 20, ..SyntheticPictures::default() };
    /// let data = load(&DataConfig::new(Source::SyntheticPictures(pictures), cache))?;
    /// let Some(vision::Dataset { train_images, train_labels, .. }) = data.to_vision()? else { unreachable!() };
    /// assert_eq!(train_images.dims(), [80, 3, 16, 16]);
    /// assert_eq!(train_labels.dims(), [80]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if the data set has more than 256 classes, or a tensor operation fails.
    pub fn to_vision(&self) -> Result<Option<vision::Dataset>, Error> {
        let Kind::Pictures { channels, height, width } = self.kind else { return Ok(None) };
        if self.classes > MOST_CLASSES {
            return Err(Error::Setting {
                setting: "the number of classes",
                value: self.classes.to_string(),
                expected: "at most 256, because the labels of `candle_datasets::vision::Dataset` are bytes",
            });
        }
        let images = |split: &Split| -> Result<(Tensor, Tensor), Error> {
            let mut pixels = Vec::with_capacity(split.len() * channels * height * width);
            let mut buffer = Vec::new();
            if let Store::Pictures(pictures) = &split.store {
                for &place in &*pictures.places {
                    pixels.extend_from_slice(pictures.pictures.picture(place as usize, &mut buffer)?);
                }
            }
            let labels: Vec<u8> = split.labels().iter().map(|&label| label as u8).collect();
            let shape = (split.len(), channels, height, width);
            // The same expression as in candle-datasets gives the same bits: candle multiplies by 1 / 255.
            let pixels = Tensor::from_vec(pixels, shape, &Device::Cpu)?;
            Ok((
                (pixels.to_dtype(DType::F32)? / 255.0)?,
                Tensor::from_vec(labels, split.len(), &Device::Cpu)?,
            ))
        };
        let (train_images, train_labels) = images(&self.train)?;
        let (test_images, test_labels) = images(&self.test)?;
        let labels = self.classes;
        Ok(Some(vision::Dataset { train_images, train_labels, test_images, test_labels, labels }))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{D, DType};

    use crate::{
        DataConfig, Dataset, InMemory, Labelled, Source, SyntheticPictures, SyntheticReviews, Validation,
        load,
    };

    #[test]
    fn classes_beyond_a_byte_are_an_error() {
        let cache = tempfile::tempdir().unwrap();
        let data = |classes: u32| {
            let part = |n: u32| Labelled::new(vec![7; n as usize], (0..n).map(|i| i % classes).collect());
            let names = (0..classes).map(|class| class.to_string());
            let set = InMemory::new("signs", names, part(600), part(300));
            let source = Source::SyntheticPictures(SyntheticPictures::default());
            let config = DataConfig {
                validation: Some(Validation::Examples(0)),
                ..DataConfig::new(source, cache.path())
            };
            Dataset::from_pictures([1, 1, 1], set, &config).unwrap()
        };
        let most = data(256);
        let labels: Vec<u32> = most
            .to_vision()
            .unwrap()
            .unwrap()
            .train_labels
            .to_vec1::<u8>()
            .unwrap()
            .iter()
            .map(|&l| l.into())
            .collect();
        assert_eq!(labels, most.train.labels());
        let error = data(257).to_vision().unwrap_err().to_string();
        assert!(error.starts_with("the number of classes is 257, expected at most 256"), "{error}");
    }

    #[test]
    fn to_vision_has_the_shapes_and_range_of_candle_datasets() {
        let cache = tempfile::tempdir().unwrap();
        let settings = SyntheticPictures { train: 50, test: 20, ..SyntheticPictures::default() };
        let data = load(&DataConfig::new(Source::SyntheticPictures(settings), cache.path())).unwrap();
        let found = data.to_vision().unwrap().unwrap();
        assert_eq!(found.train_images.dims(), [40, 3, 16, 16]);
        assert_eq!(
            found.test_labels.to_dtype(DType::U32).unwrap().to_vec1::<u32>().unwrap(),
            data.test.labels()
        );
        let flat = found.test_images.flatten_all().unwrap();
        let (low, high) = (flat.min(D::Minus1).unwrap(), flat.max(D::Minus1).unwrap());
        assert!(low.to_scalar::<f32>().unwrap() >= 0.0 && high.to_scalar::<f32>().unwrap() <= 1.0);
        let reviews = SyntheticReviews { train: 10, test: 4, seed: 0 };
        let text = load(&DataConfig::new(Source::SyntheticReviews(reviews), cache.path())).unwrap();
        assert!(text.to_vision().unwrap().is_none());
    }
}
