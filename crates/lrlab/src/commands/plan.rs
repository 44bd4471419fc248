//! `lrlab plan`: the runs of an experiment and their states.
use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Args;
use lrlab_grid::{Beginning, RunState};
use lrlab_options::{Cells, RecordFiles, Selection};
use lrlab_runs::{Plan, RunStore};
use lrlab_spec::RunSpec;
use serde::Deserialize;

use super::grid::beginnings;
use super::lines::{counts, line};
use super::resolve::{narrowed, read_experiment, read_plan};
use super::{print, print_line};
use crate::program::program;
use crate::progress::{counted, eprint_line};
use crate::{Exit, Registry};

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    on_record: RecordFiles,
    /// Print each resolved value and its origin.
    #[arg(long)]
    explain: bool,
    /// List every run; by default, a grid of more than 100 runs is summarised.
    #[arg(long, conflicts_with = "explain")]
    cells: bool,
}

pub(crate) fn plan(args: &PlanArgs, registry: &Registry) -> anyhow::Result<Exit> {
    if args.explain {
        let experiment = read_experiment(&args.selection, registry)?;
        let Cells { filter, seeds, .. } = &args.selection.part.cells;
        let texts = experiment.explain(filter, *seeds)?;
        print_line(&narrowed(texts, &experiment, &args.selection, &args.on_record, registry)?.join("\n"));
        return Ok(Exit::Done);
    }
    let (plan, store) = read_plan(&args.selection, &args.on_record, registry)?;
    super::report::check_documents(&plan)?;
    for warning in lrlab_grid::origins(&store, &plan.runs)?.warnings() {
        eprint_line(&format!("note: {warning}"));
    }
    show(&plan, &store, registry, args.cells)?;
    Ok(Exit::Done)
}

/// Prints every run with its state, and the totals. A large grid is summarised unless `all` is set. Lint warnings about
/// schedules and controllers go to standard error.
pub(crate) fn show(plan: &Plan, store: &RunStore, registry: &Registry, all: bool) -> anyhow::Result<()> {
    for warning in lint_warnings(plan) {
        eprint_line(&format!("warning: {warning}"));
    }
    let beginnings = beginnings(plan, store, &plan.runs, registry)?;
    let listed = all || plan.runs.len() <= MOST_LISTED;
    print(&if listed { listing(plan, store, &beginnings)? } else { summary(plan, store)? });
    if let Some(reused) = reused(plan, &beginnings) {
        print_line(&reused);
    }
    super::search::show(plan, store)
}

/// Describes how many runs continue shorter ones.
fn reused(plan: &Plan, beginnings: &[Option<Beginning>]) -> Option<String> {
    let longer = beginnings.iter().flatten().count();
    let reused: u64 = beginnings.iter().flatten().map(|beginning| beginning.epochs).sum();
    (longer > 0).then(|| {
        format!(
            "{}: {} {} with the same beginning, which saves {} of training (--from-scratch trains them in full)",
            plan.experiment,
            counted(longer, "run"),
            if longer == 1 { "continues a shorter one" } else { "continue shorter ones" },
            counted(usize::try_from(reused).unwrap_or(usize::MAX), "epoch")
        )
    })
}

/// The maximum number of runs that are listed without `--cells`.
const MOST_LISTED: usize = 100;

/// The maximum number of values of a coordinate in a summary.
const MOST_VALUES: usize = 12;

/// Lists the values along each coordinate, the runs that are neither done nor missing, and the totals.
fn summary(plan: &Plan, store: &RunStore) -> anyhow::Result<String> {
    let mut values: Vec<(&String, Vec<String>)> = Vec::new();
    for (key, value) in plan.runs.iter().flat_map(|run| &run.cell) {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match values.iter_mut().find(|(known, _)| *known == key) {
            Some((_, all)) if all.contains(&value) => {}
            Some((_, all)) => all.push(value),
            None => values.push((key, vec![value])),
        }
    }
    let mut text = String::new();
    for (key, all) in values {
        let more =
            if all.len() > MOST_VALUES { format!(", … ({} values)", all.len()) } else { String::new() };
        let _ = writeln!(text, "{key}: {}{more}", all[..all.len().min(MOST_VALUES)].join(", "));
    }
    let (status, states) = lrlab_grid::status(store, plan)?;
    let is_listed =
        |state: &RunState| !matches!(state, RunState::Done | RunState::Missing | RunState::Unneeded);
    for (run, state) in plan.runs.iter().zip(&states).filter(|(_, state)| is_listed(state)) {
        let _ = writeln!(text, "{}", line(store, run, state));
    }
    let file = plan.call.as_ref().map_or("FILE", |call| &call.experiment);
    let _ = writeln!(
        text,
        "{}: {}; `{} plan {file} --cells` lists the runs",
        plan.experiment,
        counts(&status),
        program()
    );
    Ok(text)
}

/// Returns the warnings about the schedules, controllers and other settings of a plan, each once with its number of runs.
fn lint_warnings(plan: &Plan) -> Vec<String> {
    let mut found: Vec<(String, usize)> = Vec::new();
    let mut add = |warning: &str| match found.iter_mut().find(|(known, _)| known == warning) {
        Some((_, runs)) => *runs += 1,
        None => found.push((warning.to_owned(), 1)),
    };
    let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for run in &plan.runs {
        let Ok(spec) = RunSpec::deserialize(&*run.spec) else { continue };
        spec.doubts().iter().for_each(|doubt| add(doubt));
        let Some(horizon) = spec.horizon() else { continue };
        let name = run.cell.get("schedule").and_then(|name| name.as_str()).unwrap_or_default();
        let controllers: Vec<_> = spec.monitor.iter().map(|monitor| monitor.controller.clone()).collect();
        let monitor = run.cell.get("monitor").map(ToString::to_string).unwrap_or_default();
        let key = format!(
            "{name} {monitor} {:?} {controllers:?} {} {:?} {horizon:?}",
            spec.schedule, spec.lr, spec.optimizer
        );
        let warnings = known.entry(key).or_insert_with(|| {
            // A schedule that cannot be built is reported when the experiment is read.
            let found = lrlab_schedulers::lint(&spec.schedule, spec.lr, &horizon, &controllers);
            let found = found.unwrap_or_default().into_iter();
            let found = found.map(|finding| format!("schedule `{name}`: {finding}"));
            let constants = spec.optimizer.scheduled().into_iter().flat_map(|hyper| {
                let found = lrlab_schedulers::lint(hyper.schedule, hyper.base, &horizon, &[]);
                let named = move |finding| format!("`optimizer.{}`: {finding}", hyper.key);
                found.unwrap_or_default().into_iter().map(named)
            });
            found.chain(constants).collect()
        });
        for warning in warnings.iter() {
            add(warning);
        }
    }
    found.into_iter().map(|(warning, runs)| format!("{warning} ({})", counted(runs, "run"))).collect()
}

/// Lists every needed run with its state and the shorter one that it continues, and the totals.
pub(crate) fn listing(
    plan: &Plan,
    store: &RunStore,
    beginnings: &[Option<Beginning>],
) -> anyhow::Result<String> {
    let (status, states) = lrlab_grid::status(store, plan)?;
    let mut text = String::new();
    for ((run, state), beginning) in plan.runs.iter().zip(&states).zip(beginnings) {
        if *state == RunState::Unneeded {
            continue;
        }
        let continues = beginning
            .as_ref()
            .map(|beginning| {
                format!(
                    ", continues {} after {}",
                    beginning.run_id.short(),
                    counted(usize::try_from(beginning.epochs).unwrap_or(usize::MAX), "epoch")
                )
            })
            .unwrap_or_default();
        let _ = writeln!(text, "{}{continues}", line(store, run, state));
    }
    let _ = writeln!(text, "{}: {}", plan.experiment, counts(&status));
    Ok(text)
}
