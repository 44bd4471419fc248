//! Models and data sets that user-defined runners add.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Device;
use lrlab_data::{Dataset, Kind, Source};
use lrlab_kernels::Params;
use lrlab_models::Model;
use lrlab_spec::{Catalog, DataSpec, ModelSpec, RunSpec};
use serde_json::Value;

use crate::assemble;

/// What a model is built from.
pub struct ModelContext<'a> {
    /// The kind of examples.
    pub kind: &'a Kind,
    /// The number of classes.
    pub classes: usize,
    /// The seed of the initialisation.
    pub seed: u64,
    /// Creates the parameters; its precision is that of the run's matrix products.
    pub params: Params,
}

type ModelBuilder = Box<dyn Fn(&Value, ModelContext<'_>) -> anyhow::Result<Box<dyn Model>> + Send + Sync>;
type DataLoader = Box<dyn Fn(&Value, &DataSpec, &Path) -> anyhow::Result<Dataset> + Send + Sync>;

/// Additional models and data sets of a runner: `custom = { name = "…", options = { … } }`.
#[derive(Default)]
pub struct Registry {
    models: BTreeMap<String, ModelBuilder>,
    data: BTreeMap<String, DataLoader>,
}

impl Registry {
    /// Registers a model under `name`. `build` receives the experiment's `options`.
    pub fn model<F>(&mut self, name: &str, build: F)
    where
        F: Fn(&Value, ModelContext<'_>) -> anyhow::Result<Box<dyn Model>> + Send + Sync + 'static,
    {
        self.models.insert(name.to_owned(), Box::new(build));
    }

    /// Registers a data set under `name`. `load` receives the experiment's `options`, the rest of its data table, and
    /// a folder for cached files.
    pub fn data<F>(&mut self, name: &str, load: F)
    where
        F: Fn(&Value, &DataSpec, &Path) -> anyhow::Result<Dataset> + Send + Sync + 'static,
    {
        self.data.insert(name.to_owned(), Box::new(load));
    }

    /// Returns the names that experiments may use.
    #[must_use]
    pub fn catalog(&self) -> Catalog {
        Catalog { models: self.models.keys().cloned().collect(), data: self.data.keys().cloned().collect() }
    }

    pub(crate) fn build_model(
        &self,
        run: &RunSpec,
        data: &Dataset,
        device: &Device,
    ) -> anyhow::Result<Box<dyn Model>> {
        let (seed, params) = (run.seed, assemble::params(run, device)?);
        if let ModelSpec::Custom(custom) = &run.model
            && let Some(build) = self.models.get(&custom.name)
        {
            return build(
                &custom.options,
                ModelContext { kind: &data.kind, classes: data.classes, seed, params },
            );
        }
        assemble::model(&run.model, &data.kind, data.classes, seed, params)
    }

    pub(crate) fn load(&self, spec: &DataSpec, cache: &Path) -> anyhow::Result<Dataset> {
        if let Source::Custom(custom) = &spec.source
            && let Some(load) = self.data.get(&custom.name)
        {
            return load(&custom.options, spec, cache);
        }
        Ok(lrlab_data::load(&assemble::data(spec, cache))?)
    }

    /// Returns the content digest of a data set, and notes about it.
    pub(crate) fn identify(&self, spec: &DataSpec, cache: &Path) -> anyhow::Result<(String, Vec<String>)> {
        if let Source::Custom(custom) = &spec.source
            && self.data.contains_key(&custom.name)
        {
            let data = self.load(spec, cache)?;
            return Ok((data.digest, data.notes));
        }
        let identity = lrlab_data::digest(&assemble::data(spec, cache))?;
        Ok((identity.digest, identity.notes))
    }
}
