//! Keys without effect in a run because of its other keys.
//!
//! An axis over such a key would train the same run several times, and a search over it would select an unused value.

use std::collections::{BTreeMap, BTreeSet};

use lrlab_config::{OptimizerConfig, ScheduledHyper, Source};
use lrlab_runs::RunId;
use lrlab_schedulers::{Hyper, MarkKind, ScheduleSpec};
use lrlab_search::TRIAL;
use serde_json::Value as Json;

use crate::RunSpec;
use crate::coordinate::{NAMED, Point, chosen, label};
use crate::coupled::Kind;
use crate::mistake::Log;
use crate::resolve::Resolved;
use crate::tree::{Node, Place};

/// A key without effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Idle {
    /// The path, including everything below it.
    pub(crate) path: String,
    /// Why it has no effect.
    pub(crate) why: String,
}

impl Idle {
    fn new(path: impl Into<String>, why: impl Into<String>) -> Self {
        Self { path: path.into(), why: why.into() }
    }

    /// Returns whether it includes `key`.
    pub(crate) fn covers(&self, key: &str) -> bool {
        key.strip_prefix(self.path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// Every key without effect in `run`.
pub(crate) fn of_run(run: &RunSpec) -> Vec<Idle> {
    let mut found = of_schedule(&run.schedule);
    found.extend(of_source(&run.data.source));
    found.extend(of_limits(run));
    let (name, decay) = match &run.optimizer {
        OptimizerConfig::Sgd(sgd) => ("sgd", sgd.weight_decay),
        OptimizerConfig::Adam(adam) => ("adam", adam.weight_decay),
        OptimizerConfig::AdamW(adam) => ("adamw", adam.weight_decay),
    };
    let mut decays = decay != 0.0;
    for ScheduledHyper { hyper, key, schedule, .. } in run.optimizer.scheduled() {
        // It may rise from 0.
        decays |= hyper == Hyper::WeightDecay;
        if !schedule.reads_base() {
            let why = format!("`{key}` is `{}`, which sets the values itself", schedule.name());
            found.push(Idle::new(format!("optimizer.{}", key.trim_end_matches("_schedule")), why));
        }
    }
    if !decays {
        found.push(Idle::new(format!("optimizer.{name}.decay_all"), "`weight_decay` is 0"));
    }
    if run.monitor.is_some() && restarts(run) == Some(false) {
        found.push(Idle::new("monitor.at_restart", "the schedule has no restart within the run"));
    }
    found
}

/// The keys without effect that follow from the named parts of a point alone.
pub(crate) fn of_parts(tree: &Node) -> Vec<Idle> {
    let part = |path: &str| tree.at(path).map(Node::json).unwrap_or_default();
    let schedule = serde_json::from_value::<ScheduleSpec>(part("schedule"));
    let source = serde_json::from_value::<Source>(part("data.source"));
    let of_schedule = schedule.iter().flat_map(of_schedule);
    of_schedule.chain(source.iter().filter_map(of_source)).collect()
}

fn of_schedule(schedule: &ScheduleSpec) -> Vec<Idle> {
    let mut found = Vec::new();
    if !schedule.reads_base() {
        let why = format!("the schedule's `{}` sets the rates itself", schedule.name());
        found.push(Idle::new("lr", why));
    }
    if let ScheduleSpec::Cyclic(cyclic) = schedule
        && cyclic.mode != lrlab_schedulers::CyclicMode::ExpRange
    {
        found.push(Idle::new("schedule.cyclic.gamma", "`mode` is not \"exp_range\""));
    }
    found
}

fn of_source(source: &Source) -> Option<Idle> {
    let kind = Kind::held_by(source)?;
    let path = match kind {
        Kind::Pictures => "data.tokens",
        Kind::Text => "data.augment",
    };
    Some(Idle::new(path, format!("the data set holds {}", kind.word())))
}

fn of_limits(run: &RunSpec) -> Vec<Idle> {
    let limits = run.data.limits_without_effect().into_iter();
    limits.map(|(path, examples)| Idle::new(path, format!("the split has {examples} examples"))).collect()
}

/// Returns whether the schedule restarts within the run; `None` if the run's length is unknown.
fn restarts(run: &RunSpec) -> Option<bool> {
    let horizon = run.horizon()?;
    let marks = run.schedule.build(&horizon).ok()?.marks();
    Some(
        marks
            .iter()
            .any(|mark| mark.kind == MarkKind::Restart && (1..horizon.updates).contains(&mark.update)),
    )
}

/// Logs axes, arguments and definitions that give the same run several times because they set keys without effect.
pub(crate) fn check(
    log: &mut Log,
    points: &[Point],
    cells: &[Resolved],
    given: &BTreeMap<Place, BTreeSet<String>>,
) {
    let idle: Vec<Vec<Idle>> = cells.iter().map(|resolved| of_run(&resolved.spec)).collect();
    let before = log.finish().len();
    axes(log, points, &idle);
    arguments(log, &idle, given);
    if log.finish().len() == before {
        doubles(log, points, cells, &idle);
    }
}

/// An axis without effect: its key, the reason, and its values.
struct Nothing<'a> {
    place: Place,
    why: &'a str,
    values: BTreeSet<String>,
}

/// Logs axes of several values that have no effect for some model, schedule and monitor.
fn axes(log: &mut Log, points: &[Point], idle: &[Vec<Idle>]) {
    let mut found: BTreeMap<(String, String), Nothing<'_>> = BTreeMap::new();
    for (point, idle) in points.iter().zip(idle) {
        // Keys of trials are checked when the trials are made.
        let trial = point.iter().position(|entry| entry.0.name == TRIAL).unwrap_or(point.len());
        let parts = NAMED[..3].iter().filter_map(|axis| chosen(point, axis).and_then(Node::text));
        let parts = parts.collect::<Vec<_>>().join(" / ");
        for entry in &point[..trial] {
            let (key, value) = &**entry;
            let Some(Idle { why, .. }) = idle.iter().find(|idle| idle.covers(&key.name)) else { continue };
            let group = (key.name.clone(), parts.clone());
            let nothing = Nothing { place: key.place, why, values: BTreeSet::new() };
            found.entry(group).or_insert(nothing).values.insert(label(&value.json()));
        }
    }
    for ((key, parts), Nothing { place, why, values }) in found {
        if values.len() > 1 && !log.has_error_at(place) {
            let values = values.into_iter().collect::<Vec<_>>().join(", ");
            let message =
                format!("`{key}` has no effect for `{parts}`: {why}, so {values} give the same runs");
            log.error(place, message, remedy(&key));
        }
    }
}

fn remedy(key: &str) -> String {
    let instead = if key == "lr" { "vary a rate of the schedule instead" } else { "remove the axis" };
    format!("{instead}, or exclude all but one of these values where they have no effect, with [[exclude]]")
}

/// Logs arguments that set keys without effect in any run.
fn arguments(log: &mut Log, idle: &[Vec<Idle>], given: &BTreeMap<Place, BTreeSet<String>>) {
    for (place, paths) in given {
        // A limit is an upper bound, which may exceed the number of examples.
        for path in paths.iter().filter(|path| !path.starts_with("data.limit")) {
            let whys: Option<Vec<&str>> = idle
                .iter()
                .map(|idle| idle.iter().find(|idle| idle.covers(path)).map(|idle| idle.why.as_str()))
                .collect();
            if let Some(why) = whys.and_then(|whys| whys.first().copied()) {
                log.error(*place, format!("`{path}` has no effect: {why}"), None);
            }
        }
    }
}

/// Logs cells that differ only in keys without effect.
fn doubles(log: &mut Log, points: &[Point], cells: &[Resolved], idle: &[Vec<Idle>]) {
    let mut seen: BTreeMap<RunId, usize> = BTreeMap::new();
    for (index, (resolved, idle)) in cells.iter().zip(idle).enumerate() {
        if chosen(&points[index], TRIAL).is_some() {
            return;
        }
        let Some(earlier) = seen.insert(effective(&resolved.spec, idle), index) else { continue };
        let differing = points[index].iter().zip(&points[earlier]).find(|(a, b)| a.1.json() != b.1.json());
        let Some((ours, theirs)) = differing.filter(|(ours, _)| !log.has_error_at(ours.1.place)) else {
            continue;
        };
        let (a, b) = (label(&theirs.1.json()), label(&ours.1.json()));
        let nothing: Vec<String> =
            idle.iter().map(|idle| format!("`{}` ({})", idle.path, idle.why)).collect();
        let hint = format!("they differ only in keys without effect: {}", nothing.join(", "));
        log.error(ours.1.place, format!("`{a}` and `{b}` along `{}` give the same runs", ours.0.name), hint);
    }
}

/// A hash of all keys with an effect.
fn effective(run: &RunSpec, idle: &[Idle]) -> RunId {
    let mut json = serde_json::to_value(run).unwrap_or_default();
    for idle in idle {
        if let Some(slot) = json.pointer_mut(&format!("/{}", idle.path.replace('.', "/"))) {
            *slot = Json::Null;
        }
    }
    RunId::of(&json.to_string(), "effect")
}
