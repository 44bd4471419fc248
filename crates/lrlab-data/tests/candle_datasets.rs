//! Comparison with the loaders of `candle-datasets`: the binary version is bit-identical, and the parquet loader of
//! `candle-datasets` 0.11 exchanges rows and columns.
#![allow(clippy::unwrap_used, reason = "panics fail the test")]
#![cfg(all(feature = "candle-datasets", feature = "hub"))]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use candle_core::Tensor;
use candle_datasets::vision::cifar;
use lrlab_data::{DataConfig, Dataset, Error, Files, Source, Validation, load};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

const ROWS: usize = 10_000;
const ROW: usize = 3073;
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Writes six files of 10,000 different pictures each.
fn binary_version(folder: &Path) -> DataConfig {
    let names = (1..=5).map(|file| format!("data_batch_{file}.bin")).chain(["test_batch.bin".to_owned()]);
    for (file, name) in names.enumerate() {
        let mut bytes = vec![0; ROWS * ROW];
        for (row, picture) in bytes.chunks_exact_mut(ROW).enumerate() {
            picture[0] = (row % 10) as u8;
            for (place, byte) in picture[1..].iter_mut().enumerate() {
                *byte = (place * 7 + row * 31 + file * 101 + (place >> 8) * (row >> 8)) as u8;
            }
            picture[1..5].copy_from_slice(&((file * ROWS + row) as u32).to_le_bytes());
        }
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    // The training split contains every row of the training files, in order.
    DataConfig {
        validation: Some(Validation::TEST_SPLIT),
        ..DataConfig::new(Source::Cifar10(Files::in_folder(folder)), folder.join("cache"))
    }
}

fn bits(images: &Tensor) -> Vec<u32> {
    images.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

fn assert_same(data: &Dataset, expected: &candle_datasets::vision::Dataset) {
    let found = data.to_vision().unwrap().unwrap();
    let labels = |labels: &Tensor| labels.to_vec1::<u8>().unwrap();
    assert_eq!(labels(&found.train_labels), labels(&expected.train_labels));
    assert_eq!(labels(&found.test_labels), labels(&expected.test_labels));
    assert!(bits(&found.train_images) == bits(&expected.train_images), "training pictures differ");
    assert!(bits(&found.test_images) == bits(&expected.test_images), "test pictures differ");
}

/// `load_dir` and `load` give equal pictures, whether `load` uses `load_dir` or reads the files itself, as it does for
/// another number of pictures per file.
#[test]
fn the_binary_version_is_bit_identical() {
    let folder = tempfile::tempdir().unwrap();
    let config = binary_version(folder.path());
    let mut expected = cifar::load_dir(folder.path()).unwrap();
    let data = load(&config).unwrap();
    assert_same(&data, &expected);

    let file = folder.path().join("test_batch.bin");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.truncate((ROWS - 1) * ROW);
    std::fs::write(&file, &bytes).unwrap();
    let data = load(&config).unwrap();
    expected.test_images = expected.test_images.narrow(0, 0, ROWS - 1).unwrap();
    expected.test_labels = expected.test_labels.narrow(0, 0, ROWS - 1).unwrap();
    assert_same(&data, &expected);
    assert!(cifar::load_dir(folder.path()).is_err(), "load_dir needs complete files");
}

/// `load_dir` accepts any byte as a label.
#[test]
fn a_label_out_of_range_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let config = binary_version(folder.path());
    let file = folder.path().join("data_batch_3.bin");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[7 * ROW] = 10;
    std::fs::write(&file, bytes).unwrap();
    assert!(cifar::load_dir(folder.path()).is_ok());
    let error = load(&config).unwrap_err();
    assert!(matches!(&error, Error::Label { path, row: 7, label: 10, .. } if *path == file), "{error}");
}

/// Writes CIFAR-10 as on the hub to a new cache: three PNG pictures whose red grows with the column and whose green grows with
/// the row.
fn parquet_version(home: &Path) {
    let repo = home.join("hub/datasets--cifar10");
    std::fs::create_dir_all(repo.join("refs/refs/convert")).unwrap();
    std::fs::write(repo.join("refs/refs/convert/parquet"), COMMIT).unwrap();
    let picture = image::RgbImage::from_fn(32, 32, |x, y| image::Rgb([8 * x as u8, 8 * y as u8, 77]));
    let mut png = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
    let png = png.into_inner();
    let schema = "message m { required group img { required binary bytes; } required int64 label; }";
    for part in ["train", "test"] {
        let file = repo.join("snapshots").join(COMMIT).join("plain_text").join(part).join("0000.parquet");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let file = std::fs::File::create(file).unwrap();
        let mut writer =
            SerializedFileWriter::new(file, schema, Arc::new(WriterProperties::default())).unwrap();
        let mut group = writer.next_row_group().unwrap();
        while let Some(mut column) = group.next_column().unwrap() {
            match column.untyped() {
                ColumnWriter::ByteArrayColumnWriter(writer) => {
                    writer.write_batch(&vec![ByteArray::from(png.clone()); 3], None, None).unwrap()
                }
                ColumnWriter::Int64ColumnWriter(writer) => {
                    writer.write_batch(&[0, 1, 2], None, None).unwrap()
                }
                _ => unreachable!(),
            };
            column.close().unwrap();
        }
        group.close().unwrap();
        writer.close().unwrap();
    }
}

/// `load_parquet` in `candle-datasets` 0.11 reads `image`'s `(row, column, channel)` as `(width, height, channel)` and
/// permutes `(0, 3, 2, 1)`, which gives `(channel, column, row)` instead of `(0, 3, 1, 2)`. When this test fails, the loader
/// can replace ours.
#[test]
fn the_parquet_loader_exchanges_rows_and_columns() {
    if std::env::var_os("LRLAB_CHILD").is_some() {
        let theirs = cifar::load().unwrap();
        let config = DataConfig {
            validation: Some(Validation::TEST_SPLIT),
            ..DataConfig::new(Source::Cifar10(Files::default()), "cache")
        };
        let ours = load(&config).unwrap().to_vision().unwrap().unwrap();
        for (theirs, ours) in
            [(theirs.train_images, ours.train_images), (theirs.test_images, ours.test_images)]
        {
            assert_eq!(ours.dims(), [3, 3, 32, 32]);
            let red: Vec<Vec<f32>> = ours.get(0).unwrap().get(0).unwrap().to_vec2().unwrap();
            assert!(red.iter().all(|row| row.is_sorted_by(|a, b| a < b)), "our red grows with the column");
            assert!(bits(&theirs) != bits(&ours));
            let transposed = theirs.transpose(2, 3).unwrap().contiguous().unwrap();
            assert!(bits(&transposed) == bits(&ours), "exchanging rows and columns gives our pictures");
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    parquet_version(&folder.path().join("home"));
    // The environment determines the cache and is shared within a process.
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_parquet_loader_exchanges_rows_and_columns", "--nocapture"])
        .current_dir(folder.path())
        .env_remove("HF_HUB_CACHE")
        .env_remove("HUGGINGFACE_HUB_CACHE")
        .env("LRLAB_CHILD", "1")
        .env("HF_HOME", "home")
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}
