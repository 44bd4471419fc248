//! Texts and token sequences that exceed the budget of memory: the same batches to the bit, and little memory.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use lrlab_data::{
    BatchPlan, DataConfig, Dataset, Error, Features, Files, InMemory, Labelled, Limit, Order, Source, Split,
    SyntheticReviews, TokenConfig, TokenizerKind, Validation, load,
};

type Item<T> = Result<T, std::io::Error>;

/// All batches: two shuffled passes over the training split, and one over each of the others.
fn batches(data: &Dataset) -> Vec<u32> {
    let mut all = Vec::new();
    for (split, order) in [
        (&data.train, Order::Shuffled { seed: 3, epoch: 0 }),
        (&data.train, Order::Shuffled { seed: 3, epoch: 1 }),
        (&data.validation, Order::Sequential),
        (&data.test, Order::Sequential),
    ] {
        all.extend(split.rows());
        for batch in split.batches(BatchPlan::new(7, order)) {
            let batch = batch.unwrap();
            let Features::Tokens { ids, mask } = batch.features else { unreachable!() };
            all.extend(ids.flatten_all().unwrap().to_vec1::<u32>().unwrap());
            all.extend(mask.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(|x| x.to_bits()));
            all.extend(batch.labels.to_vec1::<u32>().unwrap());
            all.extend(batch.indices);
        }
    }
    all
}

fn in_memory(data: &Dataset) -> [bool; 3] {
    [&data.train, &data.validation, &data.test].map(|split: &Split| split.raw().is_some())
}

/// The files of `cache` that hold tokens; temporary files are gone.
fn token_files(cache: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(cache.join("tokens")).into_iter().flatten().flatten();
    let files: Vec<PathBuf> = files.map(|file| file.path()).collect();
    let temporary = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes()[0] == b'.');
    assert!(!files.iter().any(temporary), "{files:?}");
    files.into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "tokens")).collect()
}

/// Row 11 repeats row 4, and the first rows of test those of training.
fn text(row: usize) -> String {
    let row = if row == 11 { 4 } else { row };
    let word = |i: usize| format!("Word{} {}", (row * 7 + i) % 31, ["is", "was", "not"][i % 3]);
    (0..=row % 9).map(word).collect::<Vec<_>>().concat()
}

fn sequence(row: usize) -> Vec<u32> {
    let row = if row == 11 { 4 } else { row };
    (0..=row % 9).map(|i| 1 + ((row * 7 + i) % 97) as u32).collect()
}

fn set<T: 'static>(example: fn(usize) -> T, own: bool) -> InMemory<Box<dyn Iterator<Item = Item<T>>>> {
    let part = |from: usize, count: usize| {
        let examples: Box<dyn Iterator<Item = Item<T>>> =
            Box::new((from..from + count).map(move |row| Ok(example(row))));
        Labelled::new(examples, (0..count as u32).map(|row| row % 3).collect())
    };
    InMemory {
        validation: own.then(|| part(200, 20)),
        notes: vec!["made up".to_owned()],
        ..InMemory::new("made", ["a", "b", "c"], part(0, 90), part(3, 30))
    }
}

fn whole<T>(stream: InMemory<Box<dyn Iterator<Item = Item<T>>>>) -> InMemory<Vec<T>> {
    let part = |part: Labelled<Box<dyn Iterator<Item = Item<T>>>>| {
        Labelled::new(part.examples.map(Result::unwrap).collect(), part.labels)
    };
    InMemory {
        name: stream.name,
        classes: stream.classes,
        train: part(stream.train),
        validation: stream.validation.map(part),
        test: part(stream.test),
        notes: stream.notes,
        key: stream.key,
    }
}

fn config(cache: &Path, memory: u64) -> DataConfig {
    let unused = Source::SyntheticReviews(SyntheticReviews::default());
    DataConfig {
        memory,
        tokens: TokenConfig { max_length: 6, ..TokenConfig::default() },
        ..DataConfig::new(unused, cache)
    }
}

fn assert_same(data: &Dataset, expected: &Dataset, context: &str) {
    assert_eq!(
        (&data.digest, data.duplicates, &data.notes, data.kind),
        (&expected.digest, expected.duplicates, &expected.notes, expected.kind),
        "{context}"
    );
    assert!(batches(data) == batches(expected), "{context}");
}

/// Settings that change the splits, each with a split for validation of its own or without.
fn settings() -> Vec<(bool, DataConfig)> {
    let base = config(Path::new(""), 0);
    let limit = Limit { train: Some(20), validation: Some(6), test: Some(9) };
    vec![
        (false, base.clone()),
        (true, base.clone()),
        (false, DataConfig { limit, ..base.clone() }),
        (false, DataConfig { validation: Some(Validation::TEST_SPLIT), ..base.clone() }),
        (false, DataConfig { validation: Some(Validation::Examples(30)), split_seed: 4, ..base }),
    ]
}

#[test]
fn streams_of_tokens_are_the_sets_of_their_sequences() {
    for (own, settings) in settings() {
        let cache = tempfile::tempdir().unwrap();
        let config = |memory| DataConfig { memory, cache: cache.path().to_path_buf(), ..settings.clone() };
        let expected = Dataset::from_tokens(98, whole(set(sequence, own)), &config(u64::MAX)).unwrap();
        assert_eq!(in_memory(&expected), [true; 3]);
        assert!(expected.duplicates.within_train > 0 && expected.duplicates.train_test > 0);
        assert_eq!(token_files(cache.path()).len(), 0, "nothing to keep");
        for memory in [0, 300, 0, 1 << 20] {
            let data = Dataset::from_token_stream(98, set(sequence, own), &config(memory)).unwrap();
            assert_same(&data, &expected, &format!("{settings:?} in {memory} bytes"));
            assert_eq!(in_memory(&data)[0], memory == 1 << 20);
            assert_eq!(token_files(cache.path()).len(), 1);
        }
    }
}

#[test]
fn streams_of_texts_are_the_sets_of_their_texts() {
    for (own, settings) in settings() {
        for kind in [TokenizerKind::Word, TokenizerKind::WordPiece] {
            let (plain, beyond) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let config = |cache: &tempfile::TempDir, memory| DataConfig {
                memory,
                tokens: TokenConfig { tokenizer: kind, vocabulary: 60, ..settings.tokens.clone() },
                cache: cache.path().to_path_buf(),
                ..settings.clone()
            };
            let expected = Dataset::from_texts(whole(set(text, own)), &config(&plain, u64::MAX)).unwrap();
            for memory in [0, 300, u64::MAX] {
                let data = Dataset::from_text_stream(set(text, own), &config(&beyond, memory)).unwrap();
                assert_same(&data, &expected, &format!("{settings:?} in {memory} bytes"));
                assert_eq!(in_memory(&data)[0], memory == u64::MAX);
            }
            // The files are those of a set in memory, byte by byte.
            for folder in ["tokens", "tokenizers"] {
                let entries = std::fs::read_dir(plain.path().join(folder)).unwrap();
                let paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
                assert_eq!(paths.len(), 2);
                for path in paths {
                    let other = beyond.path().join(folder).join(path.file_name().unwrap());
                    assert!(std::fs::read(&path).unwrap() == std::fs::read(other).unwrap(), "{path:?}");
                }
            }
        }
    }
}

#[test]
fn folders_beyond_the_budget() {
    let folder = tempfile::tempdir().unwrap();
    for (place, count) in [("train/neg", 30), ("train/pos", 25), ("test/neg", 8), ("test/pos", 9)] {
        let place = folder.path().join("aclImdb").join(place);
        std::fs::create_dir_all(&place).unwrap();
        for row in 0..count {
            std::fs::write(place.join(format!("{row:02}_1.txt")), text(row)).unwrap();
        }
    }
    let source = Source::Imdb(Files { folder: Some(folder.path().to_path_buf()) });
    let config = |cache: &str, memory| DataConfig {
        memory,
        validation: Some(Validation::Examples(10)),
        ..DataConfig::new(source.clone(), folder.path().join(cache))
    };
    let expected = load(&config("plain", DataConfig::MEMORY)).unwrap();
    for cache in ["other", "other", "plain"] {
        let data = load(&config(cache, 0)).unwrap();
        assert_eq!(in_memory(&data), [false; 3]);
        assert_same(&data, &expected, cache);
    }
}

#[test]
fn a_damaged_file_is_rebuilt_or_named() {
    let cache = tempfile::tempdir().unwrap();
    let config = config(cache.path(), 0);
    let make = || Dataset::from_text_stream(set(text, false), &config).unwrap();
    let expected = batches(&make());
    let [path] = &token_files(cache.path())[..] else { panic!("one file") };
    let original = std::fs::read(path).unwrap();
    let checksum = path.with_extension("tokens.blake3");
    let flipped = |place: usize| {
        let mut bytes = original.clone();
        bytes[place] ^= 1;
        bytes
    };
    let damages: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("truncated", original[..original.len() - 3].to_vec()),
        ("longer", [&original[..], &[0; 4]].concat()),
        ("another size", flipped(23)),
        ("another label", flipped(28)),
        ("another token", flipped(original.len() - 1)),
    ];
    for (damage, bytes) in damages {
        std::fs::write(path, bytes).unwrap();
        assert!(batches(&make()) == expected, "{damage}");
        assert!(std::fs::read(path).unwrap() == original, "{damage}");
    }
    std::fs::remove_file(&checksum).unwrap();
    assert!(batches(&make()) == expected);

    // Damage after the file was opened.
    let data = make();
    let mut file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut last = [0];
    file.seek(SeekFrom::End(-1)).unwrap();
    file.read_exact(&mut last).unwrap();
    file.seek(SeekFrom::End(-1)).unwrap();
    file.write_all(&[last[0] ^ 1]).unwrap();
    let passed = |split: &Split| -> Result<(), Error> {
        split.batches(BatchPlan::new(5, Order::Sequential)).try_for_each(|batch| batch.map(drop))
    };
    passed(&data.train).unwrap();
    let message = passed(&data.test).unwrap_err().to_string();
    assert!(message.contains(path.to_str().unwrap()) && message.contains("row 29 is damaged"), "{message}");
    file.set_len(20).unwrap();
    let message = passed(&data.train).unwrap_err().to_string();
    assert!(message.contains(path.to_str().unwrap()), "{message}");
}

#[test]
fn invalid_streams_are_rejected() {
    let cache = tempfile::tempdir().unwrap();
    let set = |items: Vec<Result<String, String>>| {
        let part = || Labelled::new(items.clone(), vec![0, 1, 1]);
        InMemory::new("birds", ["wren", "robin"], part(), part())
    };
    let good = || Ok("a b c".to_owned());
    for (items, expected) in [
        (vec![good(), Err("no such file".to_owned())], "train row 1: no such file"),
        (vec![good(), good(), Ok(" ".to_owned())], "train row 2: the text is empty"),
        (vec![good()], "train: 1 examples, but 3 labels"),
        (vec![good(); 5], "train: 4 or more examples, but 3 labels"),
    ] {
        let told = Dataset::from_text_stream(set(items), &config(cache.path(), 0)).unwrap_err().to_string();
        assert!(told.contains("birds") && told.contains(expected), "no {expected:?} in {told}");
    }
    let tokens = |row: Vec<u32>| {
        let part = || Labelled::new(vec![Ok::<_, String>(row.clone())], vec![0]);
        let set = InMemory::new("codes", ["a", "b"], part(), part());
        Dataset::from_token_stream(10, set, &config(cache.path(), 0)).unwrap_err().to_string()
    };
    assert_eq!(tokens(vec![]), "codes: train row 0: the sequence is empty");
    assert_eq!(tokens(vec![3, 10]), "codes: train row 0: token 10 is out of range 1 … 9");
}

/// In a process of its own: 200 MB of tokens with a budget of 8 MiB.
#[cfg(target_os = "linux")]
#[test]
fn tokens_stay_within_the_budget() {
    let data = |cache: &Path| {
        let row =
            |row: u32| Ok::<_, std::io::Error>((0..1000).map(|i| 1 + (row * 31 + i * 7) % 4999).collect());
        let part = |count: u32| Labelled::new((0..count).map(row), (0..count).map(|row| row % 2).collect());
        let set = InMemory::new("long", ["a", "b"], part(50_000), part(100));
        let tokens = TokenConfig { max_length: 1000, ..TokenConfig::default() };
        Dataset::from_token_stream(5000, set, &DataConfig { tokens, ..config(cache, 8 << 20) }).unwrap()
    };
    in_a_child("tokens_stay_within_the_budget", 40_000, data);
}

/// In a process of its own: 130 MB of texts, and 40 MB of tokens, with a budget of 4 MiB.
#[cfg(target_os = "linux")]
#[test]
fn texts_stay_within_the_budget() {
    let data = |cache: &Path| {
        let row = |row: u32| {
            let words: Vec<String> =
                (0..500).map(|i| format!("word{:08}", (row * 31 + i * 7) % 499)).collect();
            Ok::<_, std::io::Error>(format!("{row} {}", words.join(" ")))
        };
        let part = |count: u32| Labelled::new((0..count).map(row), (0..count).map(|row| row % 2).collect());
        let set = InMemory::new("long", ["a", "b"], part(20_000), part(100));
        let tokens = TokenConfig { max_length: 1000, ..TokenConfig::default() };
        Dataset::from_text_stream(set, &DataConfig { tokens, ..config(cache, 4 << 20) }).unwrap()
    };
    in_a_child("texts_stay_within_the_budget", 16_000, data);
}

/// Runs the test `name` again in a process of its own, where it reads all of `data` and measures its peak.
#[cfg(target_os = "linux")]
fn in_a_child(name: &str, training: usize, data: impl FnOnce(&Path) -> Dataset) {
    const CHILD: &str = "LRLAB_SEQUENCES_BEYOND_MEMORY";
    if std::env::var_os(CHILD).is_some() {
        let cache = tempfile::tempdir().unwrap();
        let data = data(cache.path());
        assert!(data.train.raw().is_none());
        let mut examples = 0;
        for batch in data.train.batches(BatchPlan::new(64, Order::Shuffled { seed: 0, epoch: 0 })) {
            examples += batch.unwrap().indices.len();
        }
        assert_eq!(examples, training);
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(kib < 100 << 10, "{kib} KiB at the peak, of 200 or 130 MB");
        return;
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", name, "--nocapture"]).env(CHILD, "1");
    let ran = child.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}
