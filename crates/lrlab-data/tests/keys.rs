//! Streams with a key are read once for all starts, and again where the cache lacks something.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};

use lrlab_data::{
    BatchPlan, DataConfig, Dataset, Error, Features, InMemory, Labelled, Limit, Order, Source,
    SyntheticReviews,
};

const READ: &str = "the stream is read";
type Stream<T> = Box<dyn Iterator<Item = Result<T, String>>>;

/// Streams of examples; without `example`, reading one is an error.
fn set<T: 'static>(key: Option<&str>, labels: u32, example: Option<fn(usize) -> T>) -> InMemory<Stream<T>> {
    let part = |from: usize, count: usize| {
        let rows = from..from + count;
        let examples: Stream<T> = match example {
            Some(example) => Box::new(rows.map(move |row| Ok(example(row)))),
            None => Box::new(rows.map(|_| Err(READ.to_owned()))),
        };
        Labelled::new(examples, (0..count as u32).map(|row| row % labels).collect())
    };
    InMemory {
        key: key.map(str::to_owned),
        validation: Some(part(100, 8)),
        ..InMemory::new("made", ["a", "b", "c"], part(0, 40), part(200, 10))
    }
}

fn picture(row: usize) -> Vec<u8> {
    (0..36).map(|i| (i * 31 + row * 17) as u8).collect()
}

fn text(row: usize) -> String {
    format!("text {} of {}", row % 7, row)
}

fn sequence(row: usize) -> Vec<u32> {
    (0..=row % 5).map(|i| 1 + ((row * 7 + i) % 30) as u32).collect()
}

/// Makes a data set of one kind with a key and, if the streams may be read, their examples.
type Make = fn(Option<&str>, u32, bool, &DataConfig) -> Result<Dataset, Error>;

const KINDS: [(&str, Make); 3] = [
    ("pictures", |key, labels, read, config| {
        let set = set(key, labels, read.then_some(picture as fn(usize) -> Vec<u8>));
        Dataset::from_picture_stream([1, 6, 6], set, config)
    }),
    ("texts", |key, labels, read, config| {
        Dataset::from_text_stream(set(key, labels, read.then_some(text as fn(usize) -> String)), config)
    }),
    ("tokens", |key, labels, read, config| {
        let set = set(key, labels, read.then_some(sequence as fn(usize) -> Vec<u32>));
        Dataset::from_token_stream(31, set, config)
    }),
];

fn config(cache: &Path, memory: u64) -> DataConfig {
    let unused = Source::SyntheticReviews(SyntheticReviews::default());
    DataConfig { memory, ..DataConfig::new(unused, cache) }
}

fn bits(data: &Dataset) -> Vec<u32> {
    let mut all = Vec::new();
    for split in [&data.train, &data.validation, &data.test] {
        for batch in split.batches(BatchPlan::new(6, Order::Shuffled { seed: 1, epoch: 0 })) {
            let batch = batch.unwrap();
            match batch.features {
                Features::Pictures(pictures) => {
                    let values = pictures.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                    all.extend(values.iter().map(|value| value.to_bits()));
                }
                Features::Tokens { ids, .. } => {
                    all.extend(ids.flatten_all().unwrap().to_vec1::<u32>().unwrap());
                }
            }
            all.extend(batch.labels.to_vec1::<u32>().unwrap());
        }
    }
    all
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

#[test]
fn a_key_saves_reading() {
    for (kind, make) in KINDS {
        for first in [0, u64::MAX] {
            let (cache, plain) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let expected = make(None, 3, true, &config(plain.path(), u64::MAX)).unwrap();
            assert!(!plain.path().join("streams").exists());
            let read = |key, labels, memory| make(key, labels, false, &config(cache.path(), memory));
            let is_read =
                |result: Result<Dataset, Error>| result.is_err_and(|error| error.to_string().contains(READ));
            assert!(is_read(read(Some("v1"), 3, 0)), "{kind}: never seen");
            let data = make(Some("v1"), 3, true, &config(cache.path(), first)).unwrap();
            assert_eq!(data.digest, expected.digest, "{kind}: a key is not part of the digest");
            assert!(bits(&data) == bits(&expected), "{kind}");
            for memory in [0, 100, u64::MAX] {
                let again = read(Some("v1"), 3, memory).unwrap();
                assert_eq!((&again.digest, again.duplicates), (&expected.digest, expected.duplicates));
                assert!(bits(&again) == bits(&expected), "{kind} in {memory} bytes");
                assert_eq!(again.train.raw().is_some(), memory == u64::MAX, "{kind} in {memory} bytes");
            }
            assert!(is_read(read(None, 3, first)), "{kind}: without the key");
            assert!(is_read(read(Some("v2"), 3, first)), "{kind}: with another key");
            assert!(is_read(read(Some("v1"), 2, first)), "{kind}: with other labels");
            let pinned = DataConfig { pin_digest: Some("abc".to_owned()), ..config(cache.path(), first) };
            assert!(matches!(make(Some("v1"), 3, false, &pinned), Err(Error::PinnedDigest { .. })));

            // Without a file of the cache, the streams are read again.
            let folder = cache.path().join(if kind == "pictures" { "pictures" } else { "tokens" });
            let file = files(&folder, if kind == "pictures" { "pixels" } else { "tokens" }).remove(0);
            std::fs::File::options().write(true).open(&file).unwrap().set_len(7).unwrap();
            assert!(is_read(read(Some("v1"), 3, first)), "{kind}: a file is cut off");
            let again = make(Some("v1"), 3, true, &config(cache.path(), first)).unwrap();
            assert!(bits(&again) == bits(&expected), "{kind}");
            assert!(read(Some("v1"), 3, first).is_ok(), "{kind}");
        }
    }
}

/// Pictures are kept whole; tokens for the settings of the call.
#[test]
fn other_limits() {
    for (kind, make) in KINDS {
        let cache = tempfile::tempdir().unwrap();
        make(Some("v1"), 3, true, &config(cache.path(), 0)).unwrap();
        let limit = Limit { train: Some(12), ..Limit::default() };
        let limited = DataConfig { limit, ..config(cache.path(), 0) };
        assert_eq!(make(Some("v1"), 3, false, &limited).is_ok(), kind == "pictures");
        let expected = make(None, 3, true, &limited).unwrap();
        for read in [true, false] {
            assert!(bits(&make(Some("v1"), 3, read, &limited).unwrap()) == bits(&expected), "{kind}");
        }
    }
}

#[test]
fn other_examples_under_a_key_are_an_error() {
    let cache = tempfile::tempdir().unwrap();
    let make = |example: fn(usize) -> String, limit| {
        let limit = Limit { train: limit, ..Limit::default() };
        let config = DataConfig { limit, ..config(cache.path(), 0) };
        Dataset::from_text_stream(set(Some("v1"), 3, Some(example)), &config)
    };
    let before = make(text, None).unwrap().digest;
    // The cache lacks these settings, so the streams are read.
    let message = make(|row| format!("another {row}"), Some(9)).unwrap_err().to_string();
    assert!(message.starts_with("made: key \"v1\": the examples have the digest "), "{message}");
    assert!(
        message.ends_with(&format!("but had {before} before; give other content another key")),
        "{message}"
    );
    assert_eq!(make(text, Some(9)).unwrap().digest, before);
}
