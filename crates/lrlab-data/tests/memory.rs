//! Data sets from values in memory: splits, limits and digests as for files, and what is said of inconsistent examples.

#![allow(clippy::unwrap_used, reason = "panics fail the test")]

use lrlab_data::{
    BatchPlan, DataConfig, Dataset, Error, Features, Files, InMemory, Kind, Labelled, Limit, Order, Source,
    SyntheticPictures, Validation,
};

fn config(folder: &tempfile::TempDir) -> DataConfig {
    DataConfig::new(Source::SyntheticPictures(SyntheticPictures::default()), folder.path())
}

fn labels(n: usize) -> Vec<u32> {
    (0..n as u32).map(|row| row % 2).collect()
}

fn pixels(n: usize, shift: usize) -> Labelled<Vec<u8>> {
    Labelled::new((0..n * 24).map(|i| ((i + shift) * 37 % 256) as u8).collect(), labels(n))
}

fn birds() -> InMemory<Vec<u8>> {
    InMemory::new("birds", ["wren", "robin"], pixels(50, 0), pixels(10, 5000))
}

fn tokens(n: usize, shift: u32) -> Labelled<Vec<Vec<u32>>> {
    let sequence = |row: usize| (0..=row % 5).map(|i| 1 + (row as u32 * 7 + i as u32 + shift) % 99).collect();
    Labelled::new((0..n).map(sequence).collect(), labels(n))
}

fn texts(n: usize, part: &str) -> Labelled<Vec<String>> {
    Labelled::new((0..n).map(|row| format!("text {row} of {part}")).collect(), labels(n))
}

fn sizes(data: &Dataset) -> [usize; 3] {
    [data.train.len(), data.validation.len(), data.test.len()]
}

#[test]
fn pictures_are_split_limited_and_normalised() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&folder);
    let data = Dataset::from_pictures([1, 4, 6], birds(), &config).unwrap();
    assert_eq!(data.kind, Kind::Pictures { channels: 1, height: 4, width: 6 });
    assert_eq!((sizes(&data), data.classes), ([40, 10, 10], 2));
    assert_eq!(data.class_names, ["wren", "robin"]);
    let plan = BatchPlan::new(40, Order::Sequential);
    let batch = data.train.batches(plan).next().unwrap().unwrap();
    let Features::Pictures(x) = &batch.features else { panic!("pictures") };
    assert_eq!(x.dims(), [40, 1, 4, 6]);
    let mean = x.mean_all().unwrap().to_scalar::<f32>().unwrap();
    assert!(mean.abs() < 1e-4, "{mean}");

    config.limit = Limit { train: Some(20), validation: Some(4), test: Some(6) };
    config.validation = Some(Validation::Examples(8));
    let limited = Dataset::from_pictures([1, 4, 6], birds(), &config).unwrap();
    assert_eq!(sizes(&limited), [20, 4, 6]);
    assert_eq!(limited.digest, data.digest, "a limit does not change the content");

    config.validation = Some(Validation::TEST_SPLIT);
    config.limit = Limit::default();
    let leak = Dataset::from_pictures([1, 4, 6], birds(), &config).unwrap();
    assert_eq!(sizes(&leak), [50, 10, 10]);
    assert!(leak.notes.iter().any(|note| note.starts_with("birds: LEAK")), "{:?}", leak.notes);
}

#[test]
fn a_validation_split_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&folder);
    let own =
        || InMemory { validation: Some(pixels(7, 9000)), notes: vec!["from a garden".to_owned()], ..birds() };
    let data = Dataset::from_pictures([1, 4, 6], own(), &config).unwrap();
    assert_eq!(sizes(&data), [50, 7, 10]);
    assert_eq!(data.validation.rows(), [50, 51, 52, 53, 54, 55, 56]);
    assert_eq!(data.notes[0], "from a garden");
    config.limit.validation = Some(4);
    assert_eq!(sizes(&Dataset::from_pictures([1, 4, 6], own(), &config).unwrap()), [50, 4, 10]);
    config.validation = Some(Validation::Examples(5));
    let error = Dataset::from_pictures([1, 4, 6], own(), &config).unwrap_err().to_string();
    assert!(
        error.starts_with(
            "validation is 5, expected no value, because this data set has its own validation split"
        ),
        "{error}"
    );

    let own = InMemory {
        validation: Some(texts(7, "validation")),
        ..InMemory::new("t", ["a", "b"], texts(50, "train"), texts(10, "test"))
    };
    config.validation = None;
    config.limit = Limit::default();
    assert_eq!(sizes(&Dataset::from_texts(own, &config).unwrap()), [50, 7, 10]);
}

/// Exactly the values that can change a run change the digest.
#[test]
fn digests() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder);
    let digest = |set, shape| Dataset::from_pictures(shape, set, &config).unwrap().digest;
    let first = digest(birds(), [1, 4, 6]);
    assert_eq!(first.len(), 64);
    assert_eq!(digest(birds(), [1, 4, 6]), first);
    assert_eq!(digest(InMemory { notes: vec!["a note".to_owned()], ..birds() }, [1, 4, 6]), first);
    let mut other = birds();
    other.train.examples[3] ^= 1;
    let mut relabelled = birds();
    relabelled.test.labels[0] ^= 1;
    let more = InMemory { classes: ["a", "b", "c"].map(str::to_owned).into(), ..birds() };
    for (set, shape) in [(other, [1, 4, 6]), (relabelled, [1, 4, 6]), (more, [1, 4, 6]), (birds(), [1, 6, 4])]
    {
        assert_ne!(digest(set, shape), first);
    }
    let pinned = DataConfig { pin_digest: Some("abc".to_owned()), ..config.clone() };
    let error = Dataset::from_pictures([1, 4, 6], birds(), &pinned).unwrap_err();
    assert!(matches!(error, Error::PinnedDigest { .. }), "{error}");
}

/// The source of the settings has no effect, and duplicates between the splits that the data set gives are kept.
#[test]
fn a_data_set_in_memory_determines_its_splits() {
    let folder = tempfile::tempdir().unwrap();
    let other = DataConfig { source: Source::Imdb(Files::default()), ..config(&folder) };
    let set = || InMemory::new("codes", ["low", "high"], tokens(50, 0), tokens(10, 3));
    let splits = |config: &DataConfig| {
        [
            sizes(&Dataset::from_pictures([1, 4, 6], birds(), config).unwrap()),
            sizes(&Dataset::from_tokens(100, set(), config).unwrap()),
        ]
    };
    assert_eq!(splits(&other), splits(&config(&folder)));
    let all = DataConfig { validation: Some(Validation::Examples(50)), ..other };
    let error = Dataset::from_pictures([1, 4, 6], birds(), &all).unwrap_err();
    let expected = "birds: 50 examples for validation leave none for training: there are 50";
    assert_eq!(error.to_string(), expected);

    let own = || InMemory { validation: Some(pixels(10, 0)), ..birds() };
    let data = Dataset::from_pictures([1, 4, 6], own(), &config(&folder)).unwrap();
    assert_eq!(sizes(&data), [50, 10, 10]);
    let repeated = data.duplicates.within_train;
    assert!(repeated >= 10);
    let expected = format!(
        "birds: duplicates within training and validation: {repeated}; they are kept in the splits that the data set gives them"
    );
    assert!(data.notes.contains(&expected), "{:?}", data.notes);
}

#[test]
fn an_empty_split_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let few = || InMemory::new("few", ["low", "high"], tokens(4, 0), tokens(3, 3));
    let error = |config: &DataConfig| Dataset::from_tokens(100, few(), config).unwrap_err().to_string();
    let expected = |split| {
        format!(
            "few: the {split} split has no example, expected at least 1: the data has 4 rows for training and validation, \
             and 3 for the test"
        )
    };
    assert_eq!(error(&config(&folder)), expected("validation"), "a fifth of 4 rows");
    let half = DataConfig { validation: Some(Validation::Examples(2)), ..config(&folder) };
    assert_eq!(sizes(&Dataset::from_tokens(100, few(), &half).unwrap()), [2, 2, 3]);
    let limit = |limit| error(&DataConfig { limit, ..half.clone() });
    assert_eq!(limit(Limit { train: Some(0), ..Limit::default() }), expected("training"));
    assert_eq!(limit(Limit { test: Some(0), ..Limit::default() }), expected("test"));
    let none = DataConfig { validation: Some(Validation::Examples(0)), ..config(&folder) };
    assert_eq!(sizes(&Dataset::from_tokens(100, few(), &none).unwrap()), [4, 0, 3], "on request");
}

#[test]
fn texts_and_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&folder);
    config.tokens.max_length = 3;
    let set = || InMemory::new("notes", ["low", "high"], texts(50, "train"), texts(10, "test"));
    let data = Dataset::from_texts(set(), &config).unwrap();
    assert_eq!(sizes(&data), [40, 10, 10]);
    assert!(matches!(data.kind, Kind::Tokens { max_length: 3, vocabulary: 10..=60 }), "{:?}", data.kind);
    assert!(data.tokenizer.as_deref().is_some_and(std::path::Path::is_file));
    let again = Dataset::from_texts(set(), &config).unwrap();
    assert_eq!((again.digest, again.train.rows()), (data.digest, data.train.rows()));

    let set = InMemory::new("codes", ["low", "high"], tokens(50, 0), tokens(10, 3));
    let data = Dataset::from_tokens(100, set, &config).unwrap();
    assert_eq!((sizes(&data), data.kind), ([40, 10, 10], Kind::Tokens { vocabulary: 100, max_length: 3 }));
    let batch = data.test.batches(BatchPlan::new(10, Order::Sequential)).next().unwrap().unwrap();
    let Features::Tokens { ids, .. } = &batch.features else { panic!("tokens") };
    // The last three of row 4's five tokens: 1 + (28 + i + 3) % 99.
    let place = batch.indices.iter().position(|&index| index == 4).unwrap();
    assert_eq!(ids.to_vec2::<u32>().unwrap()[place], [34, 35, 36]);
}

/// Computed in Python from the description of the digest: SHA-256 of labels, lengths and examples of every part.
#[test]
fn digests_of_sequences() {
    const TEXTS: &str = "52dd14f03d20fe11041c0b8b3005aaaf7d73f4d7a0ef7c4d133f352c35e3f338";
    const TOKENS: &str = "bfcdfe6fa097dd79a343d85bb171dd4e8620f032632306a9c0a39a47d4e6307c";
    let folder = tempfile::tempdir().unwrap();
    let set = InMemory {
        validation: Some(texts(7, "validation")),
        ..InMemory::new("notes", ["low", "high"], texts(50, "train"), texts(10, "test"))
    };
    assert_eq!(Dataset::from_texts(set, &config(&folder)).unwrap().digest, TEXTS);
    let set = InMemory::new("codes", ["low", "high"], tokens(50, 0), tokens(10, 3));
    assert_eq!(Dataset::from_tokens(100, set, &config(&folder)).unwrap().digest, TOKENS);
}

#[test]
fn inconsistent_examples() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder);
    let check = |result: Result<Dataset, Error>, expected: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}\nexpected {expected}");
    };
    let pictures = |set| Dataset::from_pictures([1, 4, 6], set, &config);
    let mut short = birds();
    short.test.examples.pop();
    check(pictures(short), "birds: test: 239 bytes of pixels, expected 240: 10 labels, 24 bytes per picture");
    let mut wrong = birds();
    wrong.train.labels[4] = 2;
    check(pictures(wrong), "birds: train row 4: label 2 is out of range 0 … 1");
    check(
        pictures(InMemory { classes: vec!["wren".to_owned()], ..birds() }),
        "birds: classes: 1 names, expected at least 2",
    );
    check(
        pictures(InMemory { test: Labelled::default(), ..birds() }),
        "birds: test: no examples, expected at least 1",
    );
    check(
        Dataset::from_pictures([0, 4, 6], birds(), &config),
        "birds: shape: [0, 4, 6], expected three sizes above 0",
    );

    let set = |train| InMemory::new("codes", ["low", "high"], train, tokens(10, 3));
    let mut empty = tokens(50, 0);
    empty.examples[2].clear();
    check(Dataset::from_tokens(100, set(empty), &config), "codes: train row 2: the sequence is empty");
    let mut padded = tokens(50, 0);
    padded.examples[1][0] = 0;
    check(
        Dataset::from_tokens(100, set(padded), &config),
        "codes: train row 1: token 0 is out of range 1 … 99",
    );
    check(
        Dataset::from_tokens(50, set(tokens(50, 0)), &config),
        "codes: train row 7: token 50 is out of range 1 … 49",
    );
    let few = Labelled::new(tokens(50, 0).examples, labels(49));
    check(Dataset::from_tokens(100, set(few), &config), "codes: train: 50 examples, but 49 labels");

    let mut blank = texts(50, "train");
    blank.examples[3] = "  ".to_owned();
    let set = InMemory::new("notes", ["low", "high"], blank, texts(10, "test"));
    check(Dataset::from_texts(set, &config), "notes: train row 3: the text is empty");
}
