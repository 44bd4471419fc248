//! The arms of a grid: everything but the seed is equal within one.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use lrlab_runs::{Cell, Outcome, PlannedRun, RunId, RunResult, RunStore};
use serde_json::Value;

use crate::stats::{Summary, summary};
use crate::store::{self, State};
use crate::{Error, Metric, label};

/// One planned run.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its identity.
    pub id: RunId,
    /// Whether the identity is the run's own: without the digest of its data, which is part of it, it only tells the run from
    /// the others of the report.
    pub identified: bool,
    /// Its place in the grid.
    pub cell: Cell,
    /// Its seed, by which runs of two arms are paired.
    pub seed: String,
    /// Its specification, as the plan has it, without the seed: the runs of an arm share it.
    pub spec: Arc<Value>,
    /// What is known of it.
    pub state: State,
}

impl Run {
    /// The result, where the run is done.
    #[must_use]
    pub fn result(&self) -> Option<&RunResult> {
        match &self.state {
            State::Done { result, .. } => Some(result),
            State::Failed { .. } | State::Missing => None,
        }
    }

    /// A figure of the run; `None` where it was not measured or is not finite, and of a run that diverged: what such a
    /// run measured on its way is not what a run of this length comes to.
    #[must_use]
    pub fn figure(&self, metric: Metric) -> Option<f64> {
        self.result().filter(|_| !self.diverged()).and_then(|result| metric.of(result))
    }

    /// Whether the run is done and its loss left the finite numbers.
    #[must_use]
    pub fn diverged(&self) -> bool {
        self.result().is_some_and(|r| r.outcome == Outcome::Diverged)
    }

    /// One word for a table: the outcome, `failed`, or `missing`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match &self.state {
            State::Done { result, .. } => match result.outcome {
                Outcome::Completed => "completed",
                Outcome::Stopped => "stopped",
                Outcome::Diverged => "diverged",
                Outcome::Pruned => "pruned",
            },
            State::Failed { .. } => "failed",
            State::Missing => "missing",
        }
    }
}

/// The runs of a plan that differ in nothing but the seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Arm {
    /// The coordinates, without the seed.
    pub cell: Cell,
    /// Planned runs, in the plan's order.
    pub runs: Vec<Run>,
    /// Whether the schedule is a fixed rate.
    pub fixed_rate: bool,
    /// Whether something changes the rate by a metric while training.
    pub monitored: bool,
}

/// Mean and spread of a figure over the runs of an arm that have it, and how many should have. A run that diverged has
/// none (see [`Run::figure`]).
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// Over the runs that have the figure; `None` where there is none.
    pub summary: Option<Summary>,
    /// Runs the plan asks for.
    pub planned: usize,
}

impl Estimate {
    /// Runs that have the figure.
    #[must_use]
    pub fn n(&self) -> usize {
        self.summary.map_or(0, |s| s.n)
    }

    /// Whether every planned run has the figure.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.n() == self.planned
    }
}

impl Arm {
    /// One coordinate for readers, `–` where the arm does not have the axis.
    #[must_use]
    pub fn label(&self, axis: &str) -> String {
        label::coordinate(&self.cell, axis).unwrap_or_else(|| "–".to_owned())
    }

    /// The results that are there, in the plan's order.
    pub fn results(&self) -> impl Iterator<Item = &RunResult> {
        self.runs.iter().filter_map(Run::result)
    }

    /// Seed and figure of every run that has the figure.
    #[must_use]
    pub fn values(&self, metric: Metric) -> Vec<(&str, f64)> {
        self.runs.iter().filter_map(|run| Some((run.seed.as_str(), run.figure(metric)?))).collect()
    }

    /// Mean and spread of a figure over the runs.
    #[must_use]
    pub fn estimate(&self, metric: Metric) -> Estimate {
        let values: Vec<f64> = self.values(metric).into_iter().map(|(_, x)| x).collect();
        Estimate { summary: summary(&values), planned: self.runs.len() }
    }

    /// The runs that a mean over the arm is made of: done, and not diverged.
    pub fn counted(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(|run| run.result().is_some() && !run.diverged())
    }

    /// Runs that are done.
    #[must_use]
    pub fn done(&self) -> usize {
        self.results().count()
    }

    /// Runs that diverged.
    #[must_use]
    pub fn diverged(&self) -> usize {
        self.runs.iter().filter(|run| run.diverged()).count()
    }

    /// Whether two arms have equal coordinates on every axis but those named.
    #[must_use]
    pub fn agrees(&self, other: &Self, except: &[&str]) -> bool {
        let kept = |cell: &Cell| -> Cell {
            cell.iter()
                .filter(|(k, _)| !except.contains(&k.as_str()))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect()
        };
        kept(&self.cell) == kept(&other.cell)
    }
}

/// Arms of one model, data set and budget: the indices of each such block.
pub(crate) fn blocks(arms: &[Arm]) -> Vec<Vec<usize>> {
    let axes = arms.iter().flat_map(|arm| arm.cell.keys()).map(String::as_str);
    let settings: BTreeSet<&str> = axes.filter(|axis| !label::CONDITIONS.contains(axis)).collect();
    grouped(arms, &settings.into_iter().collect::<Vec<_>>())
}

/// Indices of the arms that agree on every axis but those named, in their order.
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

/// Equal for cells that agree on every axis but those named.
fn key(cell: &Cell, except: &[&str]) -> String {
    let kept = cell.iter().filter(|(axis, _)| !except.contains(&axis.as_str()));
    kept.map(|(axis, value)| (axis.clone(), value.clone())).collect::<Value>().to_string()
}

/// Groups the planned runs into arms; the arms are ordered by their coordinates in reading order, each axis in the
/// order in which the plan first names its values. What is undecided has no result.
pub(crate) fn arms(
    planned: &[PlannedRun],
    store: &RunStore,
    axes: &[String],
    undecided: &BTreeSet<RunId>,
) -> Result<Vec<Arm>, Error> {
    let mut arms: Vec<Arm> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for planned in planned {
        let state =
            if undecided.contains(&planned.run_id) { State::Missing } else { store::state(store, planned)? };
        let mut cell = planned.cell.clone();
        let seed = cell.remove(label::SEED).or_else(|| planned.spec.get(label::SEED).cloned());
        let (fixed_rate, monitored) = (fixed_rate(&cell, planned), monitored(&cell, planned));
        let arm = *known.entry(key(&cell, &[])).or_insert_with(|| {
            arms.push(Arm { fixed_rate, monitored, cell, runs: Vec::new() });
            arms.len() - 1
        });
        let runs = &mut arms[arm].runs;
        let shared = runs.last().filter(|run| but_seed(&run.spec).eq(but_seed(&planned.spec)));
        let spec = shared.map_or_else(|| Arc::new(seedless(&planned.spec)), |run| Arc::clone(&run.spec));
        runs.push(Run {
            id: planned.run_id.clone(),
            identified: !planned.dataset_digest.is_empty(),
            cell: planned.cell.clone(),
            seed: seed.as_ref().map_or_else(|| "–".to_owned(), label::value),
            spec,
            state,
        });
    }
    // Values by the order in which the plan first names them.
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
    Ok(order.into_iter().map(|(_, arm)| arm).collect())
}

/// The keys and values of a specification without its seed.
fn but_seed(spec: &Value) -> impl Iterator<Item = (&String, &Value)> {
    spec.as_object().into_iter().flatten().filter(|(key, _)| *key != label::SEED)
}

fn seedless(spec: &Value) -> Value {
    but_seed(spec).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The specification decides; the coordinate's name is for plans without one.
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
