//! Constraints between several values of a run.

use lrlab_config::{AverageEvery, AveragingConfig, EarlyStoppingConfig, OptimizerConfig, Source, Validation};
use lrlab_runs::EpochMetrics;
use lrlab_schedulers::Horizon;
use serde_json::Value as Json;

use crate::{DataSpec, LoneExample, ModelSpec, MonitorSpec, RunSpec};

/// A violated constraint: the path of the value to change, and the reason.
pub(crate) struct Disagreement {
    pub(crate) path: String,
    pub(crate) message: String,
    pub(crate) suggestion: Option<String>,
}

fn disagreement(path: &str, message: String) -> Disagreement {
    Disagreement { path: path.to_owned(), message, suggestion: None }
}

/// The last key of a path that is not a list index.
pub(crate) fn last_key(path: &str) -> &str {
    path.rsplit('.').find(|key| key.parse::<usize>().is_err()).unwrap_or_default()
}

/// The kind of examples of a network or data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Pictures,
    Text,
}

impl Kind {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Pictures => "pictures",
            Self::Text => "text",
        }
    }

    /// The kind of examples that a network reads; `None` for a custom network.
    pub(crate) fn read_by(model: &ModelSpec) -> Option<Self> {
        match model {
            ModelSpec::Resnet(_) | ModelSpec::Linear(_) => Some(Self::Pictures),
            ModelSpec::Lstm(_) | ModelSpec::Transformer(_) | ModelSpec::BagOfEmbeddings(_) => {
                Some(Self::Text)
            }
            ModelSpec::Custom(_) => None,
        }
    }

    /// The kind of examples of a data set; `None` for a custom data set.
    pub(crate) fn held_by(source: &Source) -> Option<Self> {
        match source {
            Source::Cifar10(_) | Source::SyntheticPictures(_) | Source::HubPictures(_) => {
                Some(Self::Pictures)
            }
            Source::Imdb(_) | Source::SyntheticReviews(_) | Source::HubTexts(_) => Some(Self::Text),
            Source::Custom(_) => None,
        }
    }
}

/// Every violated constraint within a run.
pub(crate) fn run(run: &RunSpec) -> Vec<Disagreement> {
    let mut found = model(&run.model);
    found.extend(reading(run));
    found.extend(data(&run.data));
    found.extend(lone_example(run));
    found.extend(rate(run));
    found.extend(run.monitor.iter().filter_map(monitor));
    found.extend(run.early_stopping.iter().filter_map(|rule| stopping(rule, run.epochs)));
    found.extend(averaging(run));
    if let OptimizerConfig::Sgd(sgd) = &run.optimizer
        && sgd.nesterov
        && sgd.momentum == 0.0
        && sgd.momentum_schedule.is_none()
    {
        let message = "Nesterov's momentum needs `momentum` above 0".to_owned();
        found.push(disagreement("optimizer.sgd.nesterov", message));
    }
    if let Some(ceiling) = run.lr_max
        && ceiling < run.lr_min
    {
        let message = format!("`lr_max` is {ceiling}, below `lr_min`, which is {}", run.lr_min);
        found.push(disagreement("lr_max", message));
    }
    found
}

/// The errors of schedules and controller, built for the run's length if the data set's size is known.
fn rate(run: &RunSpec) -> Vec<Disagreement> {
    let horizon = run.horizon();
    let schedule = match &horizon {
        Some(horizon) => run.schedule.build(horizon).map(drop),
        None => run.schedule.check(),
    };
    let controller = run.monitor.as_ref().map_or(Ok(()), |monitor| monitor.controller.check());
    let refused = |error: lrlab_schedulers::Error, root: &str| {
        let length = horizon.filter(|_| root != "monitor.controller").map(|horizon| {
            let Horizon { updates, updates_per_epoch } = horizon;
            let epochs = if run.epochs == 1 { "epoch" } else { "epochs" };
            format!("the run has {} {epochs} of {updates_per_epoch} updates, {updates} in all", run.epochs)
        });
        Disagreement {
            path: format!("{root}.{}", error.path),
            message: format!("`{}`: {}", last_key(&error.path), error.problem),
            suggestion: length,
        }
    };
    let schedule = schedule.err().map(|error| refused(error, "schedule"));
    let constants = match &horizon {
        Some(horizon) => run.optimizer.driver(horizon).map(drop),
        None => run
            .optimizer
            .scheduled()
            .iter()
            .try_for_each(|hyper| hyper.schedule.check().map_err(|error| error.under(hyper.key))),
    };
    let constants = constants.err().map(|error| refused(error, "optimizer"));
    let controller = controller.err().map(|error| refused(error, "monitor.controller"));
    schedule.into_iter().chain(constants).chain(controller).collect()
}

/// Constraints within a network.
pub(crate) fn model(model: &ModelSpec) -> Vec<Disagreement> {
    match model {
        ModelSpec::Resnet(spec) if !has_depth(spec.depth) => {
            let expected = "6n + 2 (8, 14, 20, 26, 32, 38, 44, 56, …) or 18, 34, 50";
            let message = format!("`depth` is {}: expected {expected}", spec.depth);
            vec![disagreement("model.resnet.depth", message)]
        }
        ModelSpec::Transformer(spec) if !spec.width.is_multiple_of(spec.heads.max(1)) => {
            let message = format!("{} heads do not divide a width of {}", spec.heads, spec.width);
            vec![disagreement("model.transformer.heads", message)]
        }
        _ => Vec::new(),
    }
}

/// Returns whether there is a residual network of this depth.
fn has_depth(depth: usize) -> bool {
    matches!(depth, 18 | 34 | 50) || (depth >= 8 && depth % 6 == 2)
}

/// The constraint between a network and its data.
fn reading(run: &RunSpec) -> Option<Disagreement> {
    let (reads, holds) = (Kind::read_by(&run.model)?, Kind::held_by(&run.data.source)?);
    let message = || format!("this network reads {}, but its data set holds {}", reads.word(), holds.word());
    (reads != holds).then(|| disagreement("model", message()))
}

/// Height and width of a data set's pictures; `None` for a custom data set.
fn side(source: &Source) -> Option<usize> {
    match source {
        Source::Cifar10(_) => Some(32),
        Source::SyntheticPictures(spec) => Some(spec.size),
        _ => None,
    }
}

/// A batch of one example that the network cannot learn from.
fn lone_example(run: &RunSpec) -> Option<Disagreement> {
    let found = run.lone_value(run.data.training_examples()?, side(&run.data.source)?)?;
    let LoneExample { message, suggestion } = found;
    Some(Disagreement { path: "batch_size".to_owned(), message, suggestion: Some(suggestion) })
}

/// Constraints within a data set.
pub(crate) fn data(data: &DataSpec) -> Vec<Disagreement> {
    let size = side(&data.source).unwrap_or(0);
    let mut found = Vec::new();
    if let Some(Validation::Examples(held_out)) = data.validation
        && let Some(rows) = data.source.rows()
        && held_out >= rows
    {
        let message = format!("{held_out} examples for validation leave none of {rows} for training");
        found.push(disagreement("data.validation", message));
    }
    if data.validates_on_test() && data.limit.validation.is_some() {
        let message = "`limit.validation` has no effect if `validation = \"test\"`".to_owned();
        found.push(Disagreement {
            suggestion: Some("use `limit.test`, because validation reads the test split".to_owned()),
            ..disagreement("data.limit.validation", message)
        });
    }
    if size > 0 && data.augment.crop_padding >= size {
        let message = format!(
            "a crop padding of {} can move a picture with a side of {size} out of the crop",
            data.augment.crop_padding
        );
        found.push(disagreement("data.augment.crop_padding", message));
    }
    if size > 0 && data.augment.cutout >= size {
        let message = format!("a cutout of {} can blank the whole picture of {size}", data.augment.cutout);
        found.push(disagreement("data.augment.cutout", message));
    }
    found
}

/// Checks the direction of a controller: with the wrong one it would cut the rate at every improvement.
pub(crate) fn monitor(monitor: &MonitorSpec) -> Option<Disagreement> {
    let higher = EpochMetrics::higher_is_better(&monitor.metric)?;
    let json = serde_json::to_value(&monitor.controller).ok()?;
    let mode = json.as_object()?.values().next()?.get("mode").and_then(Json::as_str)?;
    let right = if higher { "max" } else { "min" };
    let found = Disagreement {
        path: "monitor.metric".to_owned(),
        message: format!(
            "`{}` is better {}, but the controller has `mode = \"{mode}\"`",
            monitor.metric,
            if higher { "high" } else { "low" },
        ),
        suggestion: Some(format!("give the controller `mode = \"{right}\"`")),
    };
    (matches!(mode, "min" | "max") && mode != right).then_some(found)
}

fn stopping(rule: &EarlyStoppingConfig, epochs: u64) -> Option<Disagreement> {
    let message =
        || format!("early stopping counts from epoch {}, but the run has {epochs} epochs", rule.start_epoch);
    (rule.start_epoch > epochs).then(|| disagreement("early_stopping.start_epoch", message()))
}

/// Checks that an average samples the weights at least once; otherwise it would silently have no effect.
fn averaging(run: &RunSpec) -> Option<Disagreement> {
    let averaging = run.averaging.as_ref()?;
    let variant = match averaging {
        AveragingConfig::Ema(_) => "ema",
        AveragingConfig::Swa(_) => "swa",
        AveragingConfig::Lawa(_) => "lawa",
    };
    let (every, start) = averaging.times();
    let at = |key: &str| format!("averaging.{variant}.{key}");
    if every.is_zero() {
        return Some(disagreement(&at("every"), "`every` is 0: expected a length above 0".to_owned()));
    }
    let horizon = run.horizon()?;
    let (first, updates) = (start.resolve_updates(&horizon), horizon.updates);
    if first > updates {
        let message = format!("weights are averaged from update {first} on, but the run has {updates}");
        return Some(disagreement(&at("start"), message));
    }
    let AverageEvery::Length(length) = every else { return None };
    let message = || format!("no weights are averaged: every {length} from update {first} on, of {updates}");
    (!every.is_due_before_the_end(first, &horizon)).then(|| disagreement(&at("every"), message()))
}
