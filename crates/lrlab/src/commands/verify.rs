//! `lrlab verify`: does finished runs again and compares what they come to, to the bit.
//!
//! A run is done again from the specification on record, in a store of its own, by the same preflight, executor and
//! workers as in `lrlab run`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::num::{NonZeroU16, NonZeroUsize};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use lrlab_grid::{Finish, Interrupt, OnFailure};
use lrlab_runs::{Difference, Outcome, Plan, PlannedRun, Records, RunId, RunResult, RunStore};
use lrlab_spec::{DataSpec, RunSpec};
use serde::Deserialize;
use serde_json::Value;

use super::grid::Grid;
use super::launch::Launch;
use super::local::Local;
use super::on_record::{check_id, nearest};
use super::plan::{read_experiment, resolve_with};
use super::preflight::run_preflight;
use super::say_line;
use crate::options::{Cells, Keep, Machine, Part, Selection};
use crate::progress::{complain, label, tell};
use crate::{CheckpointEvery, DeviceChoice, Exit, Registry, provenance};

/// The experiment where none is named.
const QUICKSTART: &str = "experiments/quickstart.toml";

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The experiment whose finished runs are done again. Without one: every run of --records; the runs that --run names,
    /// whatever experiment they belong to; or else those of experiments/quickstart.toml.
    experiment: Option<PathBuf>,
    /// The store that has the results.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    out: PathBuf,
    /// Take the results from this file of records (one whole result.json a line), or from the *.jsonl files of this
    /// folder, instead of the store (repeatable). Neither store nor experiment is needed.
    #[arg(long, value_name = "FILE|DIR")]
    records: Vec<PathBuf>,
    #[command(flatten)]
    cells: Cells,
    /// Only the run with this id, or with an id that begins so (repeatable).
    #[arg(long, value_name = "RUN_ID")]
    run: Vec<String>,
    /// Only N runs, the same at every call: from each arm in turn the run with the smallest id. Ids are hashes.
    #[arg(long, value_name = "N")]
    sample: Option<NonZeroUsize>,
    /// Where to train: auto, cpu, cuda, cuda:N or metal.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Threads per run; by default the cores divided among the jobs.
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Runs at once; by default chosen from cores, memory and devices.
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroU16>,
    /// Do the runs in this folder, which is new or empty, and leave them there.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// What doing a run again came to.
enum Verdict {
    Identical,
    /// The run that was done here differs from the one on record.
    Differs {
        difference: Difference,
        here: Box<RunResult>,
    },
    Failed(String),
    /// It was not done again.
    Refused(String),
    /// Interrupted, or stopped by others that failed.
    Missing,
}

pub(crate) fn verify(args: &VerifyArgs, registry: &Registry) -> anyhow::Result<Exit> {
    let mut recorded = chosen(args, registry)?;
    if let Some(n) = args.sample {
        recorded = sample(recorded, n.get());
    }
    let device = args.device.open()?;
    let class = provenance::numerics(&device);
    note_other_classes(&recorded, &class);

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
    let mut data = DataHere { registry, cache: store.cache_dir(), known: Vec::new() };
    let refused: Vec<Option<String>> =
        recorded.iter().map(|result| data.check(result).err().map(|why| format!("{why:#}"))).collect();
    let sound = recorded.iter().zip(&refused).filter(|(_, why)| why.is_none());
    let plan = Plan {
        experiment: "verify".to_owned(),
        runs: sound.map(|(result, _)| planned(result)).collect(),
        ..Plan::default()
    };
    let machine = Machine {
        device: args.device,
        keep: Keep::None,
        threads: args.threads,
        checkpoint_every: CheckpointEvery::default(),
    };
    let grid = Grid { plan: &plan, store: &store, machine: &machine, device: &device, trains_here: true };
    let local = Local { jobs: args.jobs.map(NonZeroU16::get), on_failure: OnFailure::KeepGoing };
    let finish = match again(&grid, local, &recorded, &interrupt) {
        Ok(Some(finish)) => finish,
        Ok(None) if interrupt.asked() > 0 => Finish { interrupted: true, ..Finish::default() },
        Ok(None) => return Ok(Exit::BadInput),
        Err(error) => {
            complain(&error);
            return Ok(Exit::SomeFailed);
        }
    };
    let failures: BTreeMap<&RunId, &str> =
        finish.failed.iter().map(|(at, why)| (&plan.runs[*at].run_id, why.message.as_str())).collect();
    let mut verdicts = Vec::new();
    for (result, refused) in recorded.iter().zip(refused) {
        let verdict = match (refused, failures.get(&result.run_id)) {
            (Some(why), _) => Verdict::Refused(why),
            (None, Some(why)) => Verdict::Failed((*why).to_owned()),
            (None, None) => compare(result, &store)?,
        };
        say_line(&verdict.words(result));
        verdicts.push(verdict);
    }
    say_line(&summary(&verdicts));
    if finish.interrupted {
        tell("interrupted: the same command begins anew");
        return Ok(Exit::Interrupted);
    }
    let any = |which: fn(&Verdict) -> bool| verdicts.iter().any(which);
    Ok(if any(|verdict| matches!(verdict, Verdict::Differs { .. })) {
        Exit::Differs
    } else if any(|verdict| matches!(verdict, Verdict::Failed(_) | Verdict::Missing)) {
        Exit::SomeFailed
    } else if any(|verdict| matches!(verdict, Verdict::Refused(_))) {
        Exit::BadInput
    } else {
        Exit::Done
    })
}

/// Does the runs of the plan. `None`: preflight found something wrong, and told it.
fn again(
    grid: &Grid<'_>,
    local: Local,
    recorded: &[RunResult],
    interrupt: &Interrupt,
) -> anyhow::Result<Option<Finish>> {
    if grid.plan.runs.is_empty() {
        return Ok(Some(Finish::default()));
    }
    let preflight = run_preflight(grid)?;
    if !preflight.show() {
        tell("nothing was started");
        return Ok(None);
    }
    lrlab_grid::record(grid.store, grid.plan)?;
    // A run that a search gave up goes as far as it went.
    let pruned: BTreeMap<&RunId, u64> = recorded
        .iter()
        .filter(|result| result.outcome == Outcome::Pruned)
        .map(|result| (&result.run_id, result.history.len() as u64))
        .collect();
    let launch = Launch::new(grid.store, grid.machine, grid.device)?;
    local.run(grid, &launch, &preflight, interrupt, |run| pruned.get(&run.run_id).copied()).map(Some)
}

fn compare(recorded: &RunResult, store: &RunStore) -> anyhow::Result<Verdict> {
    let id = &recorded.run_id;
    let here = if recorded.outcome == Outcome::Pruned { store.paused(id)? } else { store.result(id)? };
    let Some(here) = here else { return Ok(Verdict::Missing) };
    Ok(match recorded.difference(&here) {
        None => Verdict::Identical,
        Some(difference) => Verdict::Differs { difference, here: Box::new(here) },
    })
}

fn planned(result: &RunResult) -> PlannedRun {
    PlannedRun {
        run_id: result.run_id.clone(),
        cell: result.cell.clone(),
        spec: result.spec.clone(),
        dataset_digest: result.provenance.dataset_digest.clone(),
    }
}

/// Where finished runs are taken from.
enum Source<'a> {
    Store(RunStore),
    Records(Records, &'a [PathBuf]),
}

impl Source<'_> {
    fn ids(&self) -> anyhow::Result<Vec<RunId>> {
        Ok(match self {
            Self::Store(store) => store.done()?,
            Self::Records(records, _) => records.iter().map(|record| record.result.run_id.clone()).collect(),
        })
    }

    fn has(&self, id: &RunId) -> bool {
        match self {
            Self::Store(store) => store.is_done(id),
            Self::Records(records, _) => records.get(id).is_some(),
        }
    }

    fn result(&self, id: &RunId) -> anyhow::Result<Option<RunResult>> {
        Ok(match self {
            Self::Store(store) => store.result(id)?,
            Self::Records(records, _) => records.get(id).map(|record| record.result.clone()),
        })
    }

    /// Its files, for people.
    fn words(&self) -> String {
        match self {
            Self::Store(store) => store.root().display().to_string(),
            Self::Records(_, paths) => {
                paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
            }
        }
    }
}

/// The finished runs that the options name.
fn chosen(args: &VerifyArgs, registry: &Registry) -> anyhow::Result<Vec<RunResult>> {
    let VerifyArgs { experiment, out, records, cells, run, .. } = args;
    let file = experiment.as_deref().unwrap_or(Path::new(QUICKSTART));
    run.iter().try_for_each(|id| check_id(id, &file.display().to_string()))?;
    let source = if records.is_empty() {
        Source::Store(RunStore::new(out))
    } else {
        Source::Records(Records::read(records)?, records)
    };
    // Of these it is known which runs are meant.
    let named = experiment.is_none() && !(records.is_empty() && run.is_empty());
    let planned: Option<Vec<RunId>> = if named {
        if !cells.are_all() {
            bail!("--set, --filter and --seeds are about an experiment: name its file");
        }
        None
    } else {
        let part = Part { cells: cells.clone(), run: None };
        let selection = Selection { experiment: file.to_path_buf(), out: out.clone(), part };
        let experiment = read_experiment(&selection, registry)?;
        let none = Records::default();
        let on_record = if let Source::Records(records, _) = &source { records } else { &none };
        let plan = resolve_with(&experiment, &selection, registry, on_record)?;
        Some(plan.runs.into_iter().map(|run| run.run_id).collect())
    };
    let finished: Vec<RunId> = match &planned {
        None => source.ids()?,
        Some(planned) => planned.iter().filter(|id| source.has(id)).cloned().collect(),
    };
    let mut ids = Vec::new();
    for id in run {
        match &beginning(id, &finished)[..] {
            [one] => ids.push((*one).clone()),
            [] => bail!(not_there(id, file, &source, planned.as_deref())?),
            several => bail!("the ids of {} runs begin with {id}: give more digits", several.len()),
        }
    }
    let mut seen = BTreeSet::new();
    let ids: Vec<RunId> = if run.is_empty() { finished } else { ids };
    let ids: Vec<&RunId> = ids.iter().filter(|id| seen.insert(*id)).collect();
    if ids.is_empty() {
        let file = file.display();
        match planned {
            Some(planned) => bail!(
                "nothing to verify: none of the {} runs of {file} is finished in {}; `lrlab run {file}` does them",
                planned.len(),
                source.words()
            ),
            None => bail!("nothing to verify: {} has no finished run", source.words()),
        }
    }
    ids.into_iter().map(|id| source.result(id)?.context("the result is gone")).collect()
}

fn beginning<'a>(digits: &str, ids: &'a [RunId]) -> Vec<&'a RunId> {
    ids.iter().filter(|id| id.as_str().starts_with(digits)).collect()
}

/// Why the run that --run names is not among the finished ones.
fn not_there(
    id: &str,
    file: &Path,
    source: &Source<'_>,
    planned: Option<&[RunId]>,
) -> anyhow::Result<String> {
    let (file, place, all) = (file.display(), source.words(), source.ids()?);
    if let Some(planned) = planned {
        if !beginning(id, planned).is_empty() {
            return Ok(format!(
                "run {id} of {file} is not finished in {place}; `lrlab run {file} --run {id}` does it"
            ));
        }
        if let [one, ..] = beginning(id, &all)[..] {
            return Ok(format!(
                "run {one} is none of {file}'s, with its data and the options given here; without an experiment, --run \
                 takes any finished run"
            ));
        }
    }
    let near = match &nearest(id, &all)[..] {
        [] => "no run is finished there".to_owned(),
        near => format!("the nearest are {}", near.join(", ")),
    };
    Ok(format!("{place} has no finished run {id}; {near}"))
}

/// `n` of the runs, drawn without looking at what they came to: from each arm in turn the run with the smallest id.
fn sample(mut recorded: Vec<RunResult>, n: usize) -> Vec<RunResult> {
    let all = recorded.len();
    if n >= all {
        if n > all {
            tell(&format!("note: --sample {n}: there are {all} runs, and all of them are done again"));
        }
        return recorded;
    }
    recorded.sort_by(|a, b| a.run_id.cmp(&b.run_id));
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    let mut rank = |result: &RunResult| {
        let mut arm = result.cell.clone();
        arm.remove("seed");
        let before = taken.entry(serde_json::to_string(&arm).unwrap_or_default()).or_default();
        *before += 1;
        *before
    };
    let mut ranked: Vec<(usize, RunResult)> =
        recorded.into_iter().map(|result| (rank(&result), result)).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    tell(&format!("note: a sample of {n} of {all} runs, the same at every call"));
    ranked.into_iter().take(n).map(|(_, result)| result).collect()
}

/// Between classes of numerics nobody promises equal bits.
fn note_other_classes(recorded: &[RunResult], class: &str) {
    let mut others: BTreeMap<&str, usize> = BTreeMap::new();
    for result in recorded.iter().filter(|result| result.provenance.numerics != class) {
        *others.entry(&result.provenance.numerics).or_default() += 1;
    }
    for (other, n) in others {
        tell(&format!(
            "note: {n} of {} runs are of the numerics class {other:?}, this device's is {class:?}: between the two, \
             equal bits are not promised",
            recorded.len()
        ));
    }
}

fn check_empty(folder: &Path) -> anyhow::Result<()> {
    match std::fs::read_dir(folder).map(Iterator::count) {
        Ok(0) => Ok(()),
        Ok(_) => bail!(
            "--keep {}: the folder is not empty, and a run that is done in it would not be done again; name a new one",
            folder.display()
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| folder.display().to_string()),
    }
}

/// The data sets as they are here.
struct DataHere<'a> {
    registry: &'a Registry,
    cache: PathBuf,
    known: Vec<(DataSpec, Result<String, String>)>,
}

impl DataHere<'_> {
    /// Whether a run can be done again as it was: its specification and its data are those that its id was made from.
    fn check(&mut self, result: &RunResult) -> anyhow::Result<()> {
        let spec = RunSpec::deserialize(&result.spec)
            .map_err(|error| anyhow::anyhow!("this build cannot read its specification ({error})"))?;
        let recorded = &result.provenance.dataset_digest;
        let id = lrlab_spec::run_id(&spec, recorded)?;
        if id != result.run_id {
            bail!(
                "what is on record was changed: its specification and the digest of its data are those of run {id}"
            );
        }
        match self.digest(&spec.data) {
            Ok(here) if here == *recorded => Ok(()),
            Ok(here) => {
                bail!("its data are other ones here: their digest is {here}, on record it is {recorded}")
            }
            Err(why) => bail!("its data cannot be read here: {why}"),
        }
    }

    fn digest(&mut self, data: &DataSpec) -> Result<String, String> {
        if let Some((_, digest)) = self.known.iter().find(|(known, _)| known == data) {
            return digest.clone();
        }
        let digest = self.registry.identify(data, &self.cache);
        let digest = digest.map(|(digest, _)| digest).map_err(|error| format!("{error:#}"));
        self.known.push((data.clone(), digest.clone()));
        digest
    }
}

impl Verdict {
    /// `1f2e3d4c  resnet / … / seed 0  identical`.
    fn words(&self, recorded: &RunResult) -> String {
        let words = match self {
            Self::Identical => "identical".to_owned(),
            Self::Differs { difference, here } => {
                format!(
                    "differs at {}\n          {}",
                    place(difference, recorded),
                    provenance_words(recorded, here)
                )
            }
            Self::Failed(why) => format!("failed: {why}"),
            Self::Refused(why) => format!("cannot be verified: {why}"),
            Self::Missing => "not done again".to_owned(),
        };
        format!("{}  {}  {words}", recorded.run_id.short(), label(&recorded.cell))
    }
}

/// `epoch 2, val_loss: 0.5 on record, 0.25 here`.
fn place(difference: &Difference, recorded: &RunResult) -> String {
    let Difference { place, first, other } = difference;
    let inside = |list: &str| -> Option<(usize, String)> {
        let (index, field) = place.strip_prefix(list)?.strip_prefix('[')?.split_once(']')?;
        let field = field.strip_prefix('.').map(|field| format!(", {field}")).unwrap_or_default();
        Some((index.parse().ok()?, field))
    };
    let place = if let Some((index, field)) = inside("history") {
        let epoch = recorded.history.get(index).map_or(index as u64 + 1, |epoch| epoch.epoch);
        format!("epoch {epoch}{field}")
    } else if let Some((index, field)) = inside("decisions") {
        let after = recorded.decisions.get(index);
        let after = after.map(|made| format!(" (epoch {}, update {})", made.epoch, made.update));
        format!("decision {}{}{field}", index + 1, after.unwrap_or_default())
    } else {
        place.replacen('.', ", ", 1)
    };
    match (first, other) {
        (Value::Object(_), Value::Null) => format!("{place}: on record, not here"),
        (Value::Null, Value::Object(_)) => format!("{place}: here, not on record"),
        _ => format!("{place}: {first} on record, {other} here"),
    }
}

/// What else was different, as far as is known.
fn provenance_words(recorded: &RunResult, here: &RunResult) -> String {
    let told =
        recorded.other_provenance(here).into_iter().filter(|found| !found.place.starts_with("dataset_notes"));
    let told: Vec<String> = told
        .map(|found| format!("{} {} on record, {} here", found.place, found.first, found.other))
        .collect();
    if told.is_empty() {
        return "build, machine and data are the same".to_owned();
    }
    told.join("; ")
}

fn summary(verdicts: &[Verdict]) -> String {
    let count = |which: fn(&Verdict) -> bool| verdicts.iter().filter(|verdict| which(verdict)).count();
    let mut text = format!(
        "{} of {} runs are identical",
        count(|verdict| matches!(verdict, Verdict::Identical)),
        verdicts.len()
    );
    for (n, words) in [
        (count(|verdict| matches!(verdict, Verdict::Differs { .. })), "differ"),
        (count(|verdict| matches!(verdict, Verdict::Failed(_))), "failed"),
        (count(|verdict| matches!(verdict, Verdict::Refused(_))), "cannot be verified"),
        (count(|verdict| matches!(verdict, Verdict::Missing)), "were not done again"),
    ] {
        if n > 0 {
            let _ = write!(text, ", {n} {words}");
        }
    }
    text
}
