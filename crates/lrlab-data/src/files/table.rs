//! Columns of a parquet file, read without arrow.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parquet::basic::Type;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::Error;

/// An open parquet file.
pub(crate) struct Table {
    path: PathBuf,
    reader: SerializedFileReader<File>,
}

impl Table {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io(path))?;
        let path = path.to_path_buf();
        match SerializedFileReader::new(file) {
            Ok(reader) => Ok(Self { path, reader }),
            Err(source) => Err(Error::Corrupt { path, row: 0, source: source.into() }),
        }
    }

    /// A column of classes.
    pub(crate) fn labels(&self, column: &'static str, classes: usize) -> Result<Vec<u32>, Error> {
        let labels = self.column(column, Type::INT64, "whole numbers of 64 bits", |reader| match reader {
            ColumnReader::Int64ColumnReader(reader) => Some(reader),
            _ => None,
        })?;
        let label = |(row, label)| super::cifar10::label(&self.path, row, label, classes);
        labels.into_iter().enumerate().map(label).collect()
    }

    /// A column of texts or files.
    pub(crate) fn bytes(&self, column: &'static str) -> Result<Vec<ByteArray>, Error> {
        self.column(column, Type::BYTE_ARRAY, "bytes", |reader| match reader {
            ColumnReader::ByteArrayColumnReader(reader) => Some(reader),
            _ => None,
        })
    }

    /// Every value of a column of `physical` type, row group after row group. The library below asserts some of
    /// what a damaged file breaks: that too is an error here.
    fn column<T: DataType>(
        &self,
        column: &'static str,
        physical: Type,
        expected: &'static str,
        typed: impl Fn(ColumnReader) -> Option<ColumnReaderImpl<T>>,
    ) -> Result<Vec<T::T>, Error> {
        catch_unwind(AssertUnwindSafe(|| self.read_column(column, physical, expected, typed))).unwrap_or_else(
            |_| {
                Err(Error::Corrupt {
                    path: self.path.clone(),
                    row: 0,
                    source: "its structure is damaged".into(),
                })
            },
        )
    }

    fn read_column<T: DataType>(
        &self,
        column: &'static str,
        physical: Type,
        expected: &'static str,
        typed: impl Fn(ColumnReader) -> Option<ColumnReaderImpl<T>>,
    ) -> Result<Vec<T::T>, Error> {
        let path = || self.path.clone();
        let schema = self.reader.metadata().file_metadata().schema_descr();
        let place = schema.columns().iter().position(|c| c.path().string() == column);
        let Some(place) = place else {
            let found = schema.columns().iter().map(|c| c.path().string()).collect();
            return Err(Error::MissingColumn { path: path(), column, found });
        };
        let about = schema.column(place);
        let wrong_type = |found| Error::ColumnType { path: path(), column, expected, found };
        if about.max_rep_level() > 0 {
            return Err(wrong_type("lists".to_owned()));
        }
        if about.physical_type() != physical {
            return Err(wrong_type(about.physical_type().to_string()));
        }
        let mut values = Vec::new();
        for group in 0..self.reader.num_row_groups() {
            let row = values.len();
            let corrupt = |source: parquet::errors::ParquetError| Error::Corrupt {
                path: path(),
                row,
                source: source.into(),
            };
            let group = self.reader.get_row_group(group).map_err(corrupt)?;
            let rows = group.metadata().num_rows() as usize;
            let chunk = group.metadata().column(place);
            let start = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
            if start < 0 || chunk.compressed_size() < 0 {
                return Err(Error::Corrupt {
                    path: path(),
                    row,
                    source: "a column lies outside the file".into(),
                });
            }
            let reader = group.get_column_reader(place).map_err(corrupt)?;
            let Some(reader) = typed(reader) else { return Err(wrong_type("another type".to_owned())) };
            self.group(reader, column, about.max_def_level(), rows, &mut values)?;
        }
        Ok(values)
    }

    /// The values of one row group.
    fn group<T: DataType>(
        &self,
        mut reader: ColumnReaderImpl<T>,
        column: &'static str,
        level: i16,
        rows: usize,
        values: &mut Vec<T::T>,
    ) -> Result<(), Error> {
        let first = values.len();
        loop {
            let row = values.len();
            let corrupt = |source| Error::Corrupt { path: self.path.clone(), row, source };
            let mut levels = Vec::new();
            let (records, ..) =
                reader.read_records(1024, Some(&mut levels), None, values).map_err(|e| corrupt(e.into()))?;
            if let Some(null) = levels.iter().position(|&found| found < level) {
                return Err(Error::NullValue { path: self.path.clone(), row: row + null, column });
            }
            if records == 0 {
                let read = values.len() - first;
                let short = || corrupt(format!("{read} of {rows} rows of column {column:?}").into());
                return if read == rows { Ok(()) } else { Err(short()) };
            }
        }
    }
}
