//! `manifest.json`: the runs behind every number in the tables with the digests of their results, and the report's files
//! with their digests, by which the next report recognises them.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use lrlab_runs::{RunId, write_atomic_with};
use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::figure::FOREST;
use crate::table::TableCell;
use crate::{Column, Error, Figure, Report, Run, State, Table, forest};

/// The file name.
pub(crate) const MANIFEST: &str = "manifest.json";
/// The format identifier in the file. In version 1, every number had its own list of runs.
pub(crate) const FORMAT: &str = "lrlab report manifest v2";
/// The earlier format identifiers.
pub(crate) const EARLIER: [&str; 1] = ["lrlab report manifest v1"];

/// The contents of the manifest except its list of files: one line per run, set of runs, number and figure, so that the file can be
/// searched and compared line by line. It is generated while it is written to limit memory use.
pub(crate) struct Manifest<'a> {
    pub(crate) report: &'a Report,
    pub(crate) tables: &'a [Table],
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
        let Self { report, tables, figures } = *self;
        writeln!(out, "{{\n\"format\": \"{FORMAT}\",")?;
        for (key, value) in [
            ("experiment", serde_json::to_string(&report.experiment)?),
            ("counts", serde_json::to_string(&report.counts)?),
            ("origin", serde_json::to_string(&report.origin)?),
        ] {
            writeln!(out, "\"{key}\": {value},")?;
        }
        section(out, "runs", report.runs().map(run), ",")?;
        let runs = report.runs().filter(|run| run.identified).map(|run| &run.id);
        let trials = report.searches.iter().flat_map(|search| &search.trials);
        let known = runs.chain(trials.flat_map(|trial| &trial.runs)).collect();
        let sets = RunSets::of(numbers(tables), &known);
        section(out, "run_sets", sets.sets.iter(), ",")?;
        let numbers = numbers(tables).zip(sets.of_numbers).map(|(place, set)| Number::new(place, set));
        section(out, "numbers", numbers, ",")?;
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
        out.write_all(if i == 0 { b"" } else { b",\n" })?;
        serde_json::to_writer(&mut *out, &line)?;
    }
    writeln!(out, "\n]{end}")
}

fn run(run: &Run) -> Json {
    let digest = match &run.state {
        State::Done { digest, .. } => Some(digest.as_str()),
        State::Failed { .. } | State::Missing => None,
    };
    let id = run.identified.then_some(&run.id);
    json!({ "run_id": id, "state": run.word(), "cell": run.cell, "result_blake3": digest })
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

impl<'a> Number<'a> {
    fn new((table, row, column, cell): Place<'a>, run_set: usize) -> Self {
        Self {
            column: &column.key,
            row: row + 1,
            run_set,
            shown: cell.value.to_string(),
            table: format!("tables/{}.csv", table.name),
            value: cell.value.sort_key().filter(|x| x.is_finite()),
        }
    }
}

/// A number in the tables: its table, the index of its row, its column and its cell.
type Place<'a> = (&'a Table, usize, &'a Column, &'a TableCell);

/// Every number of the tables that is computed from runs.
fn numbers(tables: &[Table]) -> impl Iterator<Item = Place<'_>> {
    tables.iter().flat_map(|table| {
        table.rows.iter().enumerate().flat_map(move |(row, it)| {
            let cells = table.columns.iter().zip(&it.cells).filter(|(_, cell)| !cell.runs.is_empty());
            cells.map(move |(column, cell)| (table, row, column, cell))
        })
    })
}

/// The different sets of runs from which numbers are computed, each once.
#[derive(Default)]
struct RunSets<'a> {
    sets: Vec<Vec<&'a RunId>>,
    /// The index of every number's set.
    of_numbers: Vec<usize>,
}

impl<'a> RunSets<'a> {
    /// The sets of the numbers' runs, of which only those in `known` have an id.
    fn of(numbers: impl Iterator<Item = Place<'a>>, known: &BTreeSet<&RunId>) -> Self {
        let (mut out, mut places) = (Self::default(), HashMap::new());
        let mut last: Option<(&Arc<[RunId]>, usize)> = None;
        for (.., TableCell { runs, .. }) in numbers {
            // The cells of a row share their runs.
            let index = match last {
                Some((shared, index)) if Arc::ptr_eq(shared, runs) => index,
                _ => {
                    let set: Vec<&RunId> = runs.iter().filter(|id| known.contains(id)).collect();
                    *places.entry(set).or_insert_with_key(|set| {
                        out.sets.push(set.clone());
                        out.sets.len() - 1
                    })
                }
            };
            last = Some((runs, index));
            out.of_numbers.push(index);
        }
        out
    }
}
