//! Files of records: finished runs outside of any store, to be kept, sent and published.
//!
//! ```text
//! experiments/results/<experiment>/*.jsonl     one run a line, each a whole result.json, sorted by run_id
//! ```

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use crate::atomic::write_atomic_with;
use crate::error::of_a_line;
use crate::{Conflict, Error, Outcome, RunId, RunResult};

/// A finished run, and where it is on record.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The run.
    pub result: RunResult,
    /// The file.
    pub path: PathBuf,
    /// The line in it, from 1.
    pub line: usize,
}

/// Runs on record, by their ids: at most one of each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Records(BTreeMap<RunId, Record>);

impl Records {
    /// Reads files of records; of a folder, all its `*.jsonl` files in the order of their names. Blank lines are passed
    /// over.
    ///
    /// Of two records of one run that are equal in what runs of one specification share ([`RunResult::difference`]), the
    /// first is kept, with its clocks and its provenance. Of two where a search gave up one, the whole run is kept.
    ///
    /// # Errors
    /// A file that cannot be read; a line that is no record; a file without any, and a folder without such a file; two
    /// records of one run that differ.
    pub fn read(paths: &[PathBuf]) -> Result<Self, Error> {
        let mut records = Self::default();
        for path in paths {
            for file in files(path)? {
                records.read_file(&file)?;
            }
        }
        Ok(records)
    }

    fn read_file(&mut self, path: &Path) -> Result<(), Error> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        let lines = bytes.split(|byte| *byte == b'\n').enumerate();
        let mut lines = lines.filter(|(_, text)| !text.trim_ascii().is_empty()).peekable();
        if lines.peek().is_none() {
            return Err(Error::NoRecords(path.to_path_buf()));
        }
        lines.try_for_each(|(index, text)| {
            let (path, line) = (path.to_path_buf(), index + 1);
            match serde_json::from_slice(text) {
                Ok(result) => self.add(Record { result, path, line }),
                Err(e) => Err(Error::BadRecord { path, line, column: e.column(), why: of_a_line(&e) }),
            }
        })
    }

    fn add(&mut self, record: Record) -> Result<(), Error> {
        let mut known = match self.0.entry(record.result.run_id.clone()) {
            Entry::Vacant(place) => {
                place.insert(record);
                return Ok(());
            }
            Entry::Occupied(known) => known,
        };
        let Some(difference) = known.get().result.difference(&record.result) else { return Ok(()) };
        let pruned = |record: &Record| record.result.outcome == Outcome::Pruned;
        match (pruned(known.get()), pruned(&record)) {
            (true, false) => drop(known.insert(record)),
            (false, true) => {}
            _ => {
                let known = known.get();
                return Err(Error::Conflict(Box::new(Conflict {
                    id: record.result.run_id.into(),
                    first: (known.path.clone(), known.line),
                    other: (record.path, record.line),
                    values: [difference.first.to_string(), difference.other.to_string()],
                    place: difference.place,
                })));
            }
        }
        Ok(())
    }

    /// Keeps those of the runs that `keep` names.
    pub fn retain(&mut self, mut keep: impl FnMut(&RunId) -> bool) {
        self.0.retain(|id, _| keep(id));
    }

    /// The record of a run.
    #[must_use]
    pub fn get(&self, id: &RunId) -> Option<&Record> {
        self.0.get(id)
    }

    /// All of them, sorted by id.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.0.values()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Writes a file of records, sorted by id: equal results give equal bytes.
///
/// # Errors
/// [`Error::Io`]; the file is then as it was.
pub fn write_records<'a>(path: &Path, results: impl IntoIterator<Item = &'a RunResult>) -> Result<(), Error> {
    let mut results: Vec<&RunResult> = results.into_iter().collect();
    results.sort_by_key(|result| &result.run_id);
    write_atomic_with(path, |file| {
        for result in results {
            let mut line = serde_json::to_vec(result).map_err(|e| Error::json(path, e))?;
            line.push(b'\n');
            file.write_all(&line).map_err(|e| Error::io(path, e))?;
        }
        Ok(())
    })
}

/// A file is itself; a folder is its files of records.
fn files(path: &Path) -> Result<Vec<PathBuf>, Error> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let entries = std::fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let paths = entries.map_err(|e| Error::io(path, e))?.into_iter().map(|entry| entry.path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|kind| kind == "jsonl")).collect();
    if files.is_empty() {
        return Err(Error::NoRecords(path.to_path_buf()));
    }
    files.sort();
    Ok(files)
}
