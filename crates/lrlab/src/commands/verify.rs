//! `lrlab verify`: finished runs once more, from their recorded specifications, compared to the bit.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use candle_core::Device;
use clap::Args;
use lrlab_grid::{Assignment, Finish, Interrupt, LocalExecutor, Machine as Host, Notice, Share};
use lrlab_runs::{Outcome, Plan, PlannedRun, Provenance, RunResult, RunStore};
use lrlab_spec::RunSpec;

use super::launch::{self, Launch};
use super::plan::{read_experiment, resolve};
use super::run::MEMORY_PER_RUN;
use super::say_line;
use super::worker::cache_dir;
use crate::options::{Part, Selection};
use crate::progress::{Progress, label, tell};
use crate::{DeviceChoice, Exit, Registry, provenance};

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The experiment file whose runs are verified [default: experiments/quickstart.toml, or with --records every run
    /// that is recorded there].
    experiment: Option<PathBuf>,
    /// The store that has the results.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    out: PathBuf,
    /// Take the results from this file of records, one `result.json` a line, or from every `.jsonl` file of this folder,
    /// instead of from the store (repeatable).
    #[arg(long, value_name = "FILE")]
    records: Vec<PathBuf>,
    /// Override a key of the experiment (repeatable).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Only cells that match (repeatable; one key twice means either).
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Only the first N seeds.
    #[arg(long, value_name = "N")]
    seeds: Option<usize>,
    /// Only the run with this id, or with an id that begins so (repeatable).
    #[arg(long, value_name = "RUN_ID")]
    run: Vec<String>,
    /// Only N of the runs, from every network in turn; the same ones every time.
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
    jobs: Option<NonZeroUsize>,
}

pub(crate) fn verify(args: &VerifyArgs, registry: &Registry) -> anyhow::Result<Exit> {
    let Some(mut recorded) = recorded(args, registry)? else { return Ok(Exit::BadInput) };
    recorded.retain(|result| result.outcome != Outcome::Pruned);
    if !args.run.is_empty() {
        recorded = named(recorded, &args.run)?;
    }
    if recorded.is_empty() {
        bail!(
            "there is no finished run to verify: `lrlab run` makes runs, `lrlab status` shows what is done"
        );
    }
    if let Some(count) = args.sample {
        let all = recorded.len();
        recorded = sample(recorded, count.get());
        tell(&format!("{} of {all} runs are drawn", recorded.len()));
    }
    same_data(&recorded, args, registry)?;
    let device = args.device.open()?;
    warn_of_numerics(&recorded, &device);
    let folder =
        tempfile::Builder::new().prefix("lrlab-verify-").tempdir().context("a folder for the runs")?;
    let store = RunStore::new(folder.path());
    let plan = Plan {
        experiment: "verify".to_owned(),
        runs: recorded.iter().map(planned).collect(),
        ..Plan::default()
    };
    lrlab_grid::record(&store, &plan)?;
    let finish = again(args, &plan, &store, &device)?;
    compare(&recorded, &store, &finish)
}

fn planned(result: &RunResult) -> PlannedRun {
    PlannedRun {
        run_id: result.run_id.clone(),
        cell: result.cell.clone(),
        spec: result.spec.clone(),
        dataset_digest: result.provenance.dataset_digest.clone(),
    }
}

/// The finished runs that the arguments select; mistakes in the experiment are told, and `None` is returned.
fn recorded(args: &VerifyArgs, registry: &Registry) -> anyhow::Result<Option<Vec<RunResult>>> {
    let records = read_records(&args.records)?;
    let whole = args.set.is_empty() && args.filter.is_empty() && args.seeds.is_none();
    if args.experiment.is_none() && !args.records.is_empty() {
        if !whole {
            bail!("--set, --filter and --seeds select runs of an experiment: name its file before --records");
        }
        return Ok(Some(records));
    }
    let selection = Selection {
        experiment: args.experiment.clone().unwrap_or_else(|| "experiments/quickstart.toml".into()),
        out: args.out.clone(),
        part: Part { set: args.set.clone(), filter: args.filter.clone(), seeds: args.seeds, run: None },
    };
    let Some(experiment) = read_experiment(&selection, registry)? else { return Ok(None) };
    let Some(plan) = resolve(&experiment, &selection, registry)? else { return Ok(None) };
    if !args.records.is_empty() {
        let planned = |result: &RunResult| plan.runs.iter().any(|run| run.run_id == result.run_id);
        return Ok(Some(records.into_iter().filter(planned).collect()));
    }
    let store = RunStore::new(&args.out);
    let results = plan.runs.iter().map(|run| store.result(&run.run_id));
    Ok(Some(results.filter_map(Result::transpose).collect::<Result<_, _>>()?))
}

/// Every run of files of records, and of the `.jsonl` files of folders, by its id.
fn read_records(paths: &[PathBuf]) -> anyhow::Result<Vec<RunResult>> {
    let mut found = BTreeMap::new();
    for path in paths {
        for file in record_files(path)? {
            let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
                let place = || format!("{}:{}", file.display(), number + 1);
                let result: RunResult = serde_json::from_str(line).with_context(|| {
                    format!("{}: expected the `result.json` of a run on one line", place())
                })?;
                if let Some(other) = found.insert(result.run_id.clone(), result.clone())
                    && other.difference(&result).is_some()
                {
                    bail!("{}: run {} is recorded twice, with different results", place(), result.run_id);
                }
            }
        }
    }
    Ok(found.into_values().collect())
}

fn record_files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let entries = std::fs::read_dir(path).with_context(|| path.display().to_string())?;
    let files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    let mut files: Vec<_> =
        files.into_iter().filter(|file| file.extension().is_some_and(|e| e == "jsonl")).collect();
    files.sort();
    if files.is_empty() {
        bail!("{}: the folder has no .jsonl file", path.display());
    }
    Ok(files)
}

/// The runs whose ids begin as `ids` say.
fn named(all: Vec<RunResult>, ids: &[String]) -> anyhow::Result<Vec<RunResult>> {
    for id in ids {
        let found = all.iter().filter(|result| result.run_id.as_str().starts_with(id.as_str())).count();
        if found == 0 {
            let known: Vec<_> = all.iter().take(5).map(|result| result.run_id.short()).collect();
            let more = if all.len() > known.len() { ", …" } else { "" };
            bail!("no finished run has the id {id:?}; there are {}{more}", known.join(", "));
        }
        if found > 1 {
            bail!("the ids of {found} finished runs begin with {id:?}: give more digits");
        }
    }
    let wanted = |result: &RunResult| ids.iter().any(|id| result.run_id.as_str().starts_with(id.as_str()));
    Ok(all.into_iter().filter(wanted).collect())
}

/// `count` of the runs: of each network in turn the one with the least id. Ids are hashes, so that this is a draw.
fn sample(mut all: Vec<RunResult>, count: usize) -> Vec<RunResult> {
    all.sort_by(|a, b| a.run_id.as_str().cmp(b.run_id.as_str()));
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut ranked: Vec<(usize, RunResult)> = all
        .into_iter()
        .map(|result| {
            let model = result.cell.get("model").map(ToString::to_string).unwrap_or_default();
            let rank = seen.entry(model).or_default();
            *rank += 1;
            (*rank, result)
        })
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().take(count).map(|(_, result)| result).collect()
}

/// Refuses runs whose data are not here as they were.
fn same_data(recorded: &[RunResult], args: &VerifyArgs, registry: &Registry) -> anyhow::Result<()> {
    let mut known: Vec<(lrlab_spec::DataSpec, String)> = Vec::new();
    for result in recorded {
        let id = result.run_id.short();
        let spec: RunSpec = serde_json::from_value(result.spec.clone())
            .with_context(|| format!("{id}: its specification is not one of this version"))?;
        let here = if let Some((_, digest)) = known.iter().find(|(data, _)| *data == spec.data) {
            digest.clone()
        } else {
            let identified = registry.identify(&spec.data, &cache_dir(&args.out));
            let (digest, _) = identified.map_err(|error| anyhow::anyhow!("{id}: its data: {error}"))?;
            known.push((spec.data, digest.clone()));
            digest
        };
        let there = &result.provenance.dataset_digest;
        if here != *there {
            bail!(
                "{id} cannot be verified: it was trained on data with the digest {there}, the data here have {here}"
            );
        }
    }
    Ok(())
}

/// Says where equal bits are not promised.
fn warn_of_numerics(recorded: &[RunResult], device: &Device) {
    let ours = provenance::numerics(device);
    let mut others: BTreeMap<&str, usize> = BTreeMap::new();
    for result in recorded.iter().filter(|result| result.provenance.numerics != ours) {
        *others.entry(&result.provenance.numerics).or_default() += 1;
    }
    for (class, count) in others {
        tell(&format!(
            "warning: {count} of the runs were made in the numerics class {class:?}, this is {ours:?}: equal bits are \
             not promised"
        ));
    }
}

/// Does the runs again.
fn again(args: &VerifyArgs, plan: &Plan, store: &RunStore, device: &Device) -> anyhow::Result<Finish> {
    let launch = Launch::new(store, args.device, device, "none", "never")?;
    let fit = Host::detect().jobs(plan.runs.len(), MEMORY_PER_RUN);
    let chosen = if device.is_cpu() { fit } else { lrlab_grid::at_once(&launch.gpus, None).min(fit) };
    let executor = LocalExecutor {
        jobs: args.jobs.map_or(chosen, NonZeroUsize::get),
        threads: args.threads.map(NonZeroUsize::get),
        devices: launch.devices(),
        ..LocalExecutor::default()
    };
    tell(&format!("{} runs to verify on {}", plan.runs.len(), launch.device_words()));
    let interrupt = Interrupt::on_signals()?;
    let mut progress = Progress::new(&plan.runs, 0);
    let mut observe = |run: &PlannedRun, notice: Notice<'_>| launch::show(&mut progress, run, notice);
    let command = |assignment: &Assignment<'_>| launch.command(assignment);
    let share = Share::all(store, &plan.runs)?;
    let finish = executor.run_share(store, share, &interrupt, command, &mut observe);
    progress.close();
    Ok(finish?)
}

/// Says of each run whether it came out as recorded.
fn compare(recorded: &[RunResult], store: &RunStore, finish: &Finish) -> anyhow::Result<Exit> {
    let [mut identical, mut different] = [0, 0];
    for (index, result) in recorded.iter().enumerate() {
        let name = format!("{}  {}", result.run_id.short(), label(&result.cell));
        let Some(found) = store.result(&result.run_id)? else {
            let failure = finish.failed.iter().find(|(failed, _)| *failed == index);
            let reason = failure.map_or("it did not end".to_owned(), |(_, failure)| failure.message.clone());
            say_line(&format!("{name}  not run: {reason}"));
            continue;
        };
        let Some(difference) = result.difference(&found) else {
            identical += 1;
            say_line(&format!("{name}  identical"));
            continue;
        };
        different += 1;
        say_line(&format!("{name}  DIFFERENT"));
        say_line(&format!("  {}", place(&difference.place, &result.history)));
        say_line(&format!("    recorded  {}", difference.first));
        say_line(&format!("    here      {}", difference.other));
        for line in origins(&result.provenance, &found.provenance) {
            say_line(&format!("  {line}"));
        }
    }
    let missing = recorded.len() - identical - different;
    let mut sums = format!("{identical} of {} runs are identical", recorded.len());
    if different > 0 {
        let _ = write!(sums, ", {different} differ");
    }
    if missing > 0 {
        let _ = write!(sums, ", {missing} were not run");
    }
    say_line(&sums);
    Ok(match (finish.interrupted, different, missing) {
        (true, ..) => Exit::Interrupted,
        (false, 1.., _) => Exit::Different,
        (false, 0, 1..) => Exit::SomeFailed,
        (false, 0, 0) => Exit::Done,
    })
}

/// `history[1].val_loss` with the epoch that it is about.
fn place(place: &str, history: &[lrlab_runs::EpochMetrics]) -> String {
    let epoch = place
        .strip_prefix("history[")
        .and_then(|rest| rest.split(']').next()?.parse::<usize>().ok())
        .map(|index| history.get(index).map_or(index as u64 + 1, |metrics| metrics.epoch));
    epoch.map_or_else(|| place.to_owned(), |epoch| format!("epoch {epoch}: {place}"))
}

/// What differs in where two results come from.
fn origins(recorded: &Provenance, here: &Provenance) -> Vec<String> {
    let values = [recorded, here].map(|provenance| serde_json::to_value(provenance).unwrap_or_default());
    let keys = ["numerics", "device", "versions", "commit", "dirty", "build", "host", "threads"];
    let differing = keys.into_iter().filter(|key| values[0][key] != values[1][key]);
    differing.map(|key| format!("{key}: recorded {}, here {}", values[0][key], values[1][key])).collect()
}
