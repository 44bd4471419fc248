//! `lrlab redo`: sets the result of one run aside and trains it again.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use lrlab_grid::RunState;
use lrlab_options::{Cells, Machine, Part, QUICKSTART, STORE, Selection, store_folder};
use lrlab_runs::{Plan, PlannedRun, RunStore};

use super::launch::planned;
use super::on_record::check_id;
use super::resolve::check;
use crate::program::program;
use crate::progress::eprint_line;
use crate::{Registry, device, provenance};

#[derive(Debug, Args)]
#[command(mut_arg("from_scratch", |option| option.hide(true)))]
pub(crate) struct RedoArgs {
    /// The run: its id or a prefix of it, as `plan` and the report print it.
    run: String,
    /// The store: results, plans and reports.
    #[arg(long, value_name = "DIR", default_value = STORE, value_parser = store_folder())]
    out: PathBuf,
    #[command(flatten)]
    machine: Machine,
}

/// Finds the run in the plans of the store, and moves its result to `superseded` in its folder, if it has one. Returns the arguments of the
/// `run` command that trains it.
pub(crate) fn prepare(args: &RedoArgs, registry: &Registry) -> anyhow::Result<Vec<String>> {
    check_id(&args.run, "EXPERIMENT")?;
    anyhow::ensure!(
        !args.machine.from_scratch,
        "--from-scratch has no effect: `redo` always trains from the first update"
    );
    let out = std::path::absolute(&args.out).with_context(|| args.out.display().to_string())?;
    let store = RunStore::new(&out);
    let (plan, run) = find(&store, &args.run)?;
    let Some(call) = &plan.call else {
        bail!(
            "the plan of {:?} does not record the command that made it: use `{} run EXPERIMENT --run {}`",
            plan.experiment,
            program(),
            args.run
        )
    };
    let single = Plan { runs: vec![run.clone()], search: None, ..plan.clone() };
    let (_, states) = lrlab_grid::status(&store, &single)?;
    let has_result = match states.first() {
        // Its process is on a machine that probably lost power.
        Some(state) if state.is_silent() => store.is_done(&run.run_id),
        Some(RunState::Running { owner, .. }) => {
            bail!("{} is running ({owner}): stop it first", run.run_id.short())
        }
        Some(RunState::Missing | RunState::Failed(_) | RunState::Unneeded) | None => false,
        Some(_) => true,
    };
    let file = Path::new(&call.folder).join(&call.experiment);
    if !file.is_file() && Path::new(&call.experiment) != Path::new(QUICKSTART) {
        bail!(
            "{}: the experiment that {} was planned from is no longer there; move it back, or record its new place with \
             `{} run FILE --out {}`",
            file.display(),
            run.run_id.short(),
            program(),
            args.out.display()
        );
    }
    std::env::set_current_dir(&call.folder).with_context(|| call.folder.clone())?;
    let id = run.run_id.as_str();
    let cells = Cells { set: call.set.clone(), ..Cells::default() };
    let selection = Selection {
        experiment: Path::new(&call.experiment).to_path_buf(),
        out: out.clone(),
        part: Part { cells, run: Some(id.to_owned()) },
    };
    // Set nothing aside unless the experiment still contains the run. `run` prints the notes and warnings.
    check(&selection, registry).with_context(|| {
        format!(
            "{} cannot be repeated by the options of the last call of {:?}; if it was planned with other ones: `{} run {} --run \
             {id} --rerun-others --set …`",
            run.run_id.short(),
            plan.experiment,
            program(),
            file.display()
        )
    })?;
    // The attempt of an interrupted `redo` is resumed.
    if has_result {
        check_class(&store, &plan, &args.machine)?;
        lrlab_grid::supersede(&store, &run.run_id)?;
        let run = run.run_id.short();
        eprint_line(&format!("note: the earlier files of {run} are now in `superseded` in the run's folder"));
    }
    let mut arguments = ["lrlab", "run", &call.experiment].map(str::to_owned).to_vec();
    arguments.extend(call.set.iter().flat_map(|set| ["--set".to_owned(), set.clone()]));
    let out = out.to_str().context("the path of the store is not valid Unicode")?;
    arguments.extend(["--run", id, "--out", out, "--no-records", "--keep-plan"].map(str::to_owned));
    // The class was checked above, when the earlier result still counted.
    arguments.push("--accept-numerics".to_owned());
    arguments.extend(Machine { from_scratch: true, ..args.machine }.arguments());
    Ok(arguments)
}

/// Rejects a device that cannot be used, or whose numerics class none of the plan's results has.
fn check_class(store: &RunStore, plan: &Plan, machine: &Machine) -> anyhow::Result<()> {
    let class = provenance::numerics(&device::open(machine.device)?);
    let all = lrlab_grid::origins(store, &plan.runs)?;
    if let Some(other) = all.0.keys().next()
        && all.0.keys().all(|origin| origin.numerics != class)
    {
        bail!(
            "the results of {} have the numerics class {:?}, this device has {class:?}: use the --device of the earlier \
             runs; nothing was set aside",
            plan.experiment,
            other.numerics
        );
    }
    Ok(())
}

/// Returns the only run of the store's plans whose id starts with `id`, and the plan.
fn find(store: &RunStore, id: &str) -> anyhow::Result<(Plan, PlannedRun)> {
    let root = store.root();
    anyhow::ensure!(root.is_dir(), "there is no store {}: give its folder with --out", root.display());
    let mut found: Vec<(Plan, PlannedRun)> = Vec::new();
    let mut folders: Vec<PathBuf> = std::fs::read_dir(root)
        .with_context(|| root.display().to_string())?
        .flatten()
        .map(|entry| entry.path())
        .filter(|folder| folder.join("plan.json").is_file())
        .collect();
    folders.sort();
    for name in folders.iter().filter_map(|folder| folder.file_name()?.to_str()) {
        let plan = store.plan(name).unwrap_or_else(|error| {
            eprint_line(&format!("note: {error}; its runs are not found"));
            None
        });
        let Some(plan) = plan else { continue };
        let mut runs: Vec<_> =
            plan.runs.iter().filter(|run| run.run_id.as_str().starts_with(id)).cloned().collect();
        // The last call may have selected others.
        let earlier =
            lrlab_grid::other_runs(store, &plan)?.into_iter().filter(|run| run.as_str().starts_with(id));
        runs.extend(earlier.filter_map(|run| planned(store, &store.run_dir(&run)).ok()));
        found.extend(runs.into_iter().map(|run| (plan.clone(), run)));
    }
    let first = found.first().map(|(_, run)| run.run_id.clone());
    if found.iter().any(|(_, run)| Some(&run.run_id) != first.as_ref()) {
        bail!("several runs have ids that start with {id}: give more digits");
    }
    // The first one whose file is there. The report of its experiment is written anew.
    let file = |plan: &Plan| {
        let call = plan.call.as_ref()?;
        Path::new(&call.folder).join(&call.experiment).is_file().then_some(())
    };
    let plans_it = |plan: &Plan, run: &PlannedRun| plan.runs.iter().any(|other| other.run_id == run.run_id);
    found.sort_by_key(|(plan, run)| (!plans_it(plan, run), file(plan).is_none()));
    let others: Vec<&str> = found.iter().skip(1).map(|(plan, _)| plan.experiment.as_str()).collect();
    if !others.is_empty() {
        eprint_line(&format!(
            "note: {} also {} this run: `{} report` renews the reports",
            others.join(", "),
            if others.len() == 1 { "has" } else { "have" },
            program()
        ));
    }
    found.into_iter().next().with_context(|| {
        let (root, program) = (root.display(), program());
        format!(
            "the experiments in {root} have no run {id}: `{program} plan EXPERIMENT` lists the ids, and `{program} run \
             EXPERIMENT` makes a plan of all runs"
        )
    })
}
