//! Parquet files for the tests.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and not each uses everything"
)]

use std::path::Path;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// The values of a column.
pub enum Values {
    Bytes(Vec<Vec<u8>>),
    /// Integers, written with the 32 or 64 bits of the column.
    Whole(Vec<i64>),
    Double(Vec<f64>),
}

/// Writes a table of these columns.
pub fn write(path: &Path, schema: &str, codec: Compression, columns: &[Values]) {
    write_described(path, schema, codec, columns, None);
}

/// Writes a table of these columns, with the metadata `about` of the library `datasets`.
pub fn write_described(
    path: &Path,
    schema: &str,
    codec: Compression,
    columns: &[Values],
    about: Option<&str>,
) {
    let file = std::fs::File::create(path).unwrap();
    let schema = Arc::new(parse_message_type(&format!("message m {{ {schema} }}")).unwrap());
    let about = about.map(|text| vec![KeyValue::new("huggingface".to_owned(), text.to_owned())]);
    let properties =
        Arc::new(WriterProperties::builder().set_compression(codec).set_key_value_metadata(about).build());
    let mut writer = SerializedFileWriter::new(file, schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut columns = columns.iter();
    while let Some(mut column) = group.next_column().unwrap() {
        let levels = |level: i16, n: usize| vec![level; n];
        match (column.untyped(), columns.next().unwrap()) {
            (ColumnWriter::ByteArrayColumnWriter(writer), Values::Bytes(values)) => {
                let about = writer.get_descriptor();
                let (level, lists) = (about.max_def_level(), about.max_rep_level());
                let values: Vec<ByteArray> = values.iter().map(|value| value.clone().into()).collect();
                let starts = vec![0; values.len()];
                let starts = (lists > 0).then_some(&starts[..]);
                writer.write_batch(&values, Some(&levels(level, values.len())), starts).unwrap();
            }
            (ColumnWriter::Int32ColumnWriter(writer), Values::Whole(values)) => {
                let narrow: Vec<i32> = values.iter().map(|&value| value as i32).collect();
                let level = writer.get_descriptor().max_def_level();
                writer.write_batch(&narrow, Some(&levels(level, narrow.len())), None).unwrap();
            }
            (ColumnWriter::Int64ColumnWriter(writer), Values::Whole(values)) => {
                let level = writer.get_descriptor().max_def_level();
                writer.write_batch(values, Some(&levels(level, values.len())), None).unwrap();
            }
            (ColumnWriter::DoubleColumnWriter(writer), Values::Double(values)) => {
                let level = writer.get_descriptor().max_def_level();
                writer.write_batch(values, Some(&levels(level, values.len())), None).unwrap();
            }
            _ => unreachable!("values of another type than the schema's"),
        }
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}
