//! Picture and text sets of the hub, from small parquet files in a temporary cache. Each case is a separate process, because
//! the environment determines the cache.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "panics fail the test")]
#![cfg(feature = "hub")]

mod common;

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use common::{Values, write_described};
use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage};
use lrlab_data::{DataConfig, Dataset, Progress, Source, load, local_digest, verify};
use parquet::basic::Compression;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const ROWS: usize = 20;

/// The child process: loads the source given in the environment.
#[test]
fn child() {
    let Ok(source) = std::env::var("LRLAB_SOURCE") else { return };
    let source: Source = serde_json::from_str(&source).unwrap();
    let quiet: Progress = Arc::new(|_| ());
    let loaded = || -> Result<[Dataset; 2], lrlab_data::Error> {
        // The second load uses the cache.
        Ok([
            load(&DataConfig::new(source.clone(), "cache"))?,
            load(&DataConfig::new(source.clone(), "cache"))?,
        ])
    };
    match loaded() {
        Ok([data, again]) => {
            let Dataset { name, classes, class_names, kind, train, validation, test, .. } = &data;
            let sizes = [train.len(), validation.len(), test.len()];
            assert_eq!((again.digest, again.train.labels()), (data.digest.clone(), train.labels()));
            let read = verify(&source, &quiet).unwrap();
            assert_eq!(
                (read.train, read.test, read.identity.digest),
                (sizes[0] + sizes[1], sizes[2], data.digest.clone())
            );
            println!("RESULT {name} {sizes:?} {classes} {class_names:?} {kind:?} {:?}", &test.labels()[..5]);
        }
        Err(error) => {
            // A wrong column is found without reading the rows.
            if matches!(error, lrlab_data::Error::MissingColumn { .. } | lrlab_data::Error::ColumnType { .. })
            {
                let early = local_digest(&DataConfig::new(source, "cache")).map(|_| "nothing".to_owned());
                assert_eq!(early.unwrap_or_else(|early| early.to_string()), error.to_string());
            }
            println!("RESULT {error}");
        }
    }
}

struct Cache(tempfile::TempDir);

impl Cache {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Returns the path of a file of a repository at the revision of the hub's parquet conversion.
    fn file(&self, repo: &str, path: &str) -> PathBuf {
        let repo = self.0.path().join(format!("home/hub/datasets--{}", repo.replace('/', "--")));
        std::fs::create_dir_all(repo.join("refs/refs/convert")).unwrap();
        std::fs::write(repo.join("refs/refs/convert/parquet"), COMMIT).unwrap();
        let file = repo.join("snapshots").join(COMMIT).join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        file
    }

    fn outcome(&self, source: &str) -> String {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .current_dir(self.0.path())
            .env_remove("HF_HUB_CACHE")
            .env_remove("HUGGINGFACE_HUB_CACHE")
            .env("HF_HOME", "home")
            .env("HF_HUB_OFFLINE", "1")
            .env("LRLAB_SOURCE", source)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text.split_once("RESULT ").unwrap().1.lines().next().unwrap().to_owned()
    }
}

fn encoded(picture: impl Into<DynamicImage>) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.into().write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn colour(width: u32, height: u32, row: usize) -> Vec<u8> {
    encoded(RgbImage::from_fn(width, height, |x, y| Rgb([7 * x as u8, 7 * y as u8, row as u8])))
}

fn grey(side: u32, row: usize) -> Vec<u8> {
    encoded(GrayImage::from_fn(side, side, |x, y| Luma([(x + y) as u8 + row as u8])))
}

fn labels(classes: usize) -> Values {
    Values::Whole((0..ROWS).map(|row| (row % classes) as i64).collect())
}

fn pictures(
    path: &Path,
    [picture, label]: [&str; 2],
    classes: usize,
    about: Option<&str>,
    make: impl Fn(usize) -> Vec<u8>,
) {
    let schema = format!("optional group {picture} {{ optional binary bytes; }} optional int64 {label};");
    let columns = [Values::Bytes((0..ROWS).map(make).collect()), labels(classes)];
    write_described(path, &schema, Compression::SNAPPY, &columns, about);
}

fn texts(path: &Path, text: &str, classes: usize, part: &str) {
    let schema = format!("optional binary {text} (UTF8); optional int64 label;");
    let all = (0..ROWS).map(|row| format!("sentence {row} of {part}").into_bytes()).collect();
    write_described(path, &schema, Compression::SNAPPY, &[Values::Bytes(all), labels(classes)], None);
}

#[test]
fn repositories_of_the_catalog_need_only_their_name() {
    let cache = Cache::new();
    let about = "{\"info\": {\"features\": {\"fine_label\": {\"names\": [\"apple\", \"bear\", \"crab\"], \
                 \"_type\": \"ClassLabel\"}}}}";
    for (part, shift) in [("train", 0), ("test", 100)] {
        let file = cache.file("uoft-cs/cifar100", &format!("cifar100/{part}/0000.parquet"));
        pictures(&file, ["img", "fine_label"], 3, Some(about), |row| colour(32, 32, row + shift));
        for (repo, folder) in [("ylecun/mnist", "mnist"), ("zalando-datasets/fashion_mnist", "fashion_mnist")]
        {
            let file = cache.file(repo, &format!("{folder}/{part}/0000.parquet"));
            pictures(&file, ["image", "label"], 10, None, |row| grey(28, row + shift));
        }
        texts(
            &cache.file("fancyzhx/yelp_polarity", &format!("plain_text/{part}/0000.parquet")),
            "text",
            2,
            part,
        );
        texts(&cache.file("fancyzhx/ag_news", &format!("default/{part}/0000.parquet")), "text", 4, part);
        let sst2 = if part == "test" { "validation" } else { part };
        texts(&cache.file("stanfordnlp/sst2", &format!("default/{sst2}/0000.parquet")), "sentence", 2, part);
        let file =
            cache.file("zalando-datasets/fashion_mnist", &format!("fashion_mnist/{part}/0000.parquet"));
        pictures(&file, ["image", "label"], 10, None, |row| grey(28, row + shift));
        texts(
            &cache.file("fancyzhx/yelp_polarity", &format!("plain_text/{part}/0000.parquet")),
            "text",
            2,
            part,
        );
    }
    for (source, expected) in [
        (
            r#"{"hub_pictures": {"repo": "uoft-cs/cifar100"}}"#,
            r#"uoft-cs/cifar100 [16, 4, 20] 3 ["apple", "bear", "crab"] Pictures { channels: 3, height: 32, width: 32 } [0, 1, 2, 0, 1]"#,
        ),
        (
            r#"{"hub_pictures": {"repo": "ylecun/mnist"}}"#,
            r#"ylecun/mnist [16, 4, 20] 10 ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"] Pictures { channels: 1, height: 28, width: 28 } [0, 1, 2, 3, 4]"#,
        ),
        (
            r#"{"hub_pictures": {"repo": "zalando-datasets/fashion_mnist"}}"#,
            r#"zalando-datasets/fashion_mnist [16, 4, 20] 10 ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"] Pictures { channels: 1, height: 28, width: 28 } [0, 1, 2, 3, 4]"#,
        ),
        (
            r#"{"hub_texts": {"repo": "fancyzhx/yelp_polarity"}}"#,
            r#"fancyzhx/yelp_polarity [16, 4, 20] 2 ["negative", "positive"] Tokens { vocabulary: 21, max_length: 200 } [0, 1, 0, 1, 0]"#,
        ),
        (
            r#"{"hub_texts": {"repo": "fancyzhx/ag_news"}}"#,
            r#"fancyzhx/ag_news [16, 4, 20] 4 ["World", "Sports", "Business", "Sci/Tech"] Tokens { vocabulary: 21, max_length: 200 } [0, 1, 2, 3, 0]"#,
        ),
        (
            r#"{"hub_texts": {"repo": "stanfordnlp/sst2"}}"#,
            r#"stanfordnlp/sst2 [16, 4, 20] 2 ["negative", "positive"] Tokens { vocabulary: 21, max_length: 200 } [0, 1, 0, 1, 0]"#,
        ),
        (
            r#"{"hub_pictures": {"repo": "zalando-datasets/fashion_mnist"}}"#,
            r#"zalando-datasets/fashion_mnist [16, 4, 20] 10 ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"] Pictures { channels: 1, height: 28, width: 28 } [0, 1, 2, 3, 4]"#,
        ),
        (
            r#"{"hub_texts": {"repo": "fancyzhx/yelp_polarity"}}"#,
            r#"fancyzhx/yelp_polarity [16, 4, 20] 2 ["negative", "positive"] Tokens { vocabulary: 21, max_length: 200 } [0, 1, 0, 1, 0]"#,
        ),
    ] {
        assert_eq!(cache.outcome(source), expected);
    }
}

/// The columns of labels are distinguished in the cache.
#[test]
fn another_column_of_labels_is_another_data_set() {
    let cache = Cache::new();
    for part in ["train", "test"] {
        let file = cache.file("uoft-cs/cifar100", &format!("cifar100/{part}/0000.parquet"));
        let schema = "optional group img { optional binary bytes; } optional int64 fine_label; optional int64 coarse_label;";
        let shift = part.len();
        let columns = [
            Values::Bytes((0..ROWS).map(|row| colour(32, 32, row + shift)).collect()),
            labels(10),
            labels(2),
        ];
        write_described(&file, schema, Compression::SNAPPY, &columns, None);
    }
    let shape = "Pictures { channels: 3, height: 32, width: 32 }";
    assert_eq!(
        cache.outcome(r#"{"hub_pictures": {"repo": "uoft-cs/cifar100"}}"#),
        format!("uoft-cs/cifar100 [16, 4, 20] 10 [] {shape} [0, 1, 2, 3, 4]")
    );
    assert_eq!(
        cache.outcome(r#"{"hub_pictures": {"repo": "uoft-cs/cifar100", "label": "coarse_label"}}"#),
        format!("uoft-cs/cifar100 [16, 4, 20] 2 [] {shape} [0, 1, 0, 1, 0]")
    );
}

/// The parts of the files belong to the identity, so that no cache of another division is used.
#[test]
fn another_division_of_the_files_is_another_data_set() {
    let cache = Cache::new();
    for (number, name) in ["a", "b", "c"].into_iter().enumerate() {
        let file = cache.file("me/birds", &format!("{name}.parquet"));
        pictures(&file, ["image", "label"], 3 + number, None, |row| colour(4, 4, row + 40 * number));
        texts(&cache.file("me/notes", &format!("{name}.parquet")), "text", 3 + number, name);
    }
    for (source, kind) in [
        (r#"{"hub_pictures": {"repo": "me/birds""#, "Pictures { channels: 3, height: 4, width: 4 }"),
        (r#"{"hub_texts": {"repo": "me/notes""#, "Tokens { vocabulary: "),
    ] {
        for (files, sizes, test) in [
            (
                r#""train": ["a.parquet", "b.parquet"], "test": ["c.parquet"]"#,
                "[32, 8, 20]",
                "[0, 1, 2, 3, 4]",
            ),
            (
                r#""train": ["a.parquet"], "test": ["b.parquet", "c.parquet"]"#,
                "[16, 4, 40]",
                "[0, 1, 2, 3, 0]",
            ),
        ] {
            let found = cache.outcome(&format!("{source}, {files}}}}}"));
            for words in [sizes, " 5 []", kind, test] {
                assert!(found.contains(words), "{files}: no {words:?} in {found}");
            }
        }
    }
}

/// A file without rows may stand among others, but a part has rows, and the labels distinguish classes.
#[test]
fn files_without_rows_or_classes() {
    let cache = Cache::new();
    let schema = "optional group image { optional binary bytes; } optional int64 label;";
    for (name, rows, classes) in [("empty", 0, 2), ("full", ROWS, 2), ("one", ROWS, 1)] {
        let file = cache.file("me/birds", &format!("{name}.parquet"));
        let columns = [
            Values::Bytes((0..rows).map(|row| colour(4, 4, row)).collect()),
            Values::Whole((0..rows).map(|row| (row % classes) as i64).collect()),
        ];
        write_described(&file, schema, Compression::SNAPPY, &columns, None);
    }
    for (train, test, expected) in [
        (
            r#""empty.parquet", "full.parquet""#,
            "full",
            "me/birds [16, 4, 20] 2 [] Pictures { channels: 3, height: 4, width: 4 } [0, 1, 0, 1, 0]",
        ),
        (
            r#""full.parquet""#,
            "empty",
            "me/birds: the test split has no example, expected at least 1: the data has 20 rows for training and validation, \
             and 0 for the test",
        ),
        (
            r#""empty.parquet""#,
            "full",
            "me/birds: the training split has no example, expected at least 1: the data has 0 rows for training and \
             validation, and 20 for the test",
        ),
        (
            r#""one.parquet""#,
            "one",
            "me/birds: every label is 0, expected at least 2 classes; name the column that holds them in the source: \
             label = \"…\"",
        ),
    ] {
        let source = format!(
            r#"{{"hub_pictures": {{"repo": "me/birds", "train": [{train}], "test": ["{test}.parquet"]}}}}"#
        );
        assert_eq!(cache.outcome(&source), expected, "{train}, {test}");
    }
}

/// Errors name the file and the expected columns.
#[test]
fn other_repositories_are_described_by_the_experiment() {
    let cache = Cache::new();
    for part in ["a", "b", "grey"] {
        let file = cache.file("me/birds", &format!("{part}.parquet"));
        let shift = part.len();
        pictures(&file, ["photo", "species"], 5, None, |row| match (part, row) {
            ("grey", row) if row != 7 => grey(8, row),
            ("grey", _) => colour(8, 8, 3),
            _ => colour(8, 6, row + shift),
        });
    }
    let source = |more: &str| {
        format!(
            r#"{{"hub_pictures": {{"repo": "me/birds", "train": ["a.parquet"], "test": ["b.parquet"]{more}}}}}"#
        )
    };
    let columns = r#", "picture": "photo", "label": "species""#;
    assert_eq!(
        cache.outcome(&source(columns)),
        "me/birds [16, 4, 20] 5 [] Pictures { channels: 3, height: 6, width: 8 } [0, 1, 2, 3, 4]"
    );
    for (source, words) in [
        (
            r#"{"hub_pictures": {"repo": "me/birds"}}"#.to_owned(),
            vec![
                "me/birds: the catalog does not list this repository, so `train` is needed",
                "\"uoft-cs/cifar100\"",
            ],
        ),
        (
            source(r#", "picture": "phto", "label": "species""#),
            vec![
                "no column of pictures: expected one named \"phto\"; the file has \"photo\", \"species\"; name it in \
                 the source: picture = \"photo\"",
            ],
        ),
        (
            source(r#", "picture": "photo", "label": "kind""#),
            vec![
                "expected one named \"kind\"",
                "name the column that holds them in the source: label = \"…\"",
            ],
        ),
        (
            source(r#", "picture": "species", "label": "photo""#),
            vec!["column \"photo\" holds a struct of bytes, expected integers"],
        ),
        (
            r#"{"hub_texts": {"repo": "fancyzhx/ag_nwes"}}"#.to_owned(),
            vec!["so `train` is needed", "did you mean \"fancyzhx/ag_news\"?"],
        ),
        (source(""), vec!["no column of labels", "the file has \"photo\", \"species\""]),
        (
            source(columns).replace("a.parquet", "grey.parquet"),
            vec![
                "grey.parquet: row 7: the picture has colours, but the first picture of the data set is grey",
            ],
        ),
        (
            source(columns).replace("b.parquet", "grey.parquet"),
            vec!["grey.parquet: row 0: the picture is 8 × 8 pixels, expected 8 × 6"],
        ),
        (source(columns).replace("b.parquet", "c.parquet"), vec!["me/birds: c.parquet is not in the cache"]),
    ] {
        let found = cache.outcome(&source);
        for words in words {
            assert!(found.contains(words), "no {words:?} in {found}");
        }
    }
}
