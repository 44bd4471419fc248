//! What watches a run and may act on it: monitor, early stopping, averages of the weights, the divergence guard.

use std::borrow::Cow;

use lrlab_schedulers::{ControllerSpec, Horizon, Span};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A controller and the metric it watches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MonitorSpec {
    /// What decides.
    pub controller: ControllerSpec,
    /// Default: `val_loss`.
    #[serde(default = "val_loss")]
    pub metric: String,
    /// What a warm restart of the schedule does to the controller's gain. Default: `keep`.
    #[serde(default)]
    pub at_restart: GainAtRestart,
}

/// What a warm restart of the schedule does to a controller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GainAtRestart {
    /// Its gain stays, on top of the schedule.
    #[default]
    Keep,
    /// It begins anew with gain 1.
    Reset,
}

/// When to stop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EarlyStoppingSpec {
    /// Default: `val_loss`.
    pub metric: String,
    /// Epochs without improvement before stopping.
    pub patience: u64,
    /// Smallest change that counts.
    pub min_delta: f64,
    /// First epoch that counts, from 1.
    pub start_epoch: u64,
    /// The best epoch's weights are the last ones: they are put back at the end, and evaluated.
    pub restore_best: bool,
    /// A value to beat within the patience: until then no improvement resets it.
    pub baseline: Option<f64>,
    /// What a warm restart of the schedule does. Default: `ignore`.
    pub at_restart: PatienceAtRestart,
}
impl Default for EarlyStoppingSpec {
    fn default() -> Self {
        Self {
            metric: val_loss(),
            patience: 3,
            min_delta: 0.0,
            start_epoch: 1,
            restore_best: false,
            baseline: None,
            at_restart: PatienceAtRestart::default(),
        }
    }
}

/// What a warm restart of the schedule does to the patience: the loss rises there by design.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PatienceAtRestart {
    /// Nothing.
    #[default]
    Ignore,
    /// Patience and best value begin anew in each cycle.
    BeginAnew,
    /// Patience counts cycles: a cycle is bad if its best epoch does not beat all earlier cycles.
    CountCycles,
}

/// An average of the weights along the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AveragingSpec {
    /// Exponential moving average (Polyak and Juditsky, 1992, with forgetting).
    Ema(EmaSpec),
    /// Stochastic weight averaging (Izmailov et al., UAI 2018): the mean of all that it takes in.
    Swa(SwaSpec),
    /// Latest weight averaging (Kaddour, 2022): the mean of the last `k` that it takes in.
    Lawa(LawaSpec),
}

/// `ema = { decay = 0.999 }`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EmaSpec {
    /// average ← decay · average + (1 − decay) · weights; 0 … 1.
    pub decay: f64,
    /// When it takes in the weights. Default: `"1 update"`.
    pub every: AverageEvery,
    /// From when on. Default: `"0 updates"`.
    pub start: Span,
}
impl Default for EmaSpec {
    fn default() -> Self {
        Self { decay: 0.999, every: AverageEvery::Length(Span::Updates(1)), start: Span::Updates(0) }
    }
}

/// `swa = { start = "75%" }`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SwaSpec {
    /// From when on. Default: `"75%"`.
    pub start: Span,
    /// When it takes in the weights. Default: `"1 epoch"`.
    pub every: AverageEvery,
}
impl Default for SwaSpec {
    fn default() -> Self {
        Self { start: Span::Fraction(0.75), every: AverageEvery::Length(Span::Epochs(1.0)) }
    }
}

/// `lawa = { k = 5 }`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LawaSpec {
    /// How many weights the mean is of.
    pub k: usize,
    /// When it takes in the weights. Default: `"1 epoch"`.
    pub every: AverageEvery,
    /// From when on. Default: `"0 updates"`.
    pub start: Span,
}
impl Default for LawaSpec {
    fn default() -> Self {
        Self { k: 5, every: AverageEvery::Length(Span::Epochs(1.0)), start: Span::Updates(0) }
    }
}

impl AveragingSpec {
    /// When it takes in the weights, and from when on.
    #[must_use]
    pub fn times(&self) -> (AverageEvery, Span) {
        match self {
            Self::Ema(ema) => (ema.every, ema.start),
            Self::Swa(swa) => (swa.every, swa.start),
            Self::Lawa(lawa) => (lawa.every, lawa.start),
        }
    }
}

/// When an average takes in the weights: `"1 epoch"`, `"10 updates"`, `"cycle"`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AverageEvery {
    /// At the end of each cycle of the schedule, before its warm restart, and at the run's end.
    Cycle(Cycle),
    /// After each so long. Whole epochs are counted from the run's begin, updates from the first that counts.
    Length(Span),
}

impl AverageEvery {
    /// Whether it comes from update `first` on before a run of this length is over, its end included.
    pub(crate) fn is_due_before_the_end(self, first: u64, run: &Horizon) -> bool {
        match self {
            Self::Cycle(_) => true,
            Self::Length(Span::Epochs(n)) if n.fract() == 0.0 => {
                let (n, per_epoch) = (n as u64, run.updates_per_epoch.max(1));
                let last = (run.updates / per_epoch) / n.max(1) * n * per_epoch;
                last > 0 && last >= first
            }
            Self::Length(length) if first == 0 => length.resolve_updates(run) <= run.updates,
            Self::Length(_) => first <= run.updates,
        }
    }
}

/// The word `cycle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cycle {
    /// Of the schedule.
    Cycle,
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
            "anyOf": [generator.subschema_for::<Span>(), { "type": "string", "const": "cycle" }],
        })
    }
}

/// What counts as divergence, and what is done about it. A loss that is no number counts anyway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DivergenceSpec {
    /// A loss above this multiple of the first update's explodes, above 1; without it only NaN and infinity count.
    pub explosion: Option<f64>,
    /// Exploding updates in a row that are divergence.
    pub patience: u64,
    /// Default: `diverge`.
    pub action: OnDivergence,
}
impl Default for DivergenceSpec {
    fn default() -> Self {
        Self { explosion: None, patience: 1, action: OnDivergence::Diverge }
    }
}

/// What is done about divergence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OnDivergence {
    /// The run ends as diverged.
    Diverge,
    /// The run ends as stopped.
    Stop,
    /// Weights and optimizer go back to the end of the last sane epoch, and the rate is cut; a validation loss that is no
    /// number counts too, but at the end of the run.
    Rewind(RewindSpec),
    /// The rate is cut. NaN and infinity end the run as diverged: no rate brings such weights back.
    Cut(CutSpec),
}

/// `rewind = { factor = 0.5, limit = 3 }`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RewindSpec {
    /// What the gain is multiplied by.
    pub factor: f64,
    /// How often; then the run ends as diverged.
    pub limit: u64,
}
impl Default for RewindSpec {
    fn default() -> Self {
        Self { factor: 0.5, limit: 3 }
    }
}

/// `cut = { factor = 0.5, limit = 3 }`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CutSpec {
    /// What the gain is multiplied by.
    pub factor: f64,
    /// How often; then the run ends as diverged.
    pub limit: u64,
}
impl Default for CutSpec {
    fn default() -> Self {
        Self { factor: 0.5, limit: 3 }
    }
}

fn val_loss() -> String {
    "val_loss".to_owned()
}
