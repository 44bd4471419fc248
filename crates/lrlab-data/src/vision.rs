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
