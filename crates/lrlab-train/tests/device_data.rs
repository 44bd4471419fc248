//! Batches of examples that a device holds have the bits of the host's. Here the CPU is the device.

#![allow(clippy::unwrap_used, reason = "panics fail the test")]

use candle_core::{DType, Device, Tensor};
use lrlab_data::{
    AugmentConfig, Batch, BatchPlan, DataConfig, Dataset, Features, Order, Source, SyntheticPictures,
    SyntheticReviews, TokenConfig, load,
};
use lrlab_train::{DeviceData, Error};

fn data(source: Source) -> Dataset {
    let mut config = DataConfig::new(source, std::env::temp_dir().join("lrlab-train-tests"));
    config.tokens = TokenConfig { vocabulary: 200, ..config.tokens };
    load(&config).unwrap()
}

fn pictures(size: usize) -> Dataset {
    let pictures = SyntheticPictures { train: 70, test: 23, size, ..SyntheticPictures::default() };
    data(Source::SyntheticPictures(pictures))
}

fn reviews() -> Dataset {
    data(Source::SyntheticReviews(SyntheticReviews { train: 70, test: 23, ..SyntheticReviews::default() }))
}

/// Shapes and bits of all tensors in a batch.
fn written(batch: Batch) -> Vec<(Vec<usize>, Vec<u32>)> {
    let bits = |tensor: &Tensor| {
        let flat = tensor.flatten_all().unwrap().to_dtype(DType::F32).unwrap();
        (tensor.dims().to_vec(), flat.to_vec1::<f32>().unwrap().iter().map(|x| x.to_bits()).collect())
    };
    let mut all = vec![bits(&batch.labels), (Vec::new(), batch.indices)];
    match batch.features {
        Features::Pictures(pictures) => all.push(bits(&pictures)),
        Features::Tokens { ids, mask } => all.extend([bits(&ids), bits(&mask)]),
    }
    all
}

/// Compares batches of every split, order and start.
fn check(data: &Dataset, augment: AugmentConfig) {
    let there = DeviceData::upload(data, &Device::Cpu).unwrap();
    for split in [&data.train, &data.validation, &data.test] {
        for order in [Order::Sequential, Order::Shuffled { seed: 3, epoch: 1 }] {
            for first_batch in [0, 2, 99] {
                let plan = BatchPlan { augment, first_batch, ..BatchPlan::new(9, order) };
                let host: Vec<_> = split.batches(plan.clone()).map(|batch| written(batch.unwrap())).collect();
                let device = there.batches(split, plan).unwrap();
                let device: Vec<_> = device.map(|batch| written(batch.unwrap())).collect();
                assert_eq!(host, device, "{augment:?}, {order:?}, from batch {first_batch}");
            }
        }
    }
}

#[test]
fn pictures_have_the_same_bits() {
    for size in [16, 11] {
        let data = pictures(size);
        check(&data, AugmentConfig::default());
        let none = AugmentConfig::default();
        for augment in [
            AugmentConfig { crop_padding: 4, ..none },
            AugmentConfig { crop_padding: 30, ..none },
            AugmentConfig { flip: true, ..none },
            AugmentConfig { cutout: 5, ..none },
            AugmentConfig { cutout: 40, ..none },
            AugmentConfig { crop_padding: 3, flip: true, cutout: 8 },
        ] {
            check(&data, augment);
        }
    }
}

#[test]
fn sequences_have_the_same_bits() {
    check(&reviews(), AugmentConfig::default());
}

#[test]
fn invalid_splits_and_empty_batches_are_rejected() {
    let (data, other) = (pictures(16), pictures(16));
    let there = DeviceData::upload(&data, &Device::Cpu).unwrap();
    let plan = BatchPlan::new(0, Order::Sequential);
    assert!(there.batches(&other.train, plan.clone()).is_none());
    let mut none = there.batches(&data.train, plan).unwrap();
    assert!(matches!(none.next(), Some(Err(Error::Data(_)))));
    assert!(none.next().is_none());
}
