//! A CSV file that grows by rows in the order of their first column and can be taken back to an earlier row.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use crate::Error;

/// Rows by key. The key, a counter, is the first column.
#[derive(Debug)]
pub(crate) struct Table {
    path: PathBuf,
    header: Vec<&'static str>,
    writer: Option<csv::Writer<File>>,
}

impl Table {
    pub(crate) fn new(path: PathBuf, header: Vec<&'static str>) -> Self {
        Self { path, header, writer: None }
    }

    /// Begins the file with the header, the rows it has up to and with key `upto`, and `known` ones, which win.
    pub(crate) fn open(&mut self, upto: u64, known: BTreeMap<u64, Vec<String>>) -> Result<(), Error> {
        let mut rows = if upto == 0 { BTreeMap::new() } else { self.read(upto)? };
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

    /// One more row. Does nothing before [`Table::open`].
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

    /// Rows of the file as it is, up to and with key `upto`. A file that is not there has none; a last line cut
    /// short by a crash is not a row.
    fn read(&self, upto: u64) -> Result<BTreeMap<u64, Vec<String>>, Error> {
        let bytes = read_if_there(&self.path)?;
        let whole = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |end| end + 1);
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(&bytes[..whole]);
        let mut rows = BTreeMap::new();
        for record in reader.records() {
            let record = record.map_err(|e| self.csv_error(e))?;
            let key = record.get(0).and_then(|key| key.parse::<u64>().ok());
            if let Some(key) = key.filter(|&key| key <= upto && record.len() == self.header.len()) {
                rows.insert(key, record.iter().skip(1).map(str::to_owned).collect());
            }
        }
        Ok(rows)
    }

    fn csv_error(&self, error: csv::Error) -> Error {
        Error::io(&self.path, error.into())
    }
}

/// The bytes of a file; none where there is no file.
pub(crate) fn read_if_there(path: &Path) -> Result<Vec<u8>, Error> {
    match std::fs::read(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(|e| Error::io(path, e)),
    }
}

/// A number as a cell: the shortest decimal that reads back to it, empty where there is none.
pub(crate) fn cell(value: Option<f64>) -> String {
    value.map(|x| x.to_string()).unwrap_or_default()
}
