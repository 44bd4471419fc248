//! `lrlab records`: moves finished runs between stores and files of records.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use lrlab_grid::RunState;
use lrlab_options::{STORE, Selection, store_folder};
use lrlab_runs::{Records, RunId, RunResult, RunStore, folder_of, lock_folder, write_records};

use super::on_record::{self, check_conflicts, import_all, superseded};
use super::print_line;
use super::resolve::{read_trained, resolve_stored};
use super::results::finished;
use crate::program::program;
use crate::progress::{counted, eprint_line};
use crate::{Exit, Registry};

#[derive(Debug, Args)]
pub(crate) struct RecordsArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write the finished runs of an experiment from the store to a file. Equal results give equal bytes.
    Export(ExportArgs),
    /// Import the runs of files into the store, where they count as done and take the place of damaged results. If a result
    /// differs from the one in the store, nothing is imported.
    Import(ImportArgs),
    /// Merge files. Duplicates are dropped, and so are runs that a search pruned if a longer record continues them; if two
    /// records of a run differ, nothing is written.
    Merge(MergeArgs),
}

#[derive(Debug, Args)]
struct ExportArgs {
    #[command(flatten)]
    selection: Selection,
    /// The file, such as experiments/results/quickstart/runs.jsonl. Other runs in an existing
    /// file are kept; a different result of an exported run is an error.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

#[derive(Debug, Args)]
struct ImportArgs {
    /// Files of records, or folders of *.jsonl files.
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// The store. `gc` removes imported runs unless a `run` of their experiment refers to them.
    #[arg(long, value_name = "DIR", default_value = STORE, value_parser = store_folder())]
    out: PathBuf,
}

#[derive(Debug, Args)]
struct MergeArgs {
    /// Files of records, or folders of *.jsonl files.
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// The file. Runs in an existing file are merged too.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

pub(crate) fn records(args: &RecordsArgs, registry: &Registry) -> anyhow::Result<Exit> {
    match &args.verb {
        Verb::Export(args) => export(args, registry),
        Verb::Import(args) => import(args),
        Verb::Merge(args) => merge(args),
    }
}

fn export(args: &ExportArgs, registry: &Registry) -> anyhow::Result<Exit> {
    let experiment = read_trained(&args.selection, registry, &Records::default())?;
    let plan = resolve_stored(&experiment, &args.selection, registry)?;
    let store = RunStore::new(&args.selection.out);
    let results: Vec<RunResult> = finished(&plan, &store).into_iter().map(|(_, result)| result).collect();
    let (_, states) = lrlab_grid::status(&store, &plan)?;
    // A search does not need all seeds of all trials.
    let planned = states.iter().filter(|state| **state != RunState::Unneeded).count();
    let (file, out) = (args.selection.experiment.display(), args.selection.out.display());
    if results.is_empty() {
        bail!(
            "none of the {planned} runs of {file} is finished in {out}; `{} run {file} --out {out}` trains them",
            program()
        );
    }
    // Several exports to one file lose nothing.
    let _lock = lock_folder(folder_of(&args.to))?;
    let all = merged(&args.to, &store, &results)?;
    check_beside(&args.to, &store, &results)?;
    write_records(&args.to, all.values())?;
    if results.len() < planned {
        let missing = planned - results.len();
        eprint_line(&format!("note: {missing} of {planned} runs are not finished and not in the file"));
    }
    let others = all.len() - results.len();
    if others > 0 {
        eprint_line(&format!("note: {} keeps {}", args.to.display(), counted(others, "other run")));
    }
    print_line(&format!("{} of {} in {}", counted(results.len(), "run"), plan.experiment, args.to.display()));
    Ok(Exit::Done)
}

/// Rejects results that differ from those in other files of records in the folder of `path`, which are read together with it.
fn check_beside(path: &Path, store: &RunStore, results: &[RunResult]) -> anyhow::Result<()> {
    let folder = folder_of(path);
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let others = entries.with_context(|| folder.display().to_string())?.into_iter().map(|entry| entry.path());
    let others: Vec<PathBuf> = others
        .filter(|other| lrlab_runs::is_record_file(other) && other.file_name() != path.file_name())
        .collect();
    // Commands that read the folder report files that are not records.
    let Ok(mut records) = on_record::read(&others) else { return Ok(()) };
    let ids: BTreeSet<&RunId> = results.iter().map(|result| &result.run_id).collect();
    records.retain(|id| ids.contains(id));
    check_conflicts(store, &records, ", or export to another folder")
}

/// Returns the runs of a file of records, updated with `results` of the store. Two different results of a run are an
/// error, unless a search pruned one of them and the other contains it, which is then used.
fn merged(
    path: &Path,
    store: &RunStore,
    results: &[RunResult],
) -> anyhow::Result<BTreeMap<RunId, RunResult>> {
    let mut records = existing(path)?.unwrap_or_default();
    let superseded = superseded(store, &records)?;
    records.retain(|id| !superseded.contains(id) || results.iter().all(|result| result.run_id != *id));
    check_conflicts(store, &records, "")?;
    let before = records.iter().map(|record| (record.result.run_id.clone(), (*record.result).clone()));
    let mut all: BTreeMap<RunId, RunResult> = before.collect();
    for result in results {
        if all.get(&result.run_id).is_none_or(|known| result.contains(known)) {
            all.insert(result.run_id.clone(), result.clone());
        }
    }
    Ok(all)
}

/// Reads the file of records that is about to be written; `None` if it does not exist or is empty.
fn existing(path: &Path) -> anyhow::Result<Option<Records>> {
    if !path.exists() {
        return Ok(None);
    }
    if !path.is_file() {
        bail!("--to {}: is a folder, a device or a pipe, expected a file or a new path", path.display());
    }
    match on_record::read(&[path.to_path_buf()]) {
        Err(error) if matches!(error.downcast_ref(), Some(lrlab_runs::Error::NoRecords(_))) => Ok(None),
        read => Ok(Some(read.with_context(|| {
            format!("--to {} is not a file of records and is not replaced", path.display())
        })?)),
    }
}

fn import(args: &ImportArgs) -> anyhow::Result<Exit> {
    let (store, records) = (RunStore::new(&args.out), on_record::read(&args.paths)?);
    check_conflicts(&store, &records, "")?;
    let new = import_all(&store, &records)?;
    let existing = records.len() - new;
    print_line(&format!(
        "imported {} into {}, {existing} already there",
        counted(new, "run"),
        args.out.display()
    ));
    Ok(Exit::Done)
}

fn merge(args: &MergeArgs) -> anyhow::Result<Exit> {
    // Before the folder of the new file is created.
    let mut records = on_record::read(&args.paths)?;
    let _lock = lock_folder(folder_of(&args.to))?;
    if existing(&args.to)?.is_some() {
        let mut paths = args.paths.clone();
        if !paths.contains(&args.to) {
            paths.push(args.to.clone());
        }
        records = on_record::read(&paths)?;
    }
    write_records(&args.to, records.iter().map(|record| &*record.result))?;
    print_line(&format!("{} in {}", counted(records.len(), "run"), args.to.display()));
    Ok(Exit::Done)
}
