//! The input pipeline alone: batches in the order of training, compared with the training step that consumes them.

use candle_core::Tensor;
use lrlab_data::{
    AugmentConfig, BatchPlan, Batches, DataConfig, Dataset, Features, Order, Source, SyntheticPictures,
    SyntheticReviews, TokenConfig,
};

use super::models::{LENGTH, PICTURES, TEXTS};
use super::workload::{Kind, Step, Workload};

/// The workloads, each with the training step that consumes its batches.
pub(super) const REFERENCE_STEPS: [(&str, &str); 2] =
    [("input-pictures", "resnet20"), ("input-reviews", "lstm")];
/// The number of batches per epoch; every epoch draws a new order, as in training.
const BATCHES: usize = 40;

pub(super) fn inputs() -> Vec<Workload> {
    let [(pictures_name, _), (reviews_name, _)] = REFERENCE_STEPS;
    vec![
        Workload::new(Kind::Input, pictures_name, PICTURES, Box::new(|_| pictures())),
        Workload::new(Kind::Input, reviews_name, TEXTS, Box::new(|_| reviews())),
    ]
}

/// Pictures of 32×32, cropped, mirrored and normalised.
fn pictures() -> anyhow::Result<Step> {
    let (train, size, classes) = (BATCHES * PICTURES * 5 / 4, 32, 10);
    let pictures = SyntheticPictures { train, size, classes, ..SyntheticPictures::default() };
    let augment = AugmentConfig { crop_padding: 4, flip: true, cutout: 0 };
    batches_of(Source::SyntheticPictures(pictures), PICTURES, augment)
}

/// Generated reviews, which are shorter than the texts in the benchmarks of the text models.
fn reviews() -> anyhow::Result<Step> {
    let reviews = SyntheticReviews { train: BATCHES * TEXTS * 5 / 4, ..SyntheticReviews::default() };
    batches_of(Source::SyntheticReviews(reviews), TEXTS, AugmentConfig::default())
}

fn batches_of(source: Source, batch_size: usize, augment: AugmentConfig) -> anyhow::Result<Step> {
    let cache = tempfile::tempdir()?;
    let mut config = DataConfig::new(source, cache.path());
    config.tokens = TokenConfig { max_length: LENGTH, ..TokenConfig::default() };
    let data = lrlab_data::load(&config)?;
    let mut epoch = 0;
    let mut batches = pass(&data, batch_size, augment, epoch);
    Ok(Box::new(move || {
        loop {
            if let Some(batch) = batches.next() {
                return Ok(features(batch.map_err(candle_core::Error::wrap)?.features));
            }
            epoch += 1;
            batches = pass(&data, batch_size, augment, epoch);
        }
    }))
}

fn pass(data: &Dataset, batch_size: usize, augment: AugmentConfig, epoch: u64) -> Batches {
    let order = Order::Shuffled { seed: 0, epoch };
    data.train.batches(BatchPlan { augment, ..BatchPlan::new(batch_size, order) })
}

fn features(features: Features) -> Tensor {
    match features {
        Features::Pictures(pictures) => pictures,
        Features::Tokens { ids, .. } => ids,
    }
}
