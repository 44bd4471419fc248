//! Trains small networks on generated data, with the code that trains runs.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::anyhow;
use candle_core::Device;
use lrlab_callbacks::Callbacks;
use lrlab_data::Dataset;
use lrlab_spec::RunSpec;
use lrlab_train::Fitted;

use crate::{Registry, assemble};

/// The networks, by their names in [`Sizes::experiment`].
pub(super) const NETWORKS: [&str; 3] = ["resnet", "lstm", "transformer"];

/// The sizes of an experiment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) epochs: u64,
    pub(super) seeds: u64,
    /// The depth of the residual network.
    pub(super) depth: usize,
    /// Examples for training and validation; a fifth is for validation.
    pub(super) pictures: usize,
    pub(super) reviews: usize,
    /// Hidden and embedding size of the text models.
    pub(super) width: usize,
}

impl Sizes {
    /// Returns the text of an experiment with the three networks under a cosine schedule.
    pub(super) fn experiment(&self) -> String {
        self.experiment_of("cosine", &[self.epochs])
    }

    /// Returns the text of an experiment with the three networks under a schedule without parameters, in these lengths.
    /// Constants of the optimizers follow schedules too, and weights are averaged.
    pub(super) fn experiment_of(&self, schedule: &str, epochs: &[u64]) -> String {
        let Self { seeds, depth, pictures, reviews, width, .. } = *self;
        let seeds = (0..seeds).map(|seed| seed.to_string()).collect::<Vec<_>>().join(", ");
        let models = NETWORKS.map(|name| format!("{name:?}")).join(", ");
        format!(
            r#"name = "kit"
[axes]
model = [{models}]
schedule = ["{schedule}"]
epochs = {epochs:?}
seed = [{seeds}]
[defaults]
batch_size = 32
[models.resnet]
network = {{ resnet = {{ depth = {depth} }} }}
data = "pictures"
set.lr = 0.05
set.optimizer = {{ sgd = {{ momentum = 0.9, momentum_schedule = {{ exponential = {{ gamma = 0.98 }} }}, weight_decay = 1e-4 }} }}
set.averaging = {{ ema = {{ decay = 0.9 }} }}
[models.lstm]
network = {{ lstm = {{ embedding = {width}, hidden = {width} }} }}
data = "reviews"
set.lr = 0.01
set.optimizer = {{ adamw = {{ weight_decay = 0.01, weight_decay_schedule = {{ exponential = {{ gamma = 0.9 }} }} }} }}
set.averaging = {{ lawa = {{ k = 3 }} }}
set.clip_norm = 1.0
[models.transformer]
network = {{ transformer = {{ width = {width}, heads = 4, feed_forward = {feed_forward}, layers = 2 }} }}
data = "reviews"
set.lr = 0.003
set.optimizer = {{ adam = {{ beta1_schedule = {{ exponential = {{ gamma = 0.99 }} }} }} }}
[data.pictures]
source = {{ synthetic_pictures = {{ train = {pictures}, test = 32 }} }}
augment = {{ crop_padding = 1 }}
[data.reviews]
source = {{ synthetic_reviews = {{ train = {reviews}, test = 32 }} }}
tokens = {{ vocabulary = 1000, max_length = 32 }}
[schedules.{schedule}]
{schedule} = {{}}
"#,
            feed_forward = 2 * width
        )
    }

    /// Returns the runs of one network, one per seed.
    pub(super) fn runs(&self, network: &str) -> anyhow::Result<Vec<RunSpec>> {
        let read = lrlab_spec::read(&self.experiment(), "kit.toml", &[], &Registry::default().catalog());
        let mistakes = |mistakes: lrlab_spec::Mistakes| anyhow!("{mistakes}");
        let cells = read.map_err(mistakes)?.cells(&[format!("model={network}")], None).map_err(mistakes)?;
        Ok(cells.into_iter().map(|(_, run)| run).collect())
    }
}

/// Loads the data of a run.
pub(super) fn data(run: &RunSpec, folder: &Path) -> anyhow::Result<Dataset> {
    Registry::default().load(&run.data, &folder.join("cache"))
}

/// Trains a run in full.
pub(super) fn train(run: &RunSpec, data: &Dataset, device: &Device) -> anyhow::Result<Fitted> {
    let model = Registry::default().build_model(run, data, device)?;
    let settings = assemble::settings(run);
    let parts = assemble::fit(run, model, Callbacks::default(), data, &settings, device)?;
    Ok(lrlab_train::fit(parts, &AtomicBool::new(false), &mut |_| {})?)
}
