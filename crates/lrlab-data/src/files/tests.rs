//! Tables with every kind of error, and the real data if it is available.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::{ImageFormat, Rgb, RgbImage};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::{Columns, cifar10, imdb};
use crate::Error;

mod download;
mod real;

const PICTURES: &str = "message m { optional group img { optional binary bytes; } optional int64 label; }";
const TEXTS: &str = "message m { optional binary text (UTF8); optional int64 label; }";

fn read_pictures(files: &[PathBuf], wanted: Option<&[u32]>) -> Result<(Vec<u32>, Vec<u8>), Error> {
    let mut pixels = Vec::new();
    let labels = cifar10::read(&cifar10::Format::cifar10(), files, wanted, &mut |pictures| {
        pixels.extend_from_slice(pictures);
        Ok(())
    })?;
    Ok((labels, pixels))
}

fn read_texts(files: &[PathBuf]) -> Result<(Vec<u32>, Vec<String>), Error> {
    let mut texts = Vec::new();
    let labels = imdb::read(files, &Columns::default(), imdb::CLASSES, &mut |text| {
        texts.push(text.to_owned());
        Ok(())
    })?;
    Ok((labels, texts))
}

/// Writes a table of one column of bytes and one of labels, two rows to a group. `None` is null.
pub(super) fn write_table(path: &Path, schema: &str, bytes: &[Option<&[u8]>], labels: &[i64]) {
    let file = std::fs::File::create(path).unwrap();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(WriterProperties::default())).unwrap();
    for (bytes, labels) in bytes.chunks(2).zip(labels.chunks(2)) {
        let mut group = writer.next_row_group().unwrap();
        while let Some(mut column) = group.next_column().unwrap() {
            match column.untyped() {
                ColumnWriter::ByteArrayColumnWriter(writer) => {
                    let level = writer.get_descriptor().max_def_level();
                    let values: Vec<ByteArray> =
                        bytes.iter().flatten().map(|value| ByteArray::from(value.to_vec())).collect();
                    let levels: Vec<i16> =
                        bytes.iter().map(|value| level * i16::from(value.is_some())).collect();
                    writer.write_batch(&values, Some(&levels), None).unwrap();
                }
                ColumnWriter::Int64ColumnWriter(writer) => {
                    let levels = vec![writer.get_descriptor().max_def_level(); labels.len()];
                    writer.write_batch(labels, Some(&levels), None).unwrap();
                }
                _ => unreachable!(),
            }
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
}

/// A picture whose red is 8 × column and whose green is 8 × row.
fn ramp(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let picture = RgbImage::from_fn(width, height, |x, y| Rgb([8 * x as u8, 8 * y as u8, 77]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn pictures(&self, rows: &[Option<&[u8]>], labels: &[i64]) -> PathBuf {
        let path = self.0.path().join("pictures.parquet");
        write_table(&path, PICTURES, rows, labels);
        path
    }

    fn texts(&self, rows: &[Option<&[u8]>], labels: &[i64]) -> PathBuf {
        let path = self.0.path().join("texts.parquet");
        write_table(&path, TEXTS, rows, labels);
        path
    }
}

#[test]
fn pictures_are_decoded_upright() {
    let folder = Folder::new();
    let png = ramp(32, 32, ImageFormat::Png);
    let path = folder.pictures(&[Some(&png), Some(&png), Some(&png)], &[3, 9, 0]);
    let (labels, pixels) = read_pictures(&[path], Some(&[1])).unwrap();
    assert_eq!(labels, [3, 9, 0]);
    assert_eq!(pixels.len(), 3 * 32 * 32);
    for y in 0..32 {
        for x in 0..32 {
            let position = y * 32 + x;
            let found = [pixels[position], pixels[1024 + position], pixels[2048 + position]];
            assert_eq!(found, [8 * x as u8, 8 * y as u8, 77], "row {y}, column {x}");
        }
    }
}

#[test]
fn rows_of_several_files_are_concatenated() {
    let (one, two) = (Folder::new(), Folder::new());
    let (png, jpeg) = (ramp(32, 32, ImageFormat::Png), ramp(32, 32, ImageFormat::Jpeg));
    let first = one.pictures(&[Some(&png), Some(&jpeg), Some(&png)], &[1, 2, 3]);
    let second = two.pictures(&[Some(&jpeg), Some(&png)], &[4, 5]);
    let files = [first, second];
    let (labels, all) = read_pictures(&files, None).unwrap();
    assert_eq!(labels, [1, 2, 3, 4, 5]);
    let (_, some) = read_pictures(&files, Some(&[1, 3, 4])).unwrap();
    let picture = |row: usize| &all[row * cifar10::BYTES..][..cifar10::BYTES];
    assert_eq!(some, [picture(1), picture(3), picture(4)].concat());
    assert_ne!(picture(0), picture(1), "lossless and lossy copies differ");
}

/// Errors name the file and the row.
#[test]
fn errors_of_invalid_tables() {
    let folder = Folder::new();
    let png = ramp(32, 32, ImageFormat::Png);
    let small = ramp(31, 32, ImageFormat::Png);
    let broken = &png[..40];
    let good = Some(&png[..]);
    let check = |found: Error, expected: &str, path: &Path| {
        let text = found.to_string();
        assert!(text.contains(expected) && text.starts_with(&path.display().to_string()), "{text}");
    };
    let picture = |rows: &[Option<&[u8]>], labels: &[i64], expected: &str| {
        let path = folder.pictures(rows, labels);
        check(read_pictures(std::slice::from_ref(&path), None).unwrap_err(), expected, &path);
    };
    picture(&[good, good, Some(broken)], &[0, 0, 0], "row 2: the picture does not decode");
    picture(&[good, Some(b"no picture")], &[0, 0], "row 1: the picture does not decode");
    picture(&[good, Some(&small)], &[0, 0], "row 1: the picture is 31 × 32 pixels, expected 32 × 32");
    picture(&[good, good, good], &[0, 9, 10], "row 2: label 10 is out of range 0 … 9");
    picture(&[good, good], &[0, -1], "row 1: label -1 is out of range");
    picture(&[good, good, good, None], &[0; 4], "row 3: column \"img.bytes\" is null");

    let text = |rows: &[Option<&[u8]>], labels: &[i64], expected: &str| {
        let path = folder.texts(rows, labels);
        check(read_texts(std::slice::from_ref(&path)).unwrap_err(), expected, &path);
    };
    text(&[Some(b"fine"), Some(b" \n")], &[0, 1], "row 1: the text is empty");
    text(&[Some(b"fine"), Some(b"")], &[0, 1], "row 1: the text is empty");
    text(&[Some(b"a"), Some(b"b"), Some(b"\xFFc")], &[0, 1, 1], "row 2: the text is not UTF-8");
    text(&[Some(b"fine")], &[2], "row 0: label 2 is out of range 0 … 1");
    text(&[None], &[0], "row 0: column \"text\" is null");

    let path = folder.texts(&[Some(b"fine")], &[0]);
    let found = read_pictures(std::slice::from_ref(&path), None).unwrap_err();
    check(found, "no column of pictures: expected one named \"img\"", &path);
    let path = folder.0.path().join("types.parquet");
    write_table(&path, "message m { required int64 text; required int64 label; }", &[Some(b"")], &[0]);
    check(
        read_texts(std::slice::from_ref(&path)).unwrap_err(),
        "column \"text\" holds INT64, expected strings",
        &path,
    );
    let path = folder.0.path().join("gone.parquet");
    let found = read_texts(std::slice::from_ref(&path)).unwrap_err();
    assert!(matches!(found, Error::Io { path: ref at, .. } if *at == path), "{found}");
}

/// A table that is truncated anywhere, or with any byte changed, gives an error or a valid content.
#[test]
fn damaged_tables_never_panic() {
    let folder = Folder::new();
    let rows: Vec<Vec<u8>> = (0..6).map(|i| format!("review number {i} is fine").into_bytes()).collect();
    let rows: Vec<Option<&[u8]>> = rows.iter().map(|row| Some(&row[..])).collect();
    let path = folder.texts(&rows, &[0, 1, 0, 1, 0, 1]);
    let whole = std::fs::read(&path).unwrap();
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let found = read_texts(std::slice::from_ref(&path)).unwrap_err();
        assert!(matches!(found, Error::Corrupt { .. }), "cut at {length}: {found}");
    }
    let mut errors = 0;
    for place in 0..whole.len() {
        for change in [0x01, 0x80, 0xFF] {
            let mut bytes = whole.clone();
            bytes[place] ^= change;
            std::fs::write(&path, &bytes).unwrap();
            match read_texts(std::slice::from_ref(&path)) {
                Ok((labels, texts)) => assert_eq!(texts.len(), labels.len(), "byte {place}"),
                Err(_) => errors += 1,
            }
        }
    }
    assert!(errors > whole.len() / 2, "{errors} of {} changes detected", 3 * whole.len());
}
