//! `lrlab verify`: redoes finished runs and compares them bit for bit.
//!
//! A run is redone from its recorded specification, in a separate store, by the same preflight, executor and workers
//! as in `lrlab run`.

mod selection;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use lrlab_grid::{Interrupt, OnFailure};
use lrlab_options::{Keep, Machine, VerifyArgs};
use lrlab_runs::{Outcome, Plan, PlannedRun, RunId, RunResult, RunStore};
use lrlab_spec::{DataSpec, RunSpec};
use serde::Deserialize;

use self::selection::{Recorded, read_selected};
use self::verdict::{Verdict, summary};
use super::grid::Grid;
use super::launch::Launcher;
use super::local::Local;
use super::preflight::run_preflight;
use super::print_line;
use crate::device;
use crate::progress::{eprint_line, report_error, with_causes};
use crate::{CheckpointEvery, Exit, Registry, provenance};

pub(crate) fn verify(args: &VerifyArgs, registry: &Registry) -> anyhow::Result<Exit> {
    let recorded = read_selected(&args.recorded, registry)?;
    let device = device::open(args.device)?;
    note_other_classes(&recorded, &provenance::numerics(&device));

    let interrupt = Interrupt::on_signals()?;
    let temporary;
    let folder = if let Some(folder) = &args.keep {
        check_empty(folder)?;
        folder.as_path()
    } else {
        temporary = tempfile::Builder::new().prefix("lrlab-verify-").tempdir()?;
        temporary.path()
    };
    let store = RunStore::new(folder);
    let mut data = LocalData { registry, cache: store.cache_dir(), known: Vec::new() };
    let mut checked: Vec<Result<&RunResult, String>> = Vec::new();
    for run in &recorded {
        checked.push(data.check(run));
        if interrupt.requests() > 0 {
            return Ok(Exit::Interrupted);
        }
    }
    let sound: Vec<&RunResult> =
        checked.iter().filter_map(|checked| checked.as_ref().ok().copied()).collect();
    let plan = Plan {
        experiment: "verify".to_owned(),
        runs: sound.iter().copied().map(planned).collect(),
        ..Plan::default()
    };
    let machine = Machine {
        device: args.device,
        keep: Keep::None,
        threads: args.threads,
        checkpoint_every: CheckpointEvery::default(),
        from_scratch: true,
    };
    let grid = Grid {
        plan: &plan,
        store: &store,
        registry,
        machine: &machine,
        device: &device,
        trains_here: true,
        reported: &plan,
    };
    let local = Local { jobs: args.jobs.map(NonZeroU16::get), on_failure: OnFailure::KeepGoing };
    let mut rerun = match rerun(&grid, local, &sound, &interrupt) {
        Ok(Some(rerun)) => rerun,
        Ok(None) => return Ok(Exit::BadInput),
        Err(error) => {
            report_error(&error);
            return Ok(Exit::SomeFailed);
        }
    };
    let mut verdicts = Vec::new();
    for (run, checked) in recorded.iter().zip(checked) {
        let verdict = match (checked, rerun.unfinished.remove(&run.run_id)) {
            (Err(why), _) => Verdict::Refused(why),
            (Ok(_), Some(verdict)) => verdict,
            (Ok(result), None) => Verdict::compare(result, &store)?,
        };
        print_line(&verdict.line(run));
        verdicts.push(verdict);
    }
    print_line(&summary(&verdicts));
    if rerun.interrupted {
        eprint_line("interrupted: the same command starts over");
        return Ok(Exit::Interrupted);
    }
    Ok(verdict::exit(&verdicts))
}

/// The outcome of redoing runs, besides the results in the store.
#[derive(Default)]
struct Rerun {
    /// The verdicts on runs without a result.
    unfinished: BTreeMap<RunId, Verdict>,
    /// Whether the user requested a stop.
    interrupted: bool,
}

/// Redoes the runs of the plan, except those whose model fails the preflight. Returns `None` if the store is unusable,
/// which is reported.
fn rerun(
    grid: &Grid<'_>,
    local: Local,
    sound: &[&RunResult],
    interrupt: &Interrupt,
) -> anyhow::Result<Option<Rerun>> {
    let preflight = run_preflight(grid, &BTreeSet::new())?;
    if interrupt.requests() > 0 {
        return Ok(Some(Rerun { interrupted: true, ..Rerun::default() }));
    }
    if !preflight.show_store() {
        return Ok(None);
    }
    let (mut rerun, mut plan) = (Rerun::default(), grid.plan.clone());
    plan.runs.retain(|run| match preflight.failure(run) {
        Some(why) => {
            rerun.unfinished.insert(run.run_id.clone(), Verdict::Refused(format!("preflight: {why}")));
            false
        }
        None => true,
    });
    if plan.runs.is_empty() {
        return Ok(Some(rerun));
    }
    let grid = Grid { plan: &plan, reported: &plan, ..*grid };
    lrlab_grid::record(grid.store, &plan)?;
    // A run that a search pruned is redone to the same epoch.
    let pruned: BTreeMap<&RunId, u64> = sound
        .iter()
        .filter(|result| result.outcome == Outcome::Pruned)
        .map(|result| (&result.run_id, result.history.len() as u64))
        .collect();
    let launch = Launcher::new(grid.store, grid.machine, grid.device)?;
    let finish = local.run(&grid, &launch, &preflight, interrupt, |run| pruned.get(&run.run_id).copied())?;
    let failed = finish.failed.into_iter();
    rerun
        .unfinished
        .extend(failed.map(|(at, why)| (plan.runs[at].run_id.clone(), Verdict::Failed(why.message))));
    rerun.interrupted = finish.interrupted;
    Ok(Some(rerun))
}

fn planned(result: &RunResult) -> PlannedRun {
    PlannedRun {
        run_id: result.run_id.clone(),
        cell: result.cell.clone(),
        spec: result.spec.clone(),
        dataset_digest: result.provenance.dataset_digest.clone(),
    }
}

/// Reports runs of other numerics classes, between which results may differ.
fn note_other_classes(recorded: &[Recorded], class: &str) {
    let results = recorded.iter().filter_map(|run| run.result.as_ref().ok());
    let numerics = results.map(|result| (result.provenance.numerics.as_str(), 1));
    for others in provenance::other_numerics(numerics, recorded.len(), "this device has", class) {
        eprint_line(&format!("note: {others}"));
    }
}

fn check_empty(folder: &Path) -> anyhow::Result<()> {
    match std::fs::read_dir(folder).map(Iterator::count) {
        Ok(0) => Ok(()),
        Ok(_) => bail!(
            "--keep {}: the folder is not empty, and finished runs in it would not be redone; name a new one",
            folder.display()
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| folder.display().to_string()),
    }
}

/// The data sets on this machine.
struct LocalData<'a> {
    registry: &'a Registry,
    cache: PathBuf,
    known: Vec<(DataSpec, Result<String, String>)>,
}

impl LocalData<'_> {
    /// Returns the result of a run that can be redone, or why it cannot.
    fn check<'a>(&mut self, recorded: &'a Recorded) -> Result<&'a RunResult, String> {
        let result = recorded.result.as_ref().map_err(Clone::clone)?;
        self.check_identity(result).map_err(|why| with_causes(&why))?;
        Ok(result)
    }

    /// Rejects a run whose specification or data differ from those that its id was derived from.
    fn check_identity(&mut self, result: &RunResult) -> anyhow::Result<()> {
        let spec = RunSpec::deserialize(&*result.spec)
            .map_err(|error| anyhow::anyhow!("this build cannot read its specification ({error})"))?;
        let recorded = &result.provenance.dataset_digest;
        let id = lrlab_spec::run_id(&spec, recorded)?;
        if id != result.run_id {
            bail!(
                "its record was changed: its specification and the digest of its data are those of run {id}"
            );
        }
        match self.digest(&spec.data) {
            Ok(here) if here == *recorded => Ok(()),
            Ok(here) => {
                bail!("its data differs on this machine: the digest is {here}, {recorded} on record")
            }
            Err(why) => bail!("failed to read its data: {why}"),
        }
    }

    fn digest(&mut self, data: &DataSpec) -> Result<String, String> {
        if let Some((_, digest)) = self.known.iter().find(|(known, _)| known == data) {
            return digest.clone();
        }
        let digest = self.registry.identify(data, &self.cache);
        let digest = digest.map(|(digest, _)| digest).map_err(|error| with_causes(&error));
        self.known.push((data.clone(), digest.clone()));
        digest
    }
}
