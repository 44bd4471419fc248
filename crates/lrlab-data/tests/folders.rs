//! Data sets in local folders: sizes, orientation, errors, digests and caches.
#![allow(clippy::unwrap_used, reason = "panics fail the test")]

use std::path::{Path, PathBuf};

use lrlab_data::{
    BatchPlan, DataConfig, Dataset, Error, Features, Files, Limit, Order, Progress, Source, Validation,
    digest, fetch, load, verify,
};

const ROW: usize = 3073;

/// Returns a picture of the binary version: red grows with the column, green with the row, and blue is `mark`.
fn row(label: u8, mark: u8) -> Vec<u8> {
    let plane = |value: fn(usize, usize) -> usize| (0..1024).map(move |i| value(i / 32, i % 32) as u8);
    let mut row = vec![label];
    row.extend(plane(|_, x| 8 * x));
    row.extend(plane(|y, _| 8 * y));
    row.extend(vec![mark; 1024]);
    row
}

/// Writes five training files and a test file of 20 pictures each, with alternating classes. Training pictures 0 and 50 are
/// equal, and so are training picture 1 and test picture 0.
fn cifar10(folder: &Path) -> DataConfig {
    let inner = folder.join("cifar-10-batches-bin");
    std::fs::create_dir_all(&inner).unwrap();
    for file in 0..5 {
        let mark = |i: usize| if i == 50 { 0 } else { i as u8 };
        let rows: Vec<u8> = (20 * file..20 * file + 20).flat_map(|i| row((i % 10) as u8, mark(i))).collect();
        std::fs::write(inner.join(format!("data_batch_{}.bin", file + 1)), rows).unwrap();
    }
    let mark = |i: usize| if i == 0 { 1 } else { 100 + i as u8 };
    let rows: Vec<u8> = (0..20).flat_map(|i| row((i % 10) as u8, mark(i))).collect();
    std::fs::write(inner.join("test_batch.bin"), rows).unwrap();
    DataConfig::new(Source::Cifar10(Files::in_folder(folder.to_path_buf())), folder.join("cache"))
}

/// Writes forty reviews for training and twelve for the test.
fn imdb(folder: &Path) -> DataConfig {
    for (part, n) in [("train", 20), ("test", 6)] {
        for (class, word) in [("neg", "dull"), ("pos", "fine")] {
            let place = folder.join("aclImdb").join(part).join(class);
            std::fs::create_dir_all(&place).unwrap();
            for i in 0..n {
                let text = format!("A {word} film, the {i}th of {part}.<br /><br />Seen {} times!", i % 7);
                std::fs::write(place.join(format!("{i}_{}.txt", i % 10)), text).unwrap();
            }
        }
    }
    DataConfig::new(Source::Imdb(Files::in_folder(folder.to_path_buf())), folder.join("cache"))
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn sizes(data: &Dataset) -> (usize, usize, usize) {
    (data.train.len(), data.validation.len(), data.test.len())
}

fn token_ids(data: &Dataset) -> Vec<Vec<u32>> {
    let batches = data.train.batches(BatchPlan::new(8, Order::Shuffled { seed: 0, epoch: 0 }));
    let ids = batches.map(|batch| {
        let Features::Tokens { ids, .. } = batch.unwrap().features else { unreachable!() };
        ids.flatten_all().unwrap().to_vec1().unwrap()
    });
    ids.collect()
}

#[test]
fn the_binary_version_is_read() {
    let folder = folder();
    let config = cifar10(folder.path());
    let data = load(&config).unwrap();
    assert_eq!(sizes(&data), (90, 10, 20), "a tenth for validation");
    assert_eq!((data.classes, data.files.len()), (10, 6));
    let found = data.duplicates;
    assert_eq!((found.within_train, found.within_test, found.train_test), (1, 0, 1));
    let (train, validation) = (data.train.rows(), data.validation.rows());
    assert_eq!(train.contains(&0), train.contains(&50), "equal pictures are in the same split");
    for (row, label) in
        train.iter().zip(data.train.labels()).chain(validation.iter().zip(data.validation.labels()))
    {
        assert_eq!(row % 10, *label);
    }
    let notes = data.notes.join("\n");
    assert!(notes.contains("data_batch_1.bin: unknown variant"), "{notes}");
    assert!(notes.contains("test examples that also occur in training or validation: 1"), "{notes}");

    let batch = data.test.batches(BatchPlan::new(20, Order::Sequential)).next().unwrap().unwrap();
    let Features::Pictures(pictures) = batch.features else { unreachable!() };
    assert_eq!(pictures.dims(), [20, 3, 32, 32]);
    for picture in pictures.flatten_from(1).unwrap().to_vec2::<f32>().unwrap() {
        let (red, green) = (&picture[..1024], &picture[1024..2048]);
        assert!(red.chunks(32).all(|row| row == &red[..32] && row.is_sorted_by(|a, b| a < b)));
        assert!(green.chunks(32).all(|row| row.iter().all(|value| *value == row[0])));
        assert!(green.iter().step_by(32).is_sorted_by(|a, b| a < b));
    }
    // The folder of the archive and its parent are accepted.
    let inner = Source::Cifar10(Files::in_folder(folder.path().join("cifar-10-batches-bin")));
    let again = load(&DataConfig { source: inner, ..config }).unwrap();
    assert_eq!(again.digest, data.digest);
    assert_eq!(again.train.rows(), data.train.rows());
}

/// Validation on the test split, for pictures and text: all training rows are used for training, and a note marks the leak.
#[test]
fn validation_on_the_test_split_is_marked_as_a_leak() {
    let folder = folder();
    for (config, rows, test) in [(cifar10(folder.path()), 100, 20), (imdb(folder.path()), 40, 12)] {
        let config = DataConfig { validation: Some(Validation::TEST_SPLIT), ..config };
        // The second load reads the reviews from the cache.
        for _ in 0..2 {
            let data = load(&config).unwrap();
            assert_eq!(sizes(&data), (rows, test, test));
            assert_eq!(data.validation.rows(), data.test.rows());
            assert_eq!(data.validation.labels(), data.test.labels());
            let notes = data.notes.join("\n");
            assert!(notes.contains("LEAK: validation is the test split"), "{notes}");
        }
        let data =
            load(&DataConfig { limit: Limit { test: Some(10), ..Limit::default() }, ..config }).unwrap();
        assert_eq!(sizes(&data), (rows, 10, 10));
    }
}

#[test]
fn errors_of_an_invalid_binary_version() {
    let check = |damage: &dyn Fn(&Path), expected: &str| {
        let folder = folder();
        let config = cifar10(folder.path());
        let file = folder.path().join("cifar-10-batches-bin/data_batch_2.bin");
        damage(&file);
        let text = load(&config).unwrap_err().to_string();
        assert!(text.starts_with(&file.display().to_string()) && text.contains(expected), "{text}");
    };
    let rewrite = |change: fn(&mut Vec<u8>)| {
        move |file: &Path| {
            let mut bytes = std::fs::read(file).unwrap();
            change(&mut bytes);
            std::fs::write(file, bytes).unwrap();
        }
    };
    check(&rewrite(|bytes| bytes.truncate(3 * ROW + 5)), "row 3 is cut off");
    check(&rewrite(Vec::clear), "row 0 is cut off");
    check(&rewrite(|bytes| bytes[7 * ROW] = 10), "row 7: label 10 is out of range 0 … 9");
    check(&|file| std::fs::remove_file(file).unwrap(), "not found");
}

#[test]
fn a_folder_of_reviews_is_read() {
    let folder = folder();
    let config = imdb(folder.path());
    let data = load(&config).unwrap();
    assert_eq!(sizes(&data), (36, 4, 12));
    assert_eq!(data.test.labels(), [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]);
    assert_eq!(data.validation.labels().iter().sum::<u32>(), 2, "half of validation is positive");
    let tokenizer = std::fs::read_to_string(data.tokenizer.as_ref().unwrap()).unwrap();
    assert!(tokenizer.contains("\"[UNK]\": 1") && tokenizer.contains("\"film\""));
    assert!(!tokenizer.contains("\"test\""), "the vocabulary is computed from training only");
}

/// Files of macOS, Windows, file managers and network drives are neither read nor part of the digest.
#[test]
fn system_files_are_ignored() {
    let (pristine, used) = (folder(), folder());
    let quiet: Progress = std::sync::Arc::new(|_| ());
    for make in [cifar10, imdb] {
        let (first, second) = (make(pristine.path()), make(used.path()));
        let known = load(&first).unwrap();
        for place in ["aclImdb/train/pos", "aclImdb/test/neg", "aclImdb", "cifar-10-batches-bin", "."] {
            let place = used.path().join(place);
            if !place.is_dir() {
                continue;
            }
            for name in ["._0_0.txt", ".DS_Store", ".directory", ".hidden.txt", "Thumbs.db", "desktop.ini"] {
                std::fs::write(place.join(name), b"\0\x05\x16\x07 no review").unwrap();
            }
            for name in [".git", ".ipynb_checkpoints", "__MACOSX", "@eaDir"] {
                std::fs::create_dir_all(place.join(name)).unwrap();
                std::fs::write(place.join(name).join("3_3.txt"), b"a copy").unwrap();
            }
        }
        let found = load(&second).unwrap();
        assert_eq!((&found.digest, sizes(&found)), (&known.digest, sizes(&known)));
        assert_eq!((found.train.labels(), found.notes), (known.train.labels(), known.notes));
        let verified = verify(&second.source, &quiet).unwrap();
        assert_eq!(verified.identity, digest(&first).unwrap());
    }
}

/// A visible file that is not a review gives a note; a folder, a pipe or a dangling link is an error that names it.
#[test]
fn other_files_among_reviews_give_a_note_or_an_error() {
    let folder = folder();
    let config = imdb(folder.path());
    let known = digest(&config).unwrap().digest;
    let place = folder.path().join("aclImdb/train/pos");
    std::fs::write(place.join("3_3.txt~"), b"an older review").unwrap();
    std::fs::write(place.join("notes.md"), b"mine").unwrap();
    let data = load(&config).unwrap();
    assert_eq!((&data.digest, sizes(&data)), (&known, (36, 4, 12)));
    let notes = data.notes.join("\n");
    assert!(
        notes.contains("train/pos: \"3_3.txt~\" and 1 more: not a .txt file, so not read as a review"),
        "{notes}"
    );

    let is_error = |path: &Path, expected: &str| {
        let text = load(&config).unwrap_err().to_string();
        assert!(text.starts_with(&path.display().to_string()) && text.contains(expected), "{text}");
    };
    let older = place.join("older");
    std::fs::create_dir(&older).unwrap();
    is_error(&older, "a folder, expected one .txt file per review here; move it elsewhere");
    std::fs::remove_dir(&older).unwrap();
    #[cfg(unix)]
    {
        let dangling = place.join("90_9.txt");
        std::os::unix::fs::symlink(place.join("gone"), &dangling).unwrap();
        is_error(&dangling, "No such file");
        std::fs::remove_file(&dangling).unwrap();
        let socket = place.join("80_8.txt");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        is_error(&socket, "a pipe, socket or device, expected one .txt file");
    }
}

#[test]
fn a_folder_instead_of_a_file_is_an_error_and_vice_versa() {
    let (one, two) = (folder(), folder());
    let pictures = cifar10(one.path());
    let file = one.path().join("cifar-10-batches-bin/data_batch_3.bin");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let text = load(&pictures).unwrap_err().to_string();
    assert!(text.starts_with(&format!("{}: found a folder; the binary", file.display())), "{text}");
    let reviews = imdb(two.path());
    let place = two.path().join("aclImdb/test/pos");
    std::fs::remove_dir_all(&place).unwrap();
    std::fs::write(&place, b"").unwrap();
    let text = load(&reviews).unwrap_err().to_string();
    assert!(text.starts_with(&format!("{}: found a file; the folder", place.display())), "{text}");
}

#[test]
fn errors_of_invalid_reviews() {
    let check = |bytes: &[u8], expected: &str| {
        let folder = folder();
        let config = imdb(folder.path());
        let file = folder.path().join("aclImdb/train/pos/3_3.txt");
        std::fs::write(&file, bytes).unwrap();
        let text = load(&config).unwrap_err().to_string();
        assert!(text.starts_with(&file.display().to_string()) && text.contains(expected), "{text}");
    };
    check(b"", "3_3.txt: the text is empty");
    check(b"\n \t", "3_3.txt: the text is empty");
    check(b"caf\xE9", "3_3.txt: the text is not UTF-8");
    let folder = folder();
    let config = imdb(folder.path());
    std::fs::remove_dir_all(folder.path().join("aclImdb/test/neg")).unwrap();
    assert!(matches!(load(&config).unwrap_err(), Error::MissingFile { .. }));
    std::fs::create_dir(folder.path().join("aclImdb/test/neg")).unwrap();
    assert!(matches!(load(&config).unwrap_err(), Error::MissingFile { .. }), "the folder is empty");
}

#[test]
fn the_digest_depends_only_on_the_content() {
    let (one, two) = (folder(), folder());
    for make in [cifar10, imdb] {
        let (first, second) = (make(one.path()), make(two.path()));
        let known = digest(&first).unwrap();
        assert_eq!(known, digest(&second).unwrap(), "independent of the folder");
        assert_eq!(known, digest(&first).unwrap(), "from the cache");
        assert_eq!(known.digest, load(&first).unwrap().digest);
        let pinned = DataConfig { pin_digest: Some(known.digest.clone()), ..first.clone() };
        digest(&pinned).unwrap();

        let quiet: Progress = std::sync::Arc::new(|_| ());
        let file = fetch(&first.source, &quiet).unwrap().remove(0);
        let file = if file.is_dir() { file.join("3_3.txt") } else { file };
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[5] ^= 1;
        std::fs::write(&file, &bytes).unwrap();
        // Avoids equal time stamps of the two writes on a coarse clock.
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
        assert_ne!(known.digest, digest(&first).unwrap().digest);
        let error = load(&pinned).unwrap_err();
        assert!(
            matches!(&error, Error::PinnedDigest { expected, .. } if *expected == known.digest),
            "{error}"
        );
    }
}

/// The edit has the same length and restores the modification time.
#[test]
fn an_edit_with_an_old_modification_time_is_detected() {
    let (one, two) = (folder(), folder());
    for config in [cifar10(one.path()), imdb(two.path())] {
        let known = digest(&config).unwrap();
        let quiet: Progress = std::sync::Arc::new(|_| ());
        let file = fetch(&config.source, &quiet).unwrap().remove(0);
        let file = if file.is_dir() { file.join("3_3.txt") } else { file };
        let times = file.metadata().unwrap().modified().unwrap();
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[5] ^= 1;
        std::fs::write(&file, &bytes).unwrap();
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(times).unwrap();
        assert_ne!(digest(&config).unwrap().digest, known.digest);
        assert_ne!(load(&config).unwrap().digest, known.digest);
        assert_ne!(verify(&config.source, &quiet).unwrap().identity.digest, known.digest);
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut open = vec![folder.to_path_buf()];
    let mut found = Vec::new();
    while let Some(next) = open.pop() {
        for path in std::fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

#[test]
fn a_damaged_cache_is_rebuilt() {
    let (one, two) = (folder(), folder());
    for config in [cifar10(one.path()), imdb(two.path())] {
        let first = load(&config).unwrap();
        for file in files_below(&config.cache) {
            let whole = std::fs::read(&file).unwrap();
            for damaged in [&whole[..whole.len() / 2], &[&whole[..1], &[whole[1] ^ 1], &whole[2..]].concat()]
            {
                std::fs::write(&file, damaged).unwrap();
                let again = load(&config).unwrap();
                assert_eq!(again.train.rows(), first.train.rows(), "{}", file.display());
                assert_eq!(again.digest, first.digest);
                if first.tokenizer.is_some() {
                    assert_eq!(token_ids(&again), token_ids(&first), "{}", file.display());
                }
                assert_eq!(std::fs::read(&file).unwrap(), whole, "{} is rebuilt", file.display());
            }
        }
    }
}

#[test]
fn concurrent_loads_share_a_cache() {
    let folder = folder();
    let config = imdb(folder.path());
    let all: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(|| token_ids(&load(&config).unwrap()))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    assert!(all.iter().all(|ids| *ids == all[0]));
    assert_eq!(token_ids(&load(&config).unwrap()), all[0]);
    assert!(files_below(&config.cache).iter().all(|path| path.extension().is_none_or(|e| e != "tmp")));
}

#[test]
fn verification_reads_every_row() {
    let folder = folder();
    let config = cifar10(folder.path());
    let quiet: Progress = std::sync::Arc::new(|_| ());
    let found = verify(&config.source, &quiet).unwrap();
    assert_eq!((found.train, found.test, found.duplicates.train_test), (100, 20, 1));
    assert!(!config.cache.exists(), "verification uses no cache");
    let reviews = verify(&imdb(folder.path()).source, &quiet).unwrap();
    assert_eq!((reviews.train, reviews.test), (40, 12));
}

#[test]
fn settings_out_of_range_are_errors() {
    let folder = folder();
    let config = cifar10(folder.path());
    let error = load(&DataConfig { validation: Some(Validation::Examples(100)), ..config }).unwrap_err();
    assert!(matches!(error, Error::TooFewExamples { wanted: 100, available: 100, .. }), "{error}");
    let mut config = imdb(folder.path());
    config.tokens.max_length = 0;
    assert!(matches!(load(&config), Err(Error::Setting { setting: "tokens.max_length", .. })));
    config.tokens.max_length = 5;
    config.tokens.vocabulary = 2;
    assert!(matches!(load(&config), Err(Error::Setting { setting: "tokens.vocabulary", .. })));
}
