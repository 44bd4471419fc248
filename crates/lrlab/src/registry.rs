//! Models and data sets that user-defined runners add.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use candle_core::Device;
use lrlab_data::{DataConfig, Dataset, DatasetIdentity, Kind, Source};
use lrlab_kernels::Params;
use lrlab_models::Model;
use lrlab_runs::{PlannedRun, RegisteredPart};
use lrlab_schedulers::{Lambdas, Time};
use lrlab_spec::{Catalog, DataSpec, ModelSpec, Registered, RunSpec};
use serde::Deserialize;
use serde_json::Value;

use crate::assemble;

/// The inputs from which a model is built.
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

/// The name of a registered model, data set or function, its version, and the commit of its source.
///
/// ```
/// use lrlab::Registration;
///
/// let mixer = Registration::new("mixer").version("2").commit("3f2a9c1").bf16();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    part: Registered,
    commit: Option<String>,
}

impl Registration {
    /// Creates a registration without version and commit, for `precision = "f32"` only.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { part: Registered::new(name), commit: None }
    }

    /// Sets the version, which is part of the identity of every run that uses this part: with a new
    /// version, only these runs are new. Change it whenever the part trains or loads differently.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.part.version = Some(version.into());
        self
    }

    /// Sets the commit of the source. Results record it; it is not part of the identity.
    #[must_use]
    pub fn commit(mut self, commit: impl Into<String>) -> Self {
        self.commit = Some(commit.into());
        self
    }

    /// Declares that the model multiplies in the precision of its [`Params`], as [`lrlab_models::Affine`] does. Otherwise
    /// `precision = "bf16"` is an error.
    #[must_use]
    pub fn bf16(mut self) -> Self {
        self.part.bf16 = true;
        self
    }
}

impl From<&str> for Registration {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for Registration {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

type ModelBuilder = Box<dyn Fn(&Value, ModelContext<'_>) -> anyhow::Result<Box<dyn Model>> + Send + Sync>;
type DataLoader = Box<dyn Fn(&Value, &DataConfig) -> anyhow::Result<Dataset> + Send + Sync>;

/// Additional models and data sets of a runner, `custom = { name = "…", options = { … } }`, and functions for schedules,
/// `lambda = { name = "…" }`.
#[derive(Default)]
pub struct Registry {
    models: BTreeMap<String, (Registration, ModelBuilder)>,
    data: BTreeMap<String, (Registration, DataLoader)>,
    lambdas: BTreeMap<String, Registration>,
    functions: Lambdas,
}

impl Registry {
    /// Registers a model. `build` receives the experiment's `options`.
    pub fn model<F>(&mut self, registration: impl Into<Registration>, build: F)
    where
        F: Fn(&Value, ModelContext<'_>) -> anyhow::Result<Box<dyn Model>> + Send + Sync + 'static,
    {
        let registration = registration.into();
        self.models.insert(registration.part.name.clone(), (registration, Box::new(build)));
    }

    /// Registers a data set. `load` receives the experiment's `options` and the settings of the data set, for
    /// [`Dataset::from_pictures`], [`Dataset::from_texts`] or [`Dataset::from_tokens`], or their counterparts for streams.
    pub fn data<F>(&mut self, registration: impl Into<Registration>, load: F)
    where
        F: Fn(&Value, &DataConfig) -> anyhow::Result<Dataset> + Send + Sync + 'static,
    {
        let registration = registration.into();
        self.data.insert(registration.part.name.clone(), (registration, Box::new(load)));
    }

    /// Registers a function of time for schedules: `lambda = { name = "…" }` is the base rate times `factor`. Every
    /// schedule of an experiment file may use it, including those of the optimizer's constants. The result of a run depends
    /// on every bit of its values: use `exp` and similar functions from `libm`, because the system's differ between machines.
    ///
    /// ```
    /// let mut registry = lrlab::Registry::default();
    /// registry.lambda("hyperbola", |at| 1.0 / (1.0 + at.epoch));
    /// ```
    pub fn lambda<F>(&mut self, registration: impl Into<Registration>, factor: F)
    where
        F: Fn(Time) -> f64 + Send + Sync + 'static,
    {
        let registration = registration.into();
        let Registered { name, version, .. } = registration.part.clone();
        self.functions.register(name.clone(), version, factor);
        self.lambdas.insert(name, registration);
    }

    /// Returns the functions that schedules may name.
    pub(crate) fn lambdas(&self) -> &Lambdas {
        &self.functions
    }

    /// Returns the specification of a planned run, with the functions that its schedules name.
    pub(crate) fn spec(&self, run: &PlannedRun) -> anyhow::Result<RunSpec> {
        let mut spec = RunSpec::deserialize(&*run.spec).context("spec.json")?;
        self.bind(&mut spec)?;
        Ok(spec)
    }

    /// Looks up the functions that the schedules of a run name.
    pub(crate) fn bind(&self, run: &mut RunSpec) -> anyhow::Result<()> {
        run.bind(&self.functions).context("this runner is not the one that the run was planned with")
    }

    /// Returns what experiments may use.
    #[must_use]
    pub fn catalog(&self) -> Catalog {
        Catalog {
            models: self.models.values().map(|(registration, _)| registration.part.clone()).collect(),
            data: self.data.values().map(|(registration, _)| registration.part.clone()).collect(),
            lambdas: self.functions.clone(),
        }
    }

    pub(crate) fn build_model(
        &self,
        run: &RunSpec,
        data: &Dataset,
        device: &Device,
    ) -> anyhow::Result<Box<dyn Model>> {
        let (seed, params) = (run.seed, assemble::params(run, device)?);
        if let ModelSpec::Custom(custom) = &run.model
            && let Some((registration, build)) = self.models.get(&custom.name)
        {
            same_version("model", registration, custom.version.as_deref())?;
            return build(
                &custom.options,
                ModelContext { kind: &data.kind, classes: data.classes, seed, params },
            );
        }
        assemble::model(&run.model, &data.kind, data.classes, seed, params)
    }

    pub(crate) fn load(&self, spec: &DataSpec, cache: &Path) -> anyhow::Result<Dataset> {
        if let Source::Custom(custom) = &spec.source
            && let Some((registration, load)) = self.data.get(&custom.name)
        {
            same_version("data set", registration, custom.version.as_deref())?;
            return load(&custom.options, &assemble::data(spec, cache));
        }
        Ok(lrlab_data::load(&assemble::data(spec, cache))?)
    }

    /// Returns the content digest of a data set, and notes about it. Downloads missing files.
    pub(crate) fn identify(&self, spec: &DataSpec, cache: &Path) -> anyhow::Result<(String, Vec<String>)> {
        self.identify_with(lrlab_data::digest, spec, cache)
    }

    /// Like [`Registry::identify`], without the network, unless a registered data set's loader uses it.
    pub(crate) fn identify_local(
        &self,
        spec: &DataSpec,
        cache: &Path,
    ) -> anyhow::Result<(String, Vec<String>)> {
        self.identify_with(lrlab_data::local_digest, spec, cache)
    }

    fn identify_with(
        &self,
        digest: impl FnOnce(&DataConfig) -> Result<DatasetIdentity, lrlab_data::Error>,
        spec: &DataSpec,
        cache: &Path,
    ) -> anyhow::Result<(String, Vec<String>)> {
        if let Source::Custom(custom) = &spec.source
            && self.data.contains_key(&custom.name)
        {
            let data = self.load(spec, cache)?;
            return Ok((data.digest, data.notes));
        }
        let identity = digest(&assemble::data(spec, cache))?;
        Ok((identity.digest, identity.notes))
    }

    /// Returns the registered parts that a run uses, for its provenance.
    pub(crate) fn parts(&self, run: &RunSpec) -> Vec<RegisteredPart> {
        let part = |kind: &str, Registration { part, commit }: &Registration| RegisteredPart {
            kind: kind.to_owned(),
            name: part.name.clone(),
            version: part.version.clone(),
            commit: commit.clone(),
        };
        let mut parts = Vec::new();
        if let ModelSpec::Custom(custom) = &run.model
            && let Some((registration, _)) = self.models.get(&custom.name)
        {
            parts.push(part("model", registration));
        }
        if let Source::Custom(custom) = &run.data.source
            && let Some((registration, _)) = self.data.get(&custom.name)
        {
            parts.push(part("data", registration));
        }
        let lambdas = run.lambdas();
        parts.extend(lambdas.iter().filter_map(|spec| Some(part("lambda", self.lambdas.get(&spec.name)?))));
        parts
    }
}

/// Rejects a run of another version than the registered one, because it would be trained under the wrong identity.
fn same_version(what: &str, registration: &Registration, wanted: Option<&str>) -> anyhow::Result<()> {
    let Registered { name, version, .. } = &registration.part;
    if version.as_deref() != wanted {
        let word = |version: Option<&str>| {
            version.map_or_else(|| "no version".to_owned(), |v| format!("version {v:?}"))
        };
        bail!(
            "the run uses {} of the {what} {name:?}, but this runner registers {}; use the runner that the run was planned with",
            word(wanted),
            word(version.as_deref())
        );
    }
    Ok(())
}
