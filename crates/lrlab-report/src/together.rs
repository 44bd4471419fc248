//! Reports of several experiments: a combined plan of all runs, with the experiment as an axis.

use std::collections::BTreeMap;

use lrlab_runs::{Cell, Plan, RunStore};
use serde_json::Value;

use crate::{Error, Metric, Report, label, report};

/// As [`summarise`](crate::summarise), for several experiments in one store. The experiment is the first axis of the grid,
/// with the first experiment as its baseline. A claim covers only the arms of its own experiment.
///
/// # Errors
/// As [`summarise`](crate::summarise). Returns [`Error::Together`] if two experiments have the same name, an experiment has
/// an axis `experiment` or a search, or two experiments name different baselines along one axis.
pub fn summarise_together(plans: &[Plan], store: &RunStore) -> Result<Report, Error> {
    let mut report = report::summarise(&together(plans)?, store)?;
    report.calls =
        plans.iter().filter_map(|plan| Some((plan.experiment.clone(), plan.call.clone()?))).collect();
    Ok(report)
}

fn together(plans: &[Plan]) -> Result<Plan, Error> {
    let invalid = |message: String| Err(Error::Together(message));
    let name = |plan: &Plan| plan.experiment.clone();
    let described = plans.iter().filter(|plan| !plan.description.is_empty());
    let mut out = Plan {
        experiment: plans.iter().map(name).collect::<Vec<_>>().join("+"),
        description: described
            .map(|plan| format!("{}: {}", plan.experiment, plan.description))
            .collect::<Vec<_>>()
            .join(" "),
        paper: plans.iter().any(|plan| plan.paper),
        metrics: leading(plans),
        ..Plan::default()
    };
    let (mut claims, mut of) = (Vec::new(), BTreeMap::new());
    for (i, plan) in plans.iter().enumerate() {
        let name = &plan.experiment;
        if plans[..i].iter().any(|other| other.experiment == *name) {
            return invalid(format!("two experiments are named {name:?}: expected different names"));
        }
        if plan.search.is_some() {
            return invalid(format!("{name} has a search: report it separately"));
        }
        if plan.runs.iter().any(|run| run.cell.contains_key(label::EXPERIMENT)) {
            return invalid(format!(
                "{name} has an axis `experiment`, a name that is reserved in reports of several experiments"
            ));
        }
        for run in &plan.runs {
            let mut run = run.clone();
            run.cell.insert(label::EXPERIMENT.to_owned(), name.as_str().into());
            out.runs.push(run);
        }
        for (axis, value) in &plan.baseline {
            let (other, known) = of.entry(axis).or_insert((name, value));
            if *known != value {
                return invalid(format!(
                    "the baseline of {axis} is {} in {other} and {} in {name}: expected equal baselines",
                    label::value(known),
                    label::value(value)
                ));
            }
            out.baseline.insert(axis.clone(), value.clone());
        }
        claims.extend(plan.claims.as_array().into_iter().flatten().map(|claim| own(claim, name)));
    }
    out.claims = Value::Array(claims);
    Ok(out)
}

/// The leading metrics of every experiment, each once, in the order of the first place. Experiments that name none have the
/// default ones; if no experiment names any, the list is empty, which stands for them.
fn leading(plans: &[Plan]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    if plans.iter().all(|plan| plan.metrics.is_empty()) {
        return out;
    }
    let default = Metric::LEADING.map(Metric::name);
    let of = |plan: &Plan| if plan.metrics.is_empty() { default.to_vec() } else { plan.metrics.clone() };
    for metric in plans.iter().flat_map(of) {
        if !out.iter().any(|other| Metric::parse(other) == Metric::parse(&metric)) {
            out.push(metric);
        }
    }
    out
}

/// Restricts a claim to the arms of its experiment and prefixes its name with the experiment's.
fn own(claim: &Value, experiment: &str) -> Value {
    let mut claim = claim.clone();
    if let Value::Object(map) = &mut claim {
        if let Some(Value::String(id)) = map.get_mut("id") {
            *id = format!("{experiment}/{id}");
        }
        let place = map.entry("where").or_insert_with(|| Cell::new().into_iter().collect());
        if let Value::Object(place) = place {
            place.entry(label::EXPERIMENT).or_insert_with(|| experiment.into());
        }
    }
    claim
}
