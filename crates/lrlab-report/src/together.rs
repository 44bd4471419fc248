//! Several experiments in one report: one plan of all their runs, in which the experiment is an axis.

use std::collections::BTreeMap;

use lrlab_runs::{Cell, Plan, RunStore};
use serde_json::Value;

use crate::{Error, Report, label, report};

/// As [`summarise`](crate::summarise), of several experiments in one store. The experiment is the first axis of the grid;
/// arms that agree on all others are compared along it with those of the first experiment. A claim is about the arms of its
/// own experiment.
///
/// # Errors
/// As [`summarise`](crate::summarise). [`Error::Together`] where two experiments have one name, one of them has an axis
/// `experiment` or a search, or two name different baselines along one axis.
pub fn summarise_together(plans: &[Plan], store: &RunStore) -> Result<Report, Error> {
    let mut report = report::summarise(&together(plans)?, store)?;
    report.calls =
        plans.iter().filter_map(|plan| Some((plan.experiment.clone(), plan.call.clone()?))).collect();
    Ok(report)
}

fn together(plans: &[Plan]) -> Result<Plan, Error> {
    let wrong = |message: String| Err(Error::Together(message));
    let name = |plan: &Plan| plan.experiment.clone();
    let described = plans.iter().filter(|plan| !plan.description.is_empty());
    let mut out = Plan {
        experiment: plans.iter().map(name).collect::<Vec<_>>().join("+"),
        description: described
            .map(|plan| format!("{}: {}", plan.experiment, plan.description))
            .collect::<Vec<_>>()
            .join(" "),
        paper: plans.iter().any(|plan| plan.paper),
        ..Plan::default()
    };
    let (mut claims, mut of) = (Vec::new(), BTreeMap::new());
    for (i, plan) in plans.iter().enumerate() {
        let name = &plan.experiment;
        if plans[..i].iter().any(|other| other.experiment == *name) {
            return wrong(format!("two experiments are called {name:?}: expected different names"));
        }
        if plan.search.is_some() {
            return wrong(format!("{name} is a search, whose report has a single experiment"));
        }
        if plan.runs.iter().any(|run| run.cell.contains_key(label::EXPERIMENT)) {
            return wrong(format!(
                "{name} has an axis `experiment`, which several experiments in one report need"
            ));
        }
        for run in &plan.runs {
            let mut run = run.clone();
            run.cell.insert(label::EXPERIMENT.to_owned(), name.as_str().into());
            out.runs.push(run);
        }
        for (axis, value) in &plan.baseline {
            let (before, known) = of.entry(axis).or_insert((name, value));
            if *known != value {
                return wrong(format!(
                    "the baseline of {axis} is {} in {before} and {} in {name}: expected one",
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

/// A claim about the arms of its experiment, with a name that no other experiment's has.
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
