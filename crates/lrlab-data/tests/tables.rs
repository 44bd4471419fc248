//! Parquet files with different codecs, label widths, column names and picture formats, and the errors of unsupported ones. Each
//! case is a separate process, because the environment determines the cache.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "panics fail the test")]
#![cfg(feature = "hub")]

mod common;

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use common::{Values, write};
use image::{ImageFormat, Rgb, RgbImage};
use lrlab_data::{DataConfig, Files, Progress, Source, load, verify};
use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};

const ROWS: usize = 20;
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The child process: loads the data set that the parent wrote and prints the result.
#[test]
fn child() {
    let Some(name) = std::env::var_os("LRLAB_CHILD") else { return };
    let source =
        if name == "imdb" { Source::Imdb(Files::default()) } else { Source::Cifar10(Files::default()) };
    let quiet: Progress = Arc::new(|_| ());
    match load(&DataConfig::new(source.clone(), "cache")) {
        Ok(data) => {
            let duplicates = verify(&source, &quiet).unwrap().duplicates;
            println!("RESULT labels {:?} in both {}", data.test.labels(), duplicates.train_test);
        }
        Err(error) => println!("RESULT {error}"),
    }
}

/// A folder with a cache of the hub that contains a training file and a test file of the data set `name`.
struct Cache {
    folder: tempfile::TempDir,
    name: &'static str,
}

impl Cache {
    fn new(name: &'static str) -> Self {
        let cache = Self { folder: tempfile::tempdir().unwrap(), name };
        let refs = cache.repo().join("refs/refs/convert");
        std::fs::create_dir_all(&refs).unwrap();
        std::fs::write(refs.join("parquet"), COMMIT).unwrap();
        for part in ["train", "test"] {
            std::fs::create_dir_all(cache.file(part).parent().unwrap()).unwrap();
        }
        cache
    }

    fn repo(&self) -> PathBuf {
        let repo = if self.name == "imdb" { "datasets--stanfordnlp--imdb" } else { "datasets--cifar10" };
        self.folder.path().join("home/hub").join(repo)
    }

    fn file(&self, part: &str) -> PathBuf {
        self.repo().join("snapshots").join(COMMIT).join("plain_text").join(part).join("0000.parquet")
    }

    /// Returns the result of the child process.
    fn outcome(&self) -> String {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .current_dir(self.folder.path())
            .env_remove("HF_HUB_CACHE")
            .env_remove("HUGGINGFACE_HUB_CACHE")
            .env("HF_HOME", "home")
            .env("HF_HUB_OFFLINE", "1")
            .env("LRLAB_CHILD", self.name)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text.split_once("RESULT ").unwrap().1.lines().next().unwrap().to_owned()
    }
}

fn labels(classes: i64) -> Values {
    Values::Whole((0..ROWS as i64).map(|row| row % classes).collect())
}

fn texts(part: &str) -> Values {
    Values::Bytes((0..ROWS).map(|row| format!("review {row} of {part}, a fine film").into_bytes()).collect())
}

/// Returns a picture for each row, encoded in `format`.
fn pictures(format: ImageFormat) -> Values {
    let picture = |row: usize| {
        let picture = RgbImage::from_fn(32, 32, |x, y| Rgb([8 * x as u8, 8 * y as u8, row as u8]));
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    };
    Values::Bytes((0..ROWS).map(picture).collect())
}

/// Writes reviews with this schema, whose first column contains the texts.
fn reviews(schema: &str, codec: Compression) -> Cache {
    let cache = Cache::new("imdb");
    for part in ["train", "test"] {
        write(&cache.file(part), schema, codec, &[texts(part), labels(2)]);
    }
    cache
}

/// Writes pictures with this schema, whose last column contains the labels.
fn picture_files(schema: &str, columns: impl Fn() -> Vec<Values>) -> Cache {
    let cache = Cache::new("cifar10");
    for part in ["train", "test"] {
        let mut columns = columns();
        columns.push(labels(10));
        write(&cache.file(part), schema, Compression::UNCOMPRESSED, &columns);
    }
    cache
}

const ALTERNATING: &str = "labels [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1] in both 0";
const TEN: &str = "labels [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9] in both 20";
const TEXT_AND_LABEL: &str = "optional binary text (UTF8); optional int64 label;";

#[test]
fn all_codecs_are_supported_except_lzo() {
    for codec in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4,
        Compression::ZSTD(ZstdLevel::default()),
        Compression::LZ4_RAW,
    ] {
        assert_eq!(reviews(TEXT_AND_LABEL, codec).outcome(), ALTERNATING, "{codec}");
    }
    // The crate cannot write LZO, so the test changes the codec in the metadata of a file.
    let cache = reviews(TEXT_AND_LABEL, Compression::UNCOMPRESSED);
    let mut bytes = std::fs::read(cache.file("train")).unwrap();
    let name_and_codec = b"\x19\x18\x04text\x15\x00";
    let place = bytes.windows(name_and_codec.len()).position(|window| window == name_and_codec).unwrap();
    bytes[place + name_and_codec.len() - 1] = 6;
    std::fs::write(cache.file("train"), bytes).unwrap();
    let found = cache.outcome();
    let words = "train/0000.parquet: column \"text\" is compressed with LZO, expected none, Snappy, gzip, Zstandard, Brotli \
                 or LZ4; write the file again";
    assert!(found.contains(words) && !found.contains("corrupt") && !found.contains(": row"), "{found}");
}

#[test]
fn labels_of_all_integer_types_are_supported() {
    for kind in [
        "int32 label",
        "int64 label",
        "int32 label (INT_8)",
        "int32 label (INT_16)",
        "int32 label (INT_32)",
        "int64 label (INT_64)",
        "int32 label (UINT_8)",
        "int32 label (UINT_16)",
        "int32 label (UINT_32)",
        "int64 label (UINT_64)",
        "int32 label (INTEGER(8,true))",
        "int32 label (INTEGER(32,false))",
        "int64 label (INTEGER(64,false))",
    ] {
        for presence in ["required", "optional"] {
            let schema = format!("required binary text (UTF8); {presence} {kind};");
            assert_eq!(reviews(&schema, Compression::UNCOMPRESSED).outcome(), ALTERNATING, "{schema}");
        }
    }
    // The same bits give different numbers with and without a sign.
    for (kind, label) in [
        ("int32 label", "-1"),
        ("int64 label (INT_64)", "-1"),
        ("int32 label (UINT_32)", "4294967295"),
        ("int64 label (UINT_64)", "18446744073709551615"),
    ] {
        let cache = reviews(TEXT_AND_LABEL, Compression::UNCOMPRESSED);
        let schema = format!("required binary text (UTF8); required {kind};");
        let mut values = vec![0; ROWS];
        values[7] = -1;
        let columns = [texts("test"), Values::Whole(values)];
        write(&cache.file("test"), &schema, Compression::UNCOMPRESSED, &columns);
        let found = cache.outcome();
        let words = format!("test/0000.parquet: row 7: label {label} is out of range 0 … 1");
        assert!(found.contains(&words), "{found}");
    }
}

#[test]
fn columns_are_found_by_their_usual_names() {
    for (text, label) in [
        ("text", "labels"),
        ("sentence", "label"),
        ("content", "class"),
        ("review", "sentiment"),
        ("Text", "Label"),
    ] {
        let schema = format!("optional binary {text} (UTF8); optional int64 {label};");
        assert_eq!(reviews(&schema, Compression::UNCOMPRESSED).outcome(), ALTERNATING, "{schema}");
    }
    for name in ["img", "image", "images", "picture", "Image"] {
        for label in ["label", "fine_label", "target"] {
            let png = || vec![pictures(ImageFormat::Png)];
            let plain = format!("optional binary {name}; required int32 {label};");
            assert_eq!(picture_files(&plain, png).outcome(), TEN, "{plain}");
            let both = || vec![pictures(ImageFormat::Png), texts("path")];
            let fields = "optional binary bytes; optional binary path (UTF8);";
            let grouped = format!("optional group {name} {{ {fields} }} required int32 {label};");
            assert_eq!(picture_files(&grouped, both).outcome(), TEN, "{grouped}");
        }
    }
    // The original name of the data set is preferred. Two other candidates are an error.
    let schema = "required binary review (UTF8); required binary text (UTF8); required int64 label;";
    let cache = Cache::new("imdb");
    for part in ["train", "test"] {
        let empty = Values::Bytes(vec![Vec::new(); ROWS]);
        let columns = [empty, texts(part), labels(2)];
        write(&cache.file(part), schema, Compression::UNCOMPRESSED, &columns);
    }
    assert_eq!(cache.outcome(), ALTERNATING);
    let schema = schema.replace(" text ", " sentence ");
    let columns = [texts("a"), texts("b"), labels(2)];
    write(&cache.file("train"), &schema, Compression::UNCOMPRESSED, &columns);
    let found = cache.outcome();
    let words =
        "\"review\", \"sentence\" are candidates for the column of texts; rename the right one to \"text\"";
    assert!(found.contains(words), "{found}");
}

#[test]
fn png_jpeg_and_webp_are_supported() {
    let schema = "required binary img; required int32 label;";
    // PNG and WebP have equal pixels, so all test pictures are duplicates of training pictures.
    let cache = picture_files(schema, || vec![pictures(ImageFormat::Png)]);
    let columns = [pictures(ImageFormat::WebP), labels(10)];
    write(&cache.file("test"), schema, Compression::UNCOMPRESSED, &columns);
    assert_eq!(cache.outcome(), TEN);
    let jpeg = picture_files(schema, || vec![pictures(ImageFormat::Jpeg)]).outcome();
    assert!(jpeg.starts_with("labels [0, 1, 2"), "{jpeg}");

    for (first, format) in [(&b"GIF89a"[..], "GIF"), (b"BM\0\0\0\0", "BMP"), (b"II*\0", "TIFF")] {
        let mut values = vec![[first, &[0; 64]].concat(); ROWS];
        let Values::Bytes(good) = pictures(ImageFormat::Png) else { unreachable!() };
        values[..4].clone_from_slice(&good[..4]);
        let columns = [Values::Bytes(values), labels(10)];
        write(&cache.file("train"), schema, Compression::UNCOMPRESSED, &columns);
        let found = cache.outcome();
        let words = format!("the picture is in the format {format}, expected PNG, JPEG or WebP; convert it");
        assert!(found.contains("train/0000.parquet: row ") && found.contains(&words), "{found}");
    }
}

/// Errors name the file, the column, its type and the expected type, but no row.
#[test]
fn missing_and_unsupported_columns_are_errors() {
    let check = |cache: &Cache, words: &str| {
        let found = cache.outcome();
        assert!(found.contains("train/0000.parquet: ") && found.contains(words), "{found}");
        assert!(!found.contains("row 0") && !found.contains("corrupt"), "{found}");
    };
    let schema = "required binary body (UTF8); required int64 label;";
    check(
        &reviews(schema, Compression::SNAPPY),
        "no column of texts: expected one named \"text\", \"sentence\", \"content\", \"review\"; the file has \"body\", \
         \"label\"; rename the column that holds them",
    );
    for (kind, name) in [
        ("int32 label (DATE)", "INT32 (DATE)"),
        ("int64 label (TIMESTAMP_MILLIS)", "INT64 (TIMESTAMP_MILLIS)"),
        ("int64 label (TIMESTAMP(NANOS,true))", "INT64 (TIMESTAMP)"),
        ("int64 label (DECIMAL(9,2))", "INT64 (DECIMAL)"),
    ] {
        let schema = format!("required binary text (UTF8); required {kind};");
        let words = format!("column \"label\" holds {name}, expected integers, the classes counted from 0");
        check(&reviews(&schema, Compression::UNCOMPRESSED), &words);
    }
    let other = |name, schema: &str, columns: &[Values]| {
        let cache = Cache::new(name);
        for part in ["train", "test"] {
            write(&cache.file(part), schema, Compression::UNCOMPRESSED, columns);
        }
        cache
    };
    let double = Values::Double(vec![0.0; ROWS]);
    let schema = "required binary text (UTF8); required double sentiment;";
    check(
        &other("imdb", schema, &[texts("a"), double]),
        "column \"sentiment\" holds DOUBLE, expected integers",
    );
    for kind in ["sentiment (UTF8)", "sentiment (STRING)", "sentiment"] {
        let schema = format!("required binary review (UTF8); required binary {kind};");
        check(
            &other("imdb", &schema, &[texts("a"), texts("b")]),
            "train/0000.parquet: column \"sentiment\" contains names of classes, expected integers that count classes from 0; \
             number them in the same way in every file, for example alphabetically, in Python with \
             frame[\"sentiment\"] = frame[\"sentiment\"].map({name: i for i, name in enumerate(sorted(names))})",
        );
    }
    let schema = "required int64 text; required int64 label;";
    check(&other("imdb", schema, &[labels(2), labels(2)]), "column \"text\" holds INT64, expected strings");

    let expected = "expected encoded pictures as binary values, alone or as the field `bytes` of a struct";
    let schema = "required binary image (UTF8); required int64 label;";
    let words = format!("column \"image\" holds BYTE_ARRAY (UTF8), {expected}");
    check(&picture_files(schema, || vec![texts("http")]), &words);
    let schema = "required group image { required binary path (UTF8); } required int64 label;";
    let words = format!("column \"image\" holds a struct of path, {expected}");
    check(&picture_files(schema, || vec![texts("path")]), &words);
    let schema = "required group images (LIST) { repeated group list { required binary element; } } required int64 label;";
    let words = format!("column \"images\" holds lists, {expected}");
    check(&picture_files(schema, || vec![pictures(ImageFormat::Png)]), &words);
    let schema = "required binary text (UTF8); required int64 label;";
    check(
        &picture_files(schema, || vec![texts("a")]),
        "no column of pictures: expected one named \"img\", \"image\"",
    );
}

#[test]
fn invalid_and_encrypted_files_are_errors() {
    let cache = reviews(TEXT_AND_LABEL, Compression::UNCOMPRESSED);
    let mut bytes = std::fs::read(cache.file("train")).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(b"PARE");
    std::fs::write(cache.file("train"), bytes).unwrap();
    let found = cache.outcome();
    assert!(
        found.contains("train/0000.parquet: not supported by this build") && found.contains("encrypted"),
        "{found}"
    );
    std::fs::write(cache.file("train"), "text,label\nfine,1\n").unwrap();
    let found = cache.outcome();
    assert!(
        found.contains("train/0000.parquet: truncated or corrupt") && !found.contains("row 0"),
        "{found}"
    );
}
