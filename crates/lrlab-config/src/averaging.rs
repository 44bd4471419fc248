//! Averages of the weights along a run.

use std::borrow::Cow;

use lrlab_schedulers::{Horizon, Span};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An average of the weights along the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AveragingConfig {
    /// Exponential moving average (Polyak and Juditsky, 1992, with forgetting).
    Ema(EmaConfig),
    /// Stochastic weight averaging (Izmailov et al., UAI 2018): the mean of all sampled weights.
    Swa(SwaConfig),
    /// Latest weight averaging (Kaddour, 2022): the mean of the last `k` sampled weights.
    Lawa(LawaConfig),
}

impl AveragingConfig {
    /// Returns the sampling interval and the start of the average.
    #[must_use]
    pub fn times(&self) -> (AverageEvery, Span) {
        match self {
            Self::Ema(ema) => (ema.every, ema.start),
            Self::Swa(swa) => (swa.every, swa.start),
            Self::Lawa(lawa) => (lawa.every, lawa.start),
        }
    }
}

/// `ema = { decay = 0.999 }`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EmaConfig {
    /// average ← decay · average + (1 − decay) · weights; at least 0 and below 1.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub decay: f64,
    /// The interval at which weights are sampled. Default: `"1 update"`.
    pub every: AverageEvery,
    /// The start of the average. Default: `"0 updates"`.
    pub start: Span,
}

impl Default for EmaConfig {
    fn default() -> Self {
        Self { decay: 0.999, every: AverageEvery::Length(Span::Updates(1)), start: Span::Updates(0) }
    }
}

/// `swa = { start = "75%" }`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SwaConfig {
    /// The start of the average. Default: `"75%"`.
    pub start: Span,
    /// The interval at which weights are sampled. Default: `"1 epoch"`.
    pub every: AverageEvery,
}

impl Default for SwaConfig {
    fn default() -> Self {
        Self { start: Span::Fraction(0.75), every: AverageEvery::Length(Span::Epochs(1.0)) }
    }
}

/// `lawa = { k = 5 }`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LawaConfig {
    /// The number of averaged weights.
    #[schemars(range(min = 1))]
    pub k: usize,
    /// The interval at which weights are sampled. Default: `"1 epoch"`.
    pub every: AverageEvery,
    /// The start of the average. Default: `"0 updates"`.
    pub start: Span,
}

impl Default for LawaConfig {
    fn default() -> Self {
        Self { k: 5, every: AverageEvery::Length(Span::Epochs(1.0)), start: Span::Updates(0) }
    }
}

/// The interval at which an average samples the weights: `"1 epoch"`, `"10 updates"`, `"cycle"`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AverageEvery {
    /// The end of each cycle of the schedule, before its warm restart, and the last update of the run. A run that is stopped
    /// within a cycle has no sample of it.
    Cycle,
    /// A length > 0. Whole epochs are counted from the start of the run, updates from the start of the average.
    Length(Span),
}

impl AverageEvery {
    /// Returns whether the interval is a length of 0.
    #[must_use]
    pub fn is_zero(self) -> bool {
        matches!(self, Self::Length(Span::Updates(0) | Span::Epochs(0.0) | Span::Fraction(0.0)))
    }

    /// Returns the number of epochs if the interval is a whole number of epochs.
    #[must_use]
    pub fn whole_epochs(self) -> Option<u64> {
        match self {
            Self::Length(Span::Epochs(n)) if n.fract() == 0.0 => Some(n as u64),
            _ => None,
        }
    }

    /// Returns whether the weights are sampled at least once from update `first` up to and including the end of the run.
    #[must_use]
    pub fn is_due_before_the_end(self, first: u64, run: &Horizon) -> bool {
        if let Some(n) = self.whole_epochs() {
            let (n, per_epoch) = (n.max(1), run.updates_per_epoch.max(1));
            let last = (run.updates / per_epoch) / n * n * per_epoch;
            return last > 0 && last >= first;
        }
        match self {
            Self::Cycle => true,
            Self::Length(length) if first == 0 => length.resolve_updates(run) <= run.updates,
            Self::Length(_) => first <= run.updates,
        }
    }
}

/// The text for the end of each cycle.
const CYCLE: &str = "cycle";

impl Serialize for AverageEvery {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Cycle => serializer.serialize_str(CYCLE),
            Self::Length(length) => length.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for AverageEvery {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            CYCLE => Ok(Self::Cycle),
            length => length.parse().map(Self::Length).map_err(de::Error::custom),
        }
    }
}

impl JsonSchema for AverageEvery {
    fn schema_name() -> Cow<'static, str> {
        "AverageEvery".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [generator.subschema_for::<Span>(), { "type": "string", "const": CYCLE }],
        })
    }
}
