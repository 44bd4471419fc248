//! Columns of a parquet file, read without arrow.

use std::fs::File;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parquet::basic::{CompressionCodec, ConvertedType, LogicalType, Type};
use parquet::column::reader::{ColumnReaderImpl, get_typed_column_reader};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;

use crate::Error;

/// A required column: its content and its usual names.
pub(crate) struct Wanted {
    what: &'static str,
    /// The key of a source that names the column.
    key: &'static str,
    /// The first one is the name in the original data set, and is preferred.
    names: &'static [&'static str],
    /// The field to read if the column is a struct.
    field: Option<&'static str>,
    kinds: &'static [Kind],
    expected: &'static str,
}

pub(crate) const PICTURES: Wanted = Wanted {
    what: "pictures",
    key: "picture",
    names: &["img", "image", "images", "picture", "pictures"],
    field: Some("bytes"),
    kinds: &[Kind::Binary],
    expected: "encoded pictures as binary values, alone or as the field `bytes` of a struct",
};
pub(crate) const TEXTS: Wanted = Wanted {
    what: "texts",
    key: "text",
    names: &["text", "sentence", "content", "review"],
    field: None,
    kinds: &[Kind::Text, Kind::Binary],
    expected: "strings",
};
pub(crate) const LABELS: Wanted = Wanted {
    what: "labels",
    key: "label",
    names: &["label", "labels", "fine_label", "class", "target", "sentiment"],
    field: None,
    kinds: &[Kind::Signed, Kind::Unsigned],
    expected: "integers, the classes counted from 0",
};

/// The kind of the values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Integers of 8 to 64 bits.
    Signed,
    /// Unsigned integers of 8 to 64 bits.
    Unsigned,
    Text,
    Binary,
    Other,
}

/// The supported compression codecs. The `parquet` crate does not support LZO.
const CODECS: [CompressionCodec; 7] = [
    CompressionCodec::UNCOMPRESSED,
    CompressionCodec::SNAPPY,
    CompressionCodec::GZIP,
    CompressionCodec::BROTLI,
    CompressionCodec::LZ4,
    CompressionCodec::ZSTD,
    CompressionCodec::LZ4_RAW,
];

/// An open parquet file.
pub(crate) struct Table {
    path: PathBuf,
    reader: SerializedFileReader<File>,
}

/// A column of the file.
struct Column {
    index: usize,
    /// The path within the schema.
    name: String,
    physical: Type,
    kind: Kind,
    /// The definition level of a non-null value.
    level: i16,
}

impl Table {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io(path))?;
        match SerializedFileReader::new(file) {
            Ok(reader) => Ok(Self { path: path.to_path_buf(), reader }),
            Err(source) => Err(convert_error(path, None, source)),
        }
    }

    /// Reads a column of labels: signed or unsigned integers of any width.
    pub(crate) fn labels(&self, named: Option<&str>, classes: usize) -> Result<Vec<u32>, Error> {
        let column = self.find(&LABELS, named)?;
        let unsigned = column.kind == Kind::Unsigned;
        let label = |(row, label)| super::label::label(&self.path, row, label, classes);
        if column.physical == Type::INT32 {
            let wide = |value: i32| if unsigned { i128::from(value as u32) } else { i128::from(value) };
            self.column::<Int32Type>(&column)?.into_iter().map(wide).enumerate().map(label).collect()
        } else {
            let wide = |value: i64| if unsigned { i128::from(value as u64) } else { i128::from(value) };
            self.column::<Int64Type>(&column)?.into_iter().map(wide).enumerate().map(label).collect()
        }
    }

    /// Checks that the required column exists and has its type.
    pub(crate) fn check(&self, wanted: &Wanted, named: Option<&str>) -> Result<(), Error> {
        self.find(wanted, named).map(drop)
    }

    /// Reads a column of texts or binary values.
    #[cfg(test)]
    pub(crate) fn bytes(&self, wanted: &Wanted, named: Option<&str>) -> Result<Vec<ByteArray>, Error> {
        self.column::<ByteArrayType>(&self.find(wanted, named)?)
    }

    /// Returns the rows of each row group.
    pub(crate) fn groups(&self) -> Vec<Range<usize>> {
        let mut end = 0;
        let rows = |group: usize| self.reader.metadata().row_group(group).num_rows().max(0) as usize;
        (0..self.reader.num_row_groups())
            .map(|group| {
                let start = end;
                end += rows(group);
                start..end
            })
            .collect()
    }

    /// Reads the values of a column of texts or binary values in a row group, which begins with the row `first`.
    pub(crate) fn group_bytes(
        &self,
        wanted: &Wanted,
        named: Option<&str>,
        (group, first): (usize, usize),
    ) -> Result<Vec<ByteArray>, Error> {
        let column = self.find(wanted, named)?;
        self.catch_panics(&column, || {
            let mut values = Vec::new();
            self.read_group::<ByteArrayType>(&column, group, first, &mut values)?;
            Ok(values)
        })
    }

    /// Returns the names of the classes of the column of labels, as the library `datasets` writes them to the metadata; none
    /// if they are not present.
    pub(crate) fn class_names(&self, named: Option<&str>) -> Result<Vec<String>, Error> {
        let column = self.choose(&LABELS, named)?;
        let metadata = self.reader.metadata().file_metadata().key_value_metadata();
        let text = metadata
            .and_then(|entries| entries.iter().find(|entry| entry.key == "huggingface"))
            .and_then(|entry| entry.value.as_deref());
        let json: serde_json::Value =
            text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let names = json["info"]["features"][column]["names"].as_array().cloned().unwrap_or_default();
        Ok(names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect())
    }

    /// Finds the required column and checks its type.
    fn find(&self, wanted: &Wanted, named: Option<&str>) -> Result<Column, Error> {
        let columns = self.reader.metadata().file_metadata().schema_descr().columns();
        let name = self.choose(wanted, named)?;
        let wrong = |found: String| {
            let (path, column) = (self.path.clone(), name.to_owned());
            Err(Error::ColumnType { path, column, expected: wanted.expected, found })
        };
        let leaves: Vec<_> = columns.iter().enumerate().filter(|(_, leaf)| root(leaf) == name).collect();
        if leaves.iter().any(|(_, leaf)| leaf.max_rep_level() > 0) {
            return wrong("lists".to_owned());
        }
        let matches = |leaf: &ColumnDescriptor| match leaf.path().parts() {
            [_] => true,
            [_, field] => Some(field.as_str()) == wanted.field,
            _ => false,
        };
        let Some((index, leaf)) = leaves.iter().find(|(_, leaf)| matches(leaf)) else {
            let fields: Vec<_> = leaves.iter().map(|(_, leaf)| leaf.path().parts()[1..].join(".")).collect();
            return wrong(format!("a struct of {}", fields.join(", ")));
        };
        let kind = kind(leaf);
        if wanted.what == LABELS.what && matches!(kind, Kind::Text | Kind::Binary) {
            return Err(Error::LabelNames { path: self.path.clone(), column: name.to_owned() });
        }
        if !wanted.kinds.contains(&kind) {
            return wrong(type_name(leaf));
        }
        let (name, physical, level) = (leaf.path().string(), leaf.physical_type(), leaf.max_def_level());
        Ok(Column { index: *index, name, physical, kind, level })
    }

    /// Returns the column called `named`; without such a name, the preferred one if it exists, and otherwise the only usual
    /// one that exists.
    fn choose(&self, wanted: &Wanted, named: Option<&str>) -> Result<&str, Error> {
        let columns = self.reader.metadata().file_metadata().schema_descr().columns();
        let mut present: Vec<&str> = columns.iter().map(|leaf| root(leaf)).collect();
        present.dedup();
        if let Some(preferred) = present.iter().find(|name| **name == named.unwrap_or(wanted.names[0])) {
            return Ok(preferred);
        }
        let what = wanted.what;
        if let Some(named) = named {
            let usual = self.choose(wanted, None).ok();
            let meant = lrlab_config::nearest(named, present.iter().copied()).or(usual);
            let advice = match meant {
                Some(name) => format!("name it in the source: {} = {name:?}", wanted.key),
                None => format!("name the column that holds them in the source: {} = \"…\"", wanted.key),
            };
            let found = present.iter().map(|name| (*name).to_owned()).collect();
            let (path, names) = (self.path.clone(), vec![named.to_owned()]);
            return Err(Error::MissingColumn { path, what, names, found, advice: advice.into() });
        }
        let known = |name: &&str| wanted.names.iter().any(|usual| usual.eq_ignore_ascii_case(name));
        let named: Vec<&str> = present.iter().copied().filter(known).collect();
        let (path, key) = (self.path.clone(), wanted.key);
        let found: Vec<String> =
            if named.is_empty() { &present } else { &named }.iter().map(|name| (*name).to_owned()).collect();
        match named[..] {
            [one] => Ok(one),
            [] => {
                let advice = format!(
                    "rename the column that holds them, or name it in a source of the hub: {key} = \"…\""
                );
                Err(Error::MissingColumn { path, what, names: usual(wanted), found, advice: advice.into() })
            }
            _ => Err(Error::AmbiguousColumn { path, what, own: wanted.names[0].to_owned(), key, found }),
        }
    }

    /// Reads all values of a column, by row groups.
    fn column<T: DataType>(&self, column: &Column) -> Result<Vec<T::T>, Error> {
        self.catch_panics(column, || {
            let mut values = Vec::new();
            for group in 0..self.reader.num_row_groups() {
                self.read_group::<T>(column, group, 0, &mut values)?;
            }
            Ok(values)
        })
    }

    /// Calls `read` and returns an error if the `parquet` crate panics, as it does on some damaged files.
    fn catch_panics<T>(&self, column: &Column, read: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
            Err(self.corrupt(None, format!("the structure of column {:?} is damaged", column.name)))
        })
    }

    /// Appends the values of a row group. The first of `values` is of the row `before`.
    fn read_group<T: DataType>(
        &self,
        column: &Column,
        group: usize,
        before: usize,
        values: &mut Vec<T::T>,
    ) -> Result<(), Error> {
        let row = before + values.len();
        let convert_error = |source| convert_error(&self.path, Some(row), source);
        let group = self.reader.get_row_group(group).map_err(convert_error)?;
        let rows = group.metadata().num_rows() as usize;
        let chunk = group.metadata().column(column.index);
        let start = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
        if start < 0 || chunk.compressed_size() < 0 {
            return Err(self.corrupt(Some(row), format!("column {:?} lies outside the file", column.name)));
        }
        let codec = chunk.compression_codec();
        if !CODECS.contains(&codec) {
            return Err(Error::Codec {
                path: self.path.clone(),
                column: column.name.clone(),
                codec: format!("{codec:?}"),
            });
        }
        let reader = group.get_column_reader(column.index).map_err(convert_error)?;
        self.records::<T>(get_typed_column_reader(reader), column, rows, (before, values))
    }

    /// Appends the values of a reader.
    fn records<T: DataType>(
        &self,
        mut reader: ColumnReaderImpl<T>,
        column: &Column,
        rows: usize,
        (before, values): (usize, &mut Vec<T::T>),
    ) -> Result<(), Error> {
        let first = values.len();
        loop {
            let row = before + values.len();
            let mut levels = Vec::new();
            let (records, ..) = reader
                .read_records(1024, Some(&mut levels), None, values)
                .map_err(|source| convert_error(&self.path, Some(row), source))?;
            if let Some(null) = levels.iter().position(|&found| found < column.level) {
                let column = column.name.clone();
                return Err(Error::NullValue { path: self.path.clone(), row: row + null, column });
            }
            if records == 0 {
                let read = values.len() - first;
                if read == rows {
                    return Ok(());
                }
                let short = format!("{read} of {rows} rows of column {:?}", column.name);
                return Err(self.corrupt(Some(row), short));
            }
        }
    }

    fn corrupt(&self, row: Option<usize>, why: String) -> Error {
        Error::Corrupt { path: self.path.clone(), row, source: why.into() }
    }
}

/// Returns the usual names of a column.
fn usual(wanted: &Wanted) -> Vec<String> {
    wanted.names.iter().map(|name| (*name).to_owned()).collect()
}

/// Returns the name of the column that a leaf of the schema belongs to.
fn root(about: &ColumnDescriptor) -> &str {
    about.path().parts().first().map_or("", String::as_str)
}

fn kind(leaf: &ColumnDescriptor) -> Kind {
    use ConvertedType::{
        ENUM, INT_8, INT_16, INT_32, INT_64, JSON, NONE, UINT_8, UINT_16, UINT_32, UINT_64, UTF8,
    };
    let whole = |signed: bool| if signed { Kind::Signed } else { Kind::Unsigned };
    match (leaf.physical_type(), leaf.logical_type_ref(), leaf.converted_type()) {
        (Type::INT32 | Type::INT64, Some(LogicalType::Integer(about)), _) => whole(about.is_signed),
        (Type::INT32 | Type::INT64, None, NONE | INT_8 | INT_16 | INT_32 | INT_64) => whole(true),
        (Type::INT32 | Type::INT64, None, UINT_8 | UINT_16 | UINT_32 | UINT_64) => whole(false),
        (Type::BYTE_ARRAY, Some(LogicalType::String | LogicalType::Enum | LogicalType::Json), _)
        | (Type::BYTE_ARRAY, None, UTF8 | ENUM | JSON) => Kind::Text,
        (Type::BYTE_ARRAY, None, NONE) => Kind::Binary,
        _ => Kind::Other,
    }
}

/// Returns the name of a type, such as `INT32 (DATE)`.
fn type_name(leaf: &ColumnDescriptor) -> String {
    let (physical, converted) = (leaf.physical_type(), leaf.converted_type());
    match leaf.logical_type_ref() {
        _ if converted != ConvertedType::NONE => format!("{physical} ({converted})"),
        Some(LogicalType::Timestamp(_)) => format!("{physical} (TIMESTAMP)"),
        Some(LogicalType::Time(_)) => format!("{physical} (TIME)"),
        Some(LogicalType::Float16) => format!("{physical} (FLOAT16)"),
        Some(LogicalType::Uuid) => format!("{physical} (UUID)"),
        Some(LogicalType::Unknown) => format!("{physical} (UNKNOWN)"),
        _ => physical.to_string(),
    }
}

/// Converts an error of the `parquet` crate, and distinguishes unsupported features from damage.
fn convert_error(path: &Path, row: Option<usize>, source: ParquetError) -> Error {
    let path = path.to_path_buf();
    let is_unsupported = |text: &str| text.contains("not supported") || text.contains("is disabled");
    match &source {
        ParquetError::NYI(_) => Error::Unsupported { path, source: source.into() },
        ParquetError::General(text) if is_unsupported(text) => {
            Error::Unsupported { path, source: source.into() }
        }
        _ => Error::Corrupt { path, row, source: source.into() },
    }
}
