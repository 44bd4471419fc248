//! A picture set for code written for `candle-datasets`.

use candle_core::{Device, Tensor};
use candle_datasets::vision;

use crate::dataset::Store;
use crate::{Dataset, Error, Kind, Split};

impl Dataset {
    /// The training and test splits as `candle_datasets::vision::cifar::load` gives CIFAR-10: f32
    /// `(pictures, channels, height, width)` in 0 … 1 and u8 labels, but the right way up and with no row
    /// dropped. `None` for text.
    ///
    /// # Errors
    /// A tensor could not be made.
    pub fn to_vision(&self) -> Result<Option<vision::Dataset>, Error> {
        let Kind::Pictures { channels, height, width } = self.kind else { return Ok(None) };
        let images = |split: &Split| -> candle_core::Result<(Tensor, Tensor)> {
            let mut values = Vec::with_capacity(split.len() * channels * height * width);
            if let Store::Pictures(pictures) = &split.store {
                for &place in &*pictures.places {
                    let bytes = pictures.pictures.picture(place as usize);
                    values.extend(bytes.iter().map(|&byte| f32::from(byte) / 255.0));
                }
            }
            let labels: Vec<u8> = split.labels().iter().map(|&label| label as u8).collect();
            let shape = (split.len(), channels, height, width);
            Ok((
                Tensor::from_vec(values, shape, &Device::Cpu)?,
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

    use crate::{DataConfig, Source, SyntheticPictures, SyntheticReviews, load};

    #[test]
    fn pictures_in_the_units_of_candle_datasets() {
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
