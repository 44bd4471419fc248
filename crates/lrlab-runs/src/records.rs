//! Record files: finished runs outside a store, for archiving and publication.
//!
//! ```text
//! experiments/results/<experiment>/*.jsonl     one run per line, each a complete result.json, sorted by run_id
//! ```

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::atomic::write_atomic_with;
use crate::error::of_a_line;
use crate::{Conflict, Error, RunId, RunResult};

/// The byte-order mark that some editors write at the beginning of a file in UTF-8.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// The first bytes of files compressed by gzip.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// A finished run and its place in a record file.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The run.
    pub result: Arc<RunResult>,
    /// The file.
    pub path: PathBuf,
    /// The line number, from 1.
    pub line: usize,
}

impl Record {
    /// `FILE:LINE`.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}:{}", self.path.display(), self.line)
    }
}

/// Recorded runs by id.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Records(BTreeMap<RunId, Record>);

impl Records {
    /// Reads record files, and all `*.jsonl` files of folders, in the order of their names. Blank lines, byte-order marks and
    /// empty files of folders are skipped.
    ///
    /// If two records of one run do not differ ([`RunResult::difference`]), the first one is kept with its times and its
    /// provenance. If one of them contains the other, which a search pruned ([`RunResult::contains`]), the longer one is kept.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read, a line is not a record, a file has no record, a folder has no record file,
    /// or two records of one run differ.
    pub fn read(paths: &[PathBuf]) -> Result<Self, Error> {
        let mut records = Self::default();
        for path in paths {
            let mut empty = true;
            for file in files(path)? {
                match records.read_file(&file) {
                    // An empty file beside others, such as one that is about to be written.
                    Err(Error::NoRecords(_)) if path.is_dir() => {}
                    read => {
                        read?;
                        empty = false;
                    }
                }
            }
            if empty {
                return Err(Error::NoRecords(path.clone()));
            }
        }
        Ok(records)
    }

    fn read_file(&mut self, path: &Path) -> Result<(), Error> {
        let mut file = BufReader::new(File::open(path).map_err(|e| Error::io(path, e))?);
        let (mut text, mut line, mut empty) = (Vec::new(), 0, true);
        while file.read_until(b'\n', &mut text).map_err(|e| Error::io(path, e))? > 0 {
            line += 1;
            if line == 1 && text.starts_with(GZIP) {
                return Err(Error::CompressedRecords(path.to_path_buf()));
            }
            // Files that were joined may each begin with a mark.
            let record = text.strip_prefix(MARK).unwrap_or(&text);
            if !record.trim_ascii().is_empty() {
                empty = false;
                let path = path.to_path_buf();
                match serde_json::from_slice::<RunResult>(record) {
                    Ok(mut result) => {
                        result.history.shrink_to_fit();
                        self.add(Record { result: Arc::new(result), path, line })?;
                    }
                    Err(e) => {
                        return Err(Error::BadRecord { path, line, column: e.column(), why: of_a_line(&e) });
                    }
                }
            }
            text.clear();
        }
        if empty { Err(Error::NoRecords(path.to_path_buf())) } else { Ok(()) }
    }

    fn add(&mut self, record: Record) -> Result<(), Error> {
        let mut known = match self.0.entry(record.result.run_id.clone()) {
            Entry::Vacant(place) => {
                place.insert(record);
                return Ok(());
            }
            Entry::Occupied(known) => known,
        };
        if known.get().result.contains(&record.result) {
            return Ok(());
        }
        if record.result.contains(&known.get().result) {
            known.insert(record);
            return Ok(());
        }
        let (first, other) = (known.get(), &record);
        let conflict = Conflict::new((&first.result, first.place()), (&other.result, other.place()));
        Err(Error::Conflict(Box::new(conflict)))
    }

    /// Retains the runs for which `keep` returns `true`.
    pub fn retain(&mut self, mut keep: impl FnMut(&RunId) -> bool) {
        self.0.retain(|id, _| keep(id));
    }

    /// Returns the record of a run.
    #[must_use]
    pub fn get(&self, id: &RunId) -> Option<&Record> {
        self.0.get(id)
    }

    /// Iterates over the records, sorted by id.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.0.values()
    }

    /// Returns the number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Writes a record file, sorted by id: equal results give equal bytes.
///
/// # Errors
/// Returns [`Error::Io`] if writing fails; the file is then unchanged.
pub fn write_records<'a>(path: &Path, results: impl IntoIterator<Item = &'a RunResult>) -> Result<(), Error> {
    let mut results: Vec<&RunResult> = results.into_iter().collect();
    results.sort_by_key(|result| &result.run_id);
    write_atomic_with(path, |file| {
        for result in results {
            let mut line = serde_json::to_vec(result)?;
            line.push(b'\n');
            file.write_all(&line)?;
        }
        Ok(())
    })
}

/// Returns whether a file of a folder has records by its name: `*.jsonl`, or `*.jsonl.gz`, which is an error when it is read.
#[must_use]
pub fn is_record_file(path: &Path) -> bool {
    path.file_name().is_some_and(|name| {
        let name = name.to_string_lossy();
        name.ends_with(".jsonl") || name.ends_with(".jsonl.gz")
    })
}

/// Expands a folder to its record files.
fn files(path: &Path) -> Result<Vec<PathBuf>, Error> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let entries = std::fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let paths = entries.map_err(|e| Error::io(path, e))?.into_iter().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = paths.filter(|path| is_record_file(path)).collect();
    if files.is_empty() {
        return Err(Error::NoRecords(path.to_path_buf()));
    }
    files.sort();
    Ok(files)
}
