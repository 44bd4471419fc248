//! Checks batches that are assembled on the device from its copy of the data.

use anyhow::Context;
use candle_core::{DType, Device, Tensor};
use lrlab_data::{
    AugmentConfig, Batch, BatchPlan, DataConfig, Dataset, Features, Order, Source, SyntheticPictures,
    SyntheticReviews,
};
use lrlab_train::DeviceData;

use super::context::CheckContext;
use super::verdict::Verdict;

/// The batch size, which divides no split's size, so that the last batch is smaller.
const BATCH: usize = 33;

/// Checks pictures with even and odd sides, with each augmentation alone and all together.
pub(super) fn pictures(context: &CheckContext) -> anyhow::Result<Verdict> {
    let none = AugmentConfig::default();
    let augments = [
        none,
        AugmentConfig { crop_padding: 4, ..none },
        AugmentConfig { crop_padding: 99, ..none },
        AugmentConfig { flip: true, ..none },
        AugmentConfig { cutout: 8, ..none },
        AugmentConfig { cutout: 99, ..none },
        AugmentConfig { crop_padding: 4, flip: true, cutout: 8 },
    ];
    let mut count = 0;
    for size in [32, 13] {
        let pictures = SyntheticPictures { train: 500, test: 100, size, ..SyntheticPictures::default() };
        let data = load(Source::SyntheticPictures(pictures), context)?;
        for augment in augments {
            match compare(&data, augment, &context.device)? {
                Ok(values) => count += values,
                Err(differ) => {
                    let AugmentConfig { crop_padding, flip, cutout } = augment;
                    return Ok(Verdict::failed(format!(
                        "{size}×{size}, crop_padding = {crop_padding}, flip = {flip}, cutout = {cutout}: {differ}"
                    )));
                }
            }
        }
    }
    Ok(Verdict::passed(format!("all bits of {count} values, {} augmentations", augments.len())))
}

/// Checks sequences of many lengths.
pub(super) fn tokens(context: &CheckContext) -> anyhow::Result<Verdict> {
    let reviews = SyntheticReviews { train: 500, test: 100, ..SyntheticReviews::default() };
    let data = load(Source::SyntheticReviews(reviews), context)?;
    Ok(match compare(&data, AugmentConfig::default(), &context.device)? {
        Ok(count) => Verdict::passed(format!("all bits of {count} values")),
        Err(differ) => Verdict::failed(differ),
    })
}

fn load(source: Source, context: &CheckContext) -> anyhow::Result<Dataset> {
    Ok(lrlab_data::load(&DataConfig::new(source, context.folder.join("cache")))?)
}

/// Compares the batches of the device with those of the host, for every split and both orders. Returns the number of equal
/// values, or the first difference.
fn compare(data: &Dataset, augment: AugmentConfig, device: &Device) -> anyhow::Result<Result<usize, String>> {
    let on_device = DeviceData::upload(data, device)?;
    let splits = [("training", &data.train), ("validation", &data.validation), ("test", &data.test)];
    let mut count = 0;
    for (name, split) in splits {
        for order in [Order::Sequential, Order::Shuffled { seed: 1, epoch: 2 }] {
            let plan = BatchPlan { augment, ..BatchPlan::new(BATCH, order) };
            let mut device_batches =
                on_device.batches(split, plan.clone()).context("the split is not on the device")?;
            for (number, host) in split.batches(plan).enumerate() {
                let device_batch =
                    device_batches.next().with_context(|| format!("batch {number} is missing"))??;
                let (host, device) = (values(&host?)?, values(&device_batch)?);
                if host != device {
                    let differ = host.iter().zip(&device).filter(|(a, b)| a != b).count();
                    let of = host.len();
                    return Ok(Err(format!("{differ} of {of} values of {name} batch {number} differ")));
                }
                count += host.len();
            }
        }
    }
    Ok(Ok(count))
}

/// Returns the bits of a batch, preceded by its sizes.
fn values(batch: &Batch) -> anyhow::Result<Vec<u32>> {
    let mut all = batch.indices.clone();
    let mut put = |tensor: &Tensor| -> anyhow::Result<()> {
        all.extend(tensor.dims().iter().map(|&side| side as u32));
        let tensor = tensor.to_device(&Device::Cpu)?.flatten_all()?;
        match tensor.dtype() {
            DType::U32 => all.extend(tensor.to_vec1::<u32>()?),
            _ => all.extend(tensor.to_vec1::<f32>()?.iter().map(|value| value.to_bits())),
        }
        Ok(())
    };
    put(&batch.labels)?;
    match &batch.features {
        Features::Pictures(pictures) => put(pictures)?,
        Features::Tokens { ids, mask } => {
            put(ids)?;
            put(mask)?;
        }
    }
    Ok(all)
}
