//! A CSV file with rows in ascending order of their first column that can be truncated at a row.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use crate::Error;

/// Rows by key. The key is a counter and the first column.
#[derive(Debug)]
pub(crate) struct Table {
    path: PathBuf,
    header: Vec<String>,
    writer: Option<csv::Writer<File>>,
}

impl Table {
    pub(crate) fn new(path: PathBuf, header: Vec<String>) -> Self {
        Self { path, header, writer: None }
    }

    /// Adds a column at the end, from the next [`Table::open`] on.
    pub(crate) fn add_column(&mut self, name: &str) {
        self.header.push(name.to_owned());
    }

    /// Rewrites the file with the header, its rows with keys up to `up_to`, and the rows in `known`, which take precedence.
    pub(crate) fn open(&mut self, up_to: u64, known: BTreeMap<u64, Vec<String>>) -> Result<(), Error> {
        let mut rows = if up_to == 0 { BTreeMap::new() } else { self.read(up_to)? };
        rows.extend(known);
        let mut bytes = csv::Writer::from_writer(Vec::new());
        let written = bytes.write_record(&self.header).and_then(|()| {
            rows.iter()
                .try_for_each(|(key, row)| bytes.write_record(std::iter::once(&key.to_string()).chain(row)))
        });
        written.map_err(|e| self.csv_error(e))?;
        let bytes = bytes.into_inner().map_err(|e| Error::io(&self.path, e.into_error()))?;
        lrlab_runs::write_atomic(&self.path, &bytes).map_err(|e| match e {
            lrlab_runs::Error::Io { path, source } => Error::Io { path, source },
            other => Error::io(&self.path, std::io::Error::other(other)),
        })?;
        let file = OpenOptions::new().append(true).open(&self.path).map_err(|e| Error::io(&self.path, e))?;
        self.writer = Some(csv::WriterBuilder::new().has_headers(false).from_writer(file));
        Ok(())
    }

    /// Returns the columns of the file after those of the header; none if the file does not exist.
    pub(crate) fn additional_columns(&self) -> Result<Vec<String>, Error> {
        let bytes = read_if_there(&self.path)?;
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(&bytes[..]);
        let names = reader.headers().map_err(|e| self.csv_error(e))?;
        Ok(names.iter().skip(self.header.len()).map(str::to_owned).collect())
    }

    /// Appends a row. Does nothing before [`Table::open`].
    pub(crate) fn append(&mut self, key: u64, row: &[String]) -> Result<(), Error> {
        let key = key.to_string();
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let written = writer.write_record(std::iter::once(&key).chain(row));
        written.map_err(|e| self.csv_error(e))
    }

    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.flush().map_err(|e| Error::io(&self.path, e))
    }

    /// Reads the rows with keys up to `up_to`; none if the file does not exist. A last line that a crash truncated is ignored.
    /// The cells of columns that were added later are empty.
    fn read(&self, up_to: u64) -> Result<BTreeMap<u64, Vec<String>>, Error> {
        let bytes = read_if_there(&self.path)?;
        let whole = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |end| end + 1);
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(&bytes[..whole]);
        let columns = reader.headers().map_err(|e| self.csv_error(e))?.len();
        let mut rows = BTreeMap::new();
        for record in reader.records() {
            let record = record.map_err(|e| self.csv_error(e))?;
            let key = record.get(0).and_then(|key| key.parse::<u64>().ok());
            if let Some(key) = key.filter(|&key| key <= up_to && record.len() == columns) {
                let mut row: Vec<String> = record.iter().skip(1).map(str::to_owned).collect();
                row.resize(self.header.len() - 1, String::new());
                rows.insert(key, row);
            }
        }
        Ok(rows)
    }

    fn csv_error(&self, error: csv::Error) -> Error {
        Error::io(&self.path, error.into())
    }
}

/// Reads a file; returns no bytes if it does not exist.
pub(crate) fn read_if_there(path: &Path) -> Result<Vec<u8>, Error> {
    match std::fs::read(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(|e| Error::io(path, e)),
    }
}

/// Formats a number as the shortest decimal that parses to it; `None` is empty.
pub(crate) fn cell(value: Option<f64>) -> String {
    value.map(|x| x.to_string()).unwrap_or_default()
}
