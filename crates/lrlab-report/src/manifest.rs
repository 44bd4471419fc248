//! `manifest.json`: the runs behind every number in the tables with the digests of their results, and the report's files
//! with their digests, by which the next report recognises them.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::Path;
use std::sync::Arc;

use lrlab_runs::{Cell, RunId, write_atomic_with};
use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::figure::FOREST;
use crate::search::trial_runs;
use crate::table::TableCell;
use crate::{Error, Figure, Report, State, Table, TrialReport, forest};

/// The file name.
pub(crate) const MANIFEST: &str = "manifest.json";
/// The format identifier in the file. In version 1, every number had its own list of runs.
pub(crate) const FORMAT: &str = "lrlab report manifest v2";
/// The earlier format identifiers.
pub(crate) const EARLIER: [&str; 1] = ["lrlab report manifest v1"];

/// The contents of the manifest except its list of files: one line per run, set of runs, number and figure, so that the file can be
/// searched and compared line by line. To limit memory use, the lines are generated while they are written.
pub(crate) struct Manifest<'a> {
    pub(crate) report: &'a Report,
    pub(crate) numbers: Numbers<'a>,
    pub(crate) figures: &'a [Figure],
}

impl Manifest<'_> {
    /// Writes the manifest. `files` are the report's files with their digests.
    pub(crate) fn write(&self, path: &Path, files: &[(String, String)]) -> Result<(), Error> {
        Ok(write_atomic_with(path, |out| self.lines(out, files))?)
    }

    /// Writes a temporary manifest with only the list of files, for the time in which they are replaced.
    pub(crate) fn write_files(path: &Path, files: &[(String, String)]) -> Result<(), Error> {
        Ok(write_atomic_with(path, |out| {
            writeln!(out, "{{\n\"format\": \"{FORMAT}\",")?;
            file_lines(out, files)
        })?)
    }

    fn lines(&self, out: &mut dyn Write, files: &[(String, String)]) -> io::Result<()> {
        let Self { report, numbers, figures } = self;
        writeln!(out, "{{\n\"format\": \"{FORMAT}\",")?;
        for (key, value) in [
            ("experiment", serde_json::to_string(&report.experiment)?),
            ("counts", serde_json::to_string(&report.counts)?),
            ("origin", serde_json::to_string(&report.origin)?),
        ] {
            writeln!(out, "\"{key}\": {value},")?;
        }
        section(out, "runs", runs(report), ",")?;
        section(out, "run_sets", numbers.sets.sets.iter(), ",")?;
        numbers.write(out)?;
        let drawn =
            |name: &str, caption: &str| json!({ "file": format!("figures/{name}.svg"), "caption": caption });
        let forest = forest(report).map(|it| drawn(FOREST, &it.caption));
        let figures = figures.iter().map(|it| drawn(&it.name, &it.caption));
        section(out, "figures", forest.into_iter().chain(figures), ",")?;
        file_lines(out, files)
    }
}

fn file_lines(out: &mut dyn Write, files: &[(String, String)]) -> io::Result<()> {
    let file = |(name, digest): &(String, String)| json!({ "file": name, "blake3": digest });
    section(out, "files", files.iter().map(file), "")?;
    writeln!(out, "}}")
}

fn section(
    out: &mut dyn Write,
    name: &str,
    lines: impl Iterator<Item = impl Serialize>,
    end: &str,
) -> io::Result<()> {
    writeln!(out, "\"{name}\": [")?;
    for (i, line) in lines.enumerate() {
        out.write_all(separator(i))?;
        serde_json::to_writer(&mut *out, &line)?;
    }
    writeln!(out, "\n]{end}")
}

/// What stands before an entry of a list.
fn separator(index: usize) -> &'static [u8] {
    if index == 0 { b"" } else { b",\n" }
}

/// The runs of arms, then the other runs of trials. A run of an arm whose search has no winner has the state that it has
/// as a trial.
fn runs(report: &Report) -> impl Iterator<Item = Json> {
    let mut trials = trial_runs(&report.searches);
    let of_arms: Vec<Json> = report
        .runs()
        .map(|run| match trials.remove(&run.id) {
            Some(trial) if run.result().is_none() => {
                entry(Some(&run.id), trial.word(), &run.cell, &trial.state)
            }
            _ => entry(run.identified.then_some(&run.id), run.word(), &run.cell, &run.state),
        })
        .collect();
    let others = trials.into_values().map(|run| entry(Some(&run.id), run.word(), &run.cell, &run.state));
    of_arms.into_iter().chain(others)
}

fn entry(id: Option<&RunId>, word: &str, cell: &Cell, state: &State) -> Json {
    json!({ "run_id": id, "state": word, "cell": cell, "result_blake3": state.digest() })
}

/// A number of a table.
#[derive(Serialize)]
struct Number<'a> {
    column: &'a str,
    row: usize,
    /// The index of its runs in `run_sets`, from 0.
    run_set: usize,
    shown: String,
    table: String,
    value: Option<f64>,
}

/// The numbers of the tables that are computed from runs, one line each in a temporary file, so that a long table need not
/// stay in memory.
pub(crate) struct Numbers<'a> {
    sets: RunSets<'a>,
    lines: File,
    count: usize,
}

impl<'a> Numbers<'a> {
    /// No numbers yet of a report's tables. `lines` is an empty file.
    pub(crate) fn new(report: &'a Report, lines: File) -> Self {
        Self { sets: RunSets::new(report), lines, count: 0 }
    }

    /// Adds the numbers of a table.
    pub(crate) fn add(&mut self, table: &Table) -> io::Result<()> {
        let Self { sets, lines, count } = self;
        let mut out = BufWriter::new(&*lines);
        let file = format!("tables/{}.csv", table.name);
        let mut last: Option<(&Arc<[RunId]>, usize)> = None;
        for (row, it) in table.rows.iter().enumerate() {
            let cells = table.columns.iter().zip(&it.cells).filter(|(_, cell)| !cell.runs.is_empty());
            for (column, TableCell { value, runs, .. }) in cells {
                // The cells of a row share their runs.
                let run_set = match last {
                    Some((shared, index)) if Arc::ptr_eq(shared, runs) => index,
                    _ => sets.index(runs),
                };
                last = Some((runs, run_set));
                let number = Number {
                    column: &column.key,
                    row: row + 1,
                    run_set,
                    shown: value.to_string(),
                    table: file.clone(),
                    value: value.sort_key().filter(|x| x.is_finite()),
                };
                out.write_all(separator(*count))?;
                serde_json::to_writer(&mut out, &number)?;
                *count += 1;
            }
        }
        out.flush()
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "\"numbers\": [")?;
        let mut lines = &self.lines;
        lines.rewind()?;
        io::copy(&mut lines, out)?;
        writeln!(out, "\n],")
    }
}

/// The different sets of runs from which numbers are computed, each once.
struct RunSets<'a> {
    /// The runs with an id.
    known: HashSet<&'a RunId>,
    sets: Vec<Vec<&'a RunId>>,
    indices: HashMap<Vec<&'a RunId>, usize>,
}

impl<'a> RunSets<'a> {
    fn new(report: &'a Report) -> Self {
        let runs = report.runs().filter(|run| run.identified).map(|run| &run.id);
        let trials = report.searches.iter().flat_map(|search| &search.trials);
        let known = runs.chain(trials.flat_map(TrialReport::ids)).collect();
        Self { known, sets: Vec::new(), indices: HashMap::new() }
    }

    /// The index of the set of those `runs` that have an id.
    fn index(&mut self, runs: &[RunId]) -> usize {
        let set: Vec<&RunId> = runs.iter().filter_map(|id| self.known.get(id).copied()).collect();
        *self.indices.entry(set).or_insert_with_key(|set| {
            self.sets.push(set.clone());
            self.sets.len() - 1
        })
    }
}
