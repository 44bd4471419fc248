//! Functions by name, so that experiment files can refer to schedules that a program computes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::schedules::Specification;
use crate::{Error, Horizon, Problem, Schedule, Time, lambda};

type Function = Arc<dyn Fn(Time) -> f64 + Send + Sync>;

/// Functions of time by name, for [`LambdaSpec`].
///
/// ```
/// use lrlab_schedulers::{Horizon, Lambdas, ScheduleSpec};
///
/// let mut lambdas = Lambdas::default();
/// lambdas.register("halves", None, |at| 0.5_f64.powf(at.epoch.floor()));
/// let mut spec = ScheduleSpec::parse("warmup = { over = '1 epoch', then = { lambda = { name = 'halves' } } }")?;
/// spec.bind(&lambdas)?;
/// let run = Horizon { updates: 100, updates_per_epoch: 10 };
/// // The time of the function starts after the warm-up.
/// assert_eq!(spec.build(&run)?.lr(0.1, run.at(25)), 0.05);
/// # Ok::<(), lrlab_schedulers::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Lambdas(BTreeMap<String, (Option<String>, Function)>);

impl Lambdas {
    /// Registers `factor`, or replaces the function of this name. The rate is the base rate times `factor(t)`, where NaN counts
    /// as 0. The version distinguishes functions of one name.
    pub fn register(
        &mut self,
        name: impl Into<String>,
        version: Option<String>,
        factor: impl Fn(Time) -> f64 + Send + Sync + 'static,
    ) {
        self.0.insert(name.into(), (version, Arc::new(factor)));
    }

    /// Returns the sorted names with their versions.
    pub fn names(&self) -> impl Iterator<Item = (&str, Option<&str>)> + Clone {
        self.0.iter().map(|(name, (version, _))| (name.as_str(), version.as_deref()))
    }
}

impl fmt::Debug for Lambdas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.names()).finish()
    }
}

/// Compares names and versions.
impl PartialEq for Lambdas {
    fn eq(&self, other: &Self) -> bool {
        self.names().eq(other.names())
    }
}

impl Eq for Lambdas {}

/// `lambda = { name = "mine" }`: the base rate times a function that a program registers.
///
/// `lr(t) = base · factor(t)`. A custom runner registers functions with `lrlab::Registry::lambda`. `ScheduleSpec::bind` must
/// look them up before the schedule is built.
#[derive(Clone)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct LambdaSpec {
    /// The name of the function.
    pub name: String,
    /// The registered version, set by the program; `None` for a function without a version.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    #[cfg_attr(feature = "schemars", schemars(skip))]
    pub version: Option<String>,
    #[cfg_attr(feature = "serde", serde(skip))]
    #[cfg_attr(feature = "schemars", schemars(skip))]
    function: Option<Function>,
}

impl LambdaSpec {
    /// Refers to the function `name`, which is not looked up yet.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), version: None, function: None }
    }

    pub(crate) fn bind(&mut self, lambdas: &Lambdas) -> Result<(), Error> {
        let Some((version, function)) = lambdas.0.get(&self.name) else {
            let names: Vec<&str> = lambdas.names().map(|(name, _)| name).collect();
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let message =
                format!("{:?} is not a registered function; registered functions: {known}", self.name);
            return Err(Error::new("lambda.name", Problem::Syntax { message }));
        };
        if self.version.is_some() && self.version != *version {
            let describe = |version: &Option<String>| {
                version
                    .as_ref()
                    .map_or_else(|| "no version".to_owned(), |version| format!("version {version:?}"))
            };
            let (expected, registered) = (describe(&self.version), describe(version));
            let message = format!("{:?} is registered with {registered}, expected {expected}", self.name);
            return Err(Error::new("lambda.version", Problem::Syntax { message }));
        }
        self.version.clone_from(version);
        self.function = Some(Arc::clone(function));
        Ok(())
    }
}

impl fmt::Debug for LambdaSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LambdaSpec")
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// Compares name and version, regardless of whether the function has been looked up.
impl PartialEq for LambdaSpec {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.version) == (&other.name, &other.version)
    }
}

impl Specification for LambdaSpec {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    fn build(&self, _: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        let Some(function) = self.function.clone() else {
            let message = format!("the function {:?} is not registered in this program", self.name);
            return Err(Error::new("name", Problem::Syntax { message }));
        };
        Ok(Box::new(lambda(move |at| function(at))))
    }
}
