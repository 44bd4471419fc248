//! The batches of a pass over a split, assembled by the host or on a device that stores the examples.

use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};
use lrlab_data::{
    Batch, BatchPlan, Dataset, Examples, Features, Prefetch, Raw, Recipe, Recipes, Split, View,
};
use lrlab_kernels::{DevicePictures, DeviceTokens, PictureView, device_memory, holds_examples};

use crate::Error;

/// A data set may use at most `1 / MEMORY_DIVISOR` of the free memory of a device.
const MEMORY_DIVISOR: u64 = 4;

/// The examples of a data set in the memory of a device, uploaded once. The device assembles batches from recipes: bit-identical
/// to those of the host, in the same order.
pub struct DeviceData<'a> {
    /// The distinct examples that the splits refer to.
    held: Vec<(Raw<'a>, Arc<DeviceExamples>)>,
}

enum DeviceExamples {
    Pictures(DevicePictures),
    Tokens(DeviceTokens),
}

impl<'a> DeviceData<'a> {
    /// Uploads all splits that are in memory to `device`.
    ///
    /// # Errors
    /// Returns an error if the device has no memory for them.
    pub fn upload(data: &'a Dataset, device: &Device) -> Result<Self, Error> {
        let held = distinct_stores(data)
            .into_iter()
            .map(|raw| Ok((raw, Arc::new(DeviceExamples::upload(raw, device)?))));
        Ok(Self { held: held.collect::<Result<_, Error>>()? })
    }

    /// Uploads all splits if this kind of device can store examples and they leave most of its memory free.
    pub(crate) fn upload_if_it_fits(data: &'a Dataset, device: &Device) -> Result<Option<Self>, Error> {
        let bytes: usize = distinct_stores(data).iter().map(bytes).sum();
        let fits = |free_mib: u64| bytes as u64 <= (free_mib << 20) / MEMORY_DIVISOR;
        let fits =
            holds_examples(device) && device_memory(device).is_some_and(|memory| fits(memory.free_mib));
        fits.then(|| Self::upload(data, device)).transpose()
    }

    /// Returns the batches of one pass over a split; `None` if the split belongs to another data set or is not in memory.
    #[must_use]
    pub fn batches(&self, split: &Split, plan: BatchPlan) -> Option<DeviceBatches> {
        let wanted = split.raw()?;
        let (_, held) = self.held.iter().find(|(raw, _)| same(raw, &wanted))?;
        Some(DeviceBatches { recipes: split.recipes(plan), held: Arc::clone(held) })
    }
}

/// Returns the distinct examples that the splits of a data set refer to.
fn distinct_stores(data: &Dataset) -> Vec<Raw<'_>> {
    let mut all: Vec<Raw> = Vec::new();
    for raw in [&data.train, &data.validation, &data.test].into_iter().filter_map(Split::raw) {
        if !all.iter().any(|known| same(known, &raw)) {
            all.push(raw);
        }
    }
    all
}

/// Returns whether both refer to the same memory.
fn same(a: &Raw, b: &Raw) -> bool {
    match (a, b) {
        (Raw::Pictures { pixels, shape, tables }, Raw::Pictures { pixels: p, shape: s, tables: t }) => {
            std::ptr::eq(*pixels, *p) && shape == s && std::ptr::eq(*tables, *t)
        }
        (Raw::Tokens { ids }, Raw::Tokens { ids: i }) => std::ptr::eq(*ids, *i),
        _ => false,
    }
}

fn bytes(raw: &Raw) -> usize {
    match raw {
        Raw::Pictures { pixels, tables, .. } => pixels.len() + size_of_val(*tables),
        Raw::Tokens { ids } => size_of_val(*ids),
    }
}

impl DeviceExamples {
    fn upload(raw: Raw, device: &Device) -> candle_core::Result<Self> {
        Ok(match raw {
            Raw::Pictures { pixels, shape, tables } => {
                Self::Pictures(DevicePictures::upload(device, pixels, shape, tables)?)
            }
            Raw::Tokens { ids } => Self::Tokens(DeviceTokens::upload(device, ids)?),
        })
    }

    fn features(&self, examples: Examples) -> candle_core::Result<Features> {
        match (self, examples) {
            (Self::Pictures(pictures), Examples::Pictures(views)) => {
                let views: Vec<_> = views.into_iter().map(picture_view).collect();
                Ok(Features::Pictures(pictures.batch(&views)?))
            }
            (Self::Tokens(tokens), Examples::Tokens(spans)) => {
                let (ids, mask) = tokens.batch(&spans)?;
                Ok(Features::Tokens { ids, mask })
            }
            _ => candle_core::bail!("the recipe belongs to another kind of data"),
        }
    }
}

fn picture_view(view: View) -> PictureView {
    let View { picture, shift, flip, blank } = view;
    PictureView { picture, shift, flip, blank }
}

/// The batches of one pass, in order, assembled on demand: features on the device, labels on the CPU.
pub struct DeviceBatches {
    recipes: Recipes,
    held: Arc<DeviceExamples>,
}

impl DeviceBatches {
    fn batch(&self, recipe: Recipe) -> candle_core::Result<Batch> {
        let Recipe { examples, labels, indices } = recipe;
        let labels = Tensor::from_vec(labels, indices.len(), &Device::Cpu)?;
        Ok(Batch { features: self.held.features(examples)?, labels, indices })
    }
}

impl Iterator for DeviceBatches {
    type Item = Result<Batch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let recipe = self.recipes.next()?;
        Some(recipe.map_err(Error::from).and_then(|recipe| Ok(self.batch(recipe)?)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.recipes.size_hint()
    }
}

/// The batches of a pass, assembled by the host or by the device.
pub(crate) enum BatchSource {
    /// The host assembles batches ahead of time.
    Host(Prefetch),
    /// The device assembles batches on demand, because a recipe takes the host only microseconds.
    Device { batches: DeviceBatches, waited: Duration },
}

impl BatchSource {
    /// Creates a pass on the device if it stores the split, and otherwise on the host with `prefetch` batches ahead.
    pub(crate) fn new(data: Option<&DeviceData>, split: &Split, plan: BatchPlan, prefetch: usize) -> Self {
        match data.and_then(|data| data.batches(split, plan.clone())) {
            Some(batches) => Self::Device { batches, waited: Duration::ZERO },
            None => Self::Host(split.batches(plan).prefetch(prefetch)),
        }
    }

    /// Returns how long the consumer has waited for batches. Work that is only queued on a GPU does not count.
    pub(crate) fn waited(&self) -> Duration {
        match self {
            Self::Host(batches) => batches.waited(),
            Self::Device { waited, .. } => *waited,
        }
    }
}

impl Iterator for BatchSource {
    type Item = Result<Batch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Host(batches) => Some(batches.next()?.map_err(Error::from)),
            Self::Device { batches, waited } => {
                let clock = Instant::now();
                let batch = batches.next();
                *waited += clock.elapsed();
                batch
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;
    use lrlab_data::{AugmentConfig, DataConfig, Files, Kind, Source, SyntheticPictures};
    use lrlab_kernels::Params;
    use lrlab_models::{Linear, LinearConfig, Model};
    use lrlab_optim::{OptimizerConfig, SgdConfig};

    use super::*;
    use crate::Settings;
    use crate::trainer::Trainer;

    /// Weights and validation loss after an epoch from its second batch on, and whether the device assembled the batches.
    fn trained(data: &Dataset, on_device: bool) -> (Vec<f32>, f64, bool) {
        let augment = AugmentConfig { crop_padding: 2, flip: true, cutout: 4 };
        let settings = Settings { batch_size: 9, accumulate: 2, augment, ..Settings::new(0.01) };
        let Kind::Pictures { channels, height, width } = data.kind else { unreachable!() };
        let config = LinearConfig { inputs: channels * height * width, classes: data.classes };
        let model = Box::new(Linear::new(&config, 0, Params::new(Device::Cpu, DType::F32)).unwrap());
        let optimizer =
            lrlab_optim::build(&OptimizerConfig::Sgd(SgdConfig::default()), model.params()).unwrap();
        let mut trainer =
            Trainer::new(model, optimizer, Arc::default(), data, &settings, &Device::Cpu).unwrap();
        assert!(trainer.device_data.is_none(), "on the CPU, the host assembles batches");
        trainer.device_data = on_device.then(|| DeviceData::upload(data, &Device::Cpu).unwrap());
        let mut batches = trainer.batches(1, 1);
        let from_device = matches!(batches, BatchSource::Device { .. });
        loop {
            let window = trainer.next_window(&mut batches).unwrap();
            if window.is_empty() {
                break;
            }
            trainer.step(&window, 0, 0.01).unwrap();
        }
        assert!(trainer.work.input_s > 0.0);
        let loss = trainer.evaluate(&data.validation).unwrap().loss;
        let weights = trainer.params().iter().map(|(_, param)| param.var.flatten_all().unwrap());
        (weights.flat_map(|values| values.to_vec1::<f32>().unwrap()).collect(), loss, from_device)
    }

    #[test]
    fn training_ends_with_the_same_bits() {
        let pictures = SyntheticPictures { train: 100, test: 10, ..SyntheticPictures::default() };
        let cache = std::env::temp_dir().join("lrlab-train-tests");
        let data = lrlab_data::load(&DataConfig::new(Source::SyntheticPictures(pictures), cache)).unwrap();
        let (host, device) = (trained(&data, false), trained(&data, true));
        assert_eq!((host.2, device.2), (false, true));
        assert_eq!((host.0, host.1), (device.0, device.1));
        assert_eq!(distinct_stores(&data).len(), 2, "training and validation share their pixels");
    }

    /// The training pictures lie in a file, so that the host assembles their batches; the device stores the test pictures.
    #[test]
    fn pictures_in_a_file_stay_on_the_host() {
        let folder =
            std::env::temp_dir().join(format!("lrlab-train-tests-{}-beyond-memory", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let parts = (1..=5).map(|part| format!("data_batch_{part}.bin")).chain(["test_batch.bin".to_owned()]);
        for (part, name) in parts.enumerate() {
            let row = |row: usize| {
                let pixels = (0..3072).map(move |i| (i * (row + 3) + part * 7) as u8);
                std::iter::once((row % 10) as u8).chain(pixels)
            };
            std::fs::write(folder.join(name), (0..20).flat_map(row).collect::<Vec<u8>>()).unwrap();
        }
        let source = Source::Cifar10(Files { folder: Some(folder.clone()) });
        let load = |memory| {
            let config = DataConfig::new(source.clone(), folder.join("cache"));
            lrlab_data::load(&DataConfig { memory, ..config }).unwrap()
        };
        let (in_memory, in_file) = (load(DataConfig::MEMORY), load(100_000));
        assert!(in_file.train.raw().is_none() && in_file.test.raw().is_some());
        assert_eq!(distinct_stores(&in_file).len(), 1);
        let expected = trained(&in_memory, true);
        assert!(expected.2);
        for on_device in [false, true] {
            let found = trained(&in_file, on_device);
            assert!(!found.2, "the host assembles the batches");
            assert_eq!((&found.0, found.1), (&expected.0, expected.1));
        }
        let on_device = DeviceData::upload(&in_file, &Device::Cpu).unwrap();
        let plan = BatchPlan::new(7, lrlab_data::Order::Sequential);
        assert!(on_device.batches(&in_file.train, plan.clone()).is_none());
        assert_eq!(on_device.batches(&in_file.test, plan).unwrap().count(), 3);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
