//! The arms of a grid: sets of runs that differ only in the seed.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use lrlab_runs::{Cell, Outcome, PlannedRun, RunId, RunResult, RunStore};
use serde_json::Value;

use crate::metric::Split;
use crate::stats::{Summary, summary};
use crate::store::{self, State};
use crate::{Metric, label};

/// One planned run.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The run id.
    pub id: RunId,
    /// Whether `id` is the final run id. The id includes the digest of the data; without the data, the id is only unique
    /// within the report.
    pub identified: bool,
    /// The run's coordinates in the grid.
    pub cell: Cell,
    /// The seed, by which runs of two arms are paired.
    pub seed: String,
    /// The specification from the plan without the seed, shared by the runs of an arm.
    pub spec: Arc<Value>,
    /// The run's state in the store.
    pub state: State,
}

impl Run {
    /// The result; `None` if the run is not done.
    #[must_use]
    pub fn result(&self) -> Option<&RunResult> {
        match &self.state {
            State::Done { result, .. } => Some(result),
            State::Failed { .. } | State::Damaged { .. } | State::Missing => None,
        }
    }

    /// The value of a metric; `None` if it was not measured or is not finite, or if the run diverged: metrics of a
    /// diverged run do not describe a run of the planned length.
    #[must_use]
    pub fn figure(&self, metric: Metric) -> Option<f64> {
        self.result().filter(|_| !self.diverged()).and_then(|result| metric.of(result))
    }

    /// Returns whether the run ended because it diverged.
    #[must_use]
    pub fn diverged(&self) -> bool {
        self.result().is_some_and(|r| r.outcome == Outcome::Diverged)
    }

    /// The state in one word, for tables: the outcome, `failed`, `damaged` or `missing`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        self.state.word()
    }
}

/// The runs of a plan that differ only in the seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Arm {
    /// The coordinates, without the seed.
    pub cell: Cell,
    /// Planned runs, in the plan's order.
    pub runs: Vec<Run>,
    /// Whether the schedule is a fixed rate.
    pub fixed_rate: bool,
    /// Whether a monitor changes the learning rate during training.
    pub monitored: bool,
}

/// Mean and standard deviation of a metric over the runs of an arm, and the number of planned runs. Diverged runs are
/// excluded (see [`Run::figure`]).
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// The summary over the runs that have the metric; `None` if no run has it.
    pub summary: Option<Summary>,
    /// The number of planned runs.
    pub planned: usize,
}

impl Estimate {
    /// The number of runs that have the metric.
    #[must_use]
    pub fn n(&self) -> usize {
        self.summary.map_or(0, |s| s.n)
    }

    /// Returns whether every planned run has the metric.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.n() == self.planned
    }
}

impl Arm {
    /// The coordinate on an axis in display form; `–` if the arm does not have the axis.
    #[must_use]
    pub fn label(&self, axis: &str) -> String {
        label::coordinate(&self.cell, axis).unwrap_or_else(|| "–".to_owned())
    }

    /// The results of the finished runs, in the plan's order.
    pub fn results(&self) -> impl Iterator<Item = &RunResult> {
        self.runs.iter().filter_map(Run::result)
    }

    /// Seed and value of every run that has the metric.
    #[must_use]
    pub fn values(&self, metric: Metric) -> Vec<(&str, f64)> {
        self.runs.iter().filter_map(|run| Some((run.seed.as_str(), run.figure(metric)?))).collect()
    }

    /// Mean and standard deviation of a metric over the runs.
    #[must_use]
    pub fn estimate(&self, metric: Metric) -> Estimate {
        let values: Vec<f64> = self.values(metric).into_iter().map(|(_, x)| x).collect();
        Estimate { summary: summary(&values), planned: self.runs.len() }
    }

    /// The runs that enter means over the arm: finished and not diverged.
    pub fn counted(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(|run| run.result().is_some() && !run.diverged())
    }

    /// The number of finished runs.
    #[must_use]
    pub fn done(&self) -> usize {
        self.results().count()
    }

    /// The number of diverged runs.
    #[must_use]
    pub fn diverged(&self) -> usize {
        self.runs.iter().filter(|run| run.diverged()).count()
    }

    /// The specification of the first run.
    fn spec(&self) -> Option<&Value> {
        self.runs.first().map(|run| &*run.spec)
    }

    /// Returns whether the runs validate on the test split.
    pub(crate) fn leaks(&self) -> bool {
        self.spec().is_some_and(leaks)
    }

    /// Returns whether a validation or test metric is measured on the same examples in both arms; `true` for other metrics.
    pub(crate) fn shares_examples(&self, other: &Self, metric: Metric) -> bool {
        let [ours, theirs] = [self, other].map(|arm| arm.spec().and_then(|spec| spec.get("data")));
        let Some(split) = metric.split().filter(|_| ours != theirs) else { return true };
        let (Some(ours), Some(theirs)) = (ours, theirs) else { return false };
        let same = |keys: &[&str]| keys.iter().all(|key| ours.pointer(key) == theirs.pointer(key));
        let same_split = match split {
            Split::Validation if !(self.leaks() && other.leaks()) => {
                same(&["/validation", "/split_seed", "/limit/validation"])
            }
            // Only a limit makes a selection, by `split_seed`.
            Split::Test | Split::Validation => {
                let whole = ours.pointer("/limit/test").is_none_or(Value::is_null);
                same(&["/limit/test"]) && (whole || same(&["/split_seed"]))
            }
        };
        same_split && source(ours) == source(theirs)
    }

    /// The ids of the runs that have a metric.
    pub(crate) fn measured(&self, metric: Metric) -> impl Iterator<Item = RunId> {
        self.runs.iter().filter(move |run| run.figure(metric).is_some()).map(|run| run.id.clone())
    }

    /// Returns whether every run diverged.
    pub(crate) fn all_diverged(&self) -> bool {
        !self.runs.is_empty() && self.diverged() == self.runs.len()
    }

    /// Returns whether two arms have equal coordinates on every axis except those in `except`.
    #[must_use]
    pub fn agrees(&self, other: &Self, except: &[&str]) -> bool {
        let kept = |(axis, _): &(&String, &Value)| !except.contains(&axis.as_str());
        self.cell.iter().filter(kept).eq(other.cell.iter().filter(kept))
    }
}

/// The ids of the runs of two arms that have a metric and a partner of equal seed in the other arm.
pub(crate) fn paired(arm: &Arm, other: &Arm, metric: Metric) -> impl Iterator<Item = RunId> {
    let half = move |arm: &Arm, other: &Arm| {
        let seeds: HashSet<&str> = other.values(metric).into_iter().map(|(seed, _)| seed).collect();
        let runs = arm.runs.iter().filter(|run| run.figure(metric).is_some());
        runs.filter(|run| seeds.contains(run.seed.as_str())).map(|run| run.id.clone()).collect::<Vec<_>>()
    };
    half(arm, other).into_iter().chain(half(other, arm))
}

/// Groups of arms with equal model, data set and budget, as indices into `arms`.
pub(crate) fn blocks(arms: &[Arm]) -> Vec<Vec<usize>> {
    let axes = arms.iter().flat_map(|arm| arm.cell.keys()).map(String::as_str);
    let settings: BTreeSet<&str> = axes.filter(|axis| !label::CONDITIONS.contains(axis)).collect();
    grouped(arms, &settings.into_iter().collect::<Vec<_>>())
}

/// Groups of arms that agree on every axis except those in `except`, as indices into `arms`, in order.
pub(crate) fn grouped(arms: &[Arm], except: &[&str]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for (i, arm) in arms.iter().enumerate() {
        let group = *known.entry(key(&arm.cell, except)).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[group].push(i);
    }
    groups
}

/// A key that is equal for cells that agree on every axis except those in `except`.
pub(crate) fn key(cell: &Cell, except: &[&str]) -> String {
    let kept = cell.iter().filter(|(axis, _)| !except.contains(&axis.as_str()));
    kept.map(|(axis, value)| (axis.clone(), value.clone())).collect::<Value>().to_string()
}

/// Groups the planned runs into arms. The arms are sorted by their coordinates, axis by axis, each axis in the order in
/// which the plan first names its values. Runs in `undecided` count as missing.
pub(crate) fn arms(
    planned: &[PlannedRun],
    store: &RunStore,
    axes: &[String],
    undecided: &BTreeSet<RunId>,
) -> Vec<Arm> {
    let mut arms: Vec<Arm> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for planned in planned {
        let state =
            if undecided.contains(&planned.run_id) { State::Missing } else { store::state(store, planned) };
        let mut cell = planned.cell.clone();
        let seed = cell.remove(label::SEED).or_else(|| planned.spec.get(label::SEED).cloned());
        let (fixed_rate, monitored) = (fixed_rate(&cell, planned), monitored(&cell, planned));
        let arm = *known.entry(key(&cell, &[])).or_insert_with(|| {
            arms.push(Arm { fixed_rate, monitored, cell, runs: Vec::new() });
            arms.len() - 1
        });
        let runs = &mut arms[arm].runs;
        let shared =
            runs.last().filter(|run| entries_without_seed(&run.spec).eq(entries_without_seed(&planned.spec)));
        let spec = shared.map_or_else(|| Arc::new(without_seed(&planned.spec)), |run| Arc::clone(&run.spec));
        runs.push(Run {
            id: planned.run_id.clone(),
            identified: !planned.dataset_digest.is_empty(),
            cell: planned.cell.clone(),
            seed: seed.as_ref().map_or_else(|| "–".to_owned(), label::value),
            spec,
            state,
        });
    }
    // Ranks values by their first appearance in the plan.
    let mut keys: Vec<Vec<usize>> = vec![Vec::new(); arms.len()];
    for axis in axes {
        let mut ranks: HashMap<Option<String>, usize> = HashMap::new();
        for (i, arm) in arms.iter().enumerate() {
            let value = arm.cell.get(axis).map(Value::to_string);
            keys[i].push(*ranks.entry(value).or_insert(i));
        }
    }
    let mut order: Vec<(Vec<usize>, Arm)> = keys.into_iter().zip(arms).collect();
    order.sort_by(|a, b| a.0.cmp(&b.0));
    order.into_iter().map(|(_, arm)| arm).collect()
}

/// The source of the examples in the settings of a data set, without the place of its files.
fn source(data: &Value) -> Option<Value> {
    let mut source = data.get("source")?.clone();
    for options in source.as_object_mut().into_iter().flat_map(serde_json::Map::values_mut) {
        if let Some(options) = options.as_object_mut() {
            options.remove("folder");
        }
    }
    Some(source)
}

/// Returns whether a run with this specification validates on the test split.
pub(crate) fn leaks(spec: &Value) -> bool {
    spec.pointer("/data/validation").is_some_and(|validation| validation == "test")
}

/// The keys and values of a specification without its seed.
fn entries_without_seed(spec: &Value) -> impl Iterator<Item = (&String, &Value)> {
    spec.as_object().into_iter().flatten().filter(|(key, _)| *key != label::SEED)
}

fn without_seed(spec: &Value) -> Value {
    entries_without_seed(spec).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Returns whether the schedule is static, by the specification, or by the coordinate if the plan has no specification.
fn fixed_rate(cell: &Cell, planned: &PlannedRun) -> bool {
    match planned.spec.get(label::SCHEDULE) {
        Some(Value::Object(map)) => map.len() == 1 && map.contains_key("static"),
        Some(Value::String(name)) => name == "static",
        _ => label::coordinate(cell, label::SCHEDULE).is_some_and(|name| name == "static"),
    }
}

fn monitored(cell: &Cell, planned: &PlannedRun) -> bool {
    match planned.spec.get(label::MONITOR) {
        Some(spec) => !spec.is_null(),
        None => label::coordinate(cell, label::MONITOR).is_some_and(|name| !label::is_off(&name)),
    }
}
