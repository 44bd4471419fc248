//! The real data, if a cache is available at `HF_HOME` or at `../shared/hf` relative to the workspace.

use std::path::PathBuf;

use crate::catalog::catalog;
use crate::files::hub::Hub;
use crate::files::table::{PICTURES, TEXTS, Table};
use crate::files::{Columns, Located, Missing};
use crate::load::load_located;
use crate::{BatchPlan, DataConfig, Dataset, Duplicates, Error, Features, Files, Keep, Limit, Order, Source};

fn hub() -> Option<Hub> {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let home = std::env::var_os("HF_HOME").map_or_else(|| workspace.join("../shared/hf"), PathBuf::from);
    let cache = home.join("hub");
    let there =
        cache.join("datasets--cifar10").is_dir() && cache.join("datasets--stanfordnlp--imdb").is_dir();
    if !there {
        println!("skipped: no cache with the real data at {}", home.display());
    }
    there.then_some(Hub { cache, endpoint: None, offline: true })
}

fn locate(name: &str) -> Option<Located> {
    let hub = hub()?;
    let repo = catalog().unwrap().iter().find(|card| card.name == name).unwrap().hub.as_ref().unwrap();
    let files = repo
        .files
        .iter()
        .map(|file| (file.clone(), hub.file(&repo.id, &repo.revision, &file.path, Missing::Reject).unwrap()));
    Some(Located { files: files.collect(), columns: Columns::default() })
}

fn config(source: Source, cache: &tempfile::TempDir) -> DataConfig {
    DataConfig::new(source, cache.path())
}

fn sizes(data: &Dataset) -> (usize, usize, usize) {
    (data.train.len(), data.validation.len(), data.test.len())
}

#[test]
fn cifar10_is_complete_and_upright() {
    let Some(located) = locate("cifar10") else { return };
    let cache = tempfile::tempdir().unwrap();
    let config = config(Source::Cifar10(Files::default()), &cache);
    let data = load_located(&config, Some(&located)).unwrap();
    assert_eq!(sizes(&data), (45_000, 5_000, 10_000));
    for split in [&data.train, &data.validation, &data.test] {
        for class in 0..10 {
            let n = split.labels().iter().filter(|&&label| label == class).count();
            assert_eq!(n, split.len() / 10, "class {class}");
        }
    }

    // Compares a batch with the pictures decoded from the file: value = table[byte], which increases with the byte.
    let table = Table::open(&located.files[0].1).unwrap();
    let encoded = table.bytes(&PICTURES, None).unwrap();
    let batch = data.validation.batches(BatchPlan::new(8, Order::Sequential)).next().unwrap().unwrap();
    let Features::Pictures(pictures) = &batch.features else { unreachable!() };
    let pictures: Vec<Vec<f32>> = pictures.flatten_from(1).unwrap().to_vec2().unwrap();
    let mut of_byte = vec![[None; 256]; 3];
    for (index, values) in batch.indices.iter().zip(&pictures) {
        let row = data.validation.rows()[*index as usize] as usize;
        let decoded = image::load_from_memory(encoded[row].data()).unwrap().into_rgb8();
        for (x, y, colours) in decoded.enumerate_pixels() {
            for channel in 0..3 {
                let value = values[channel * 1024 + y as usize * 32 + x as usize];
                let known = of_byte[channel][usize::from(colours.0[channel])].get_or_insert(value);
                assert_eq!(*known, value, "row {row}: one byte, one value");
            }
        }
    }
    for known in of_byte {
        let values: Vec<f32> = known.iter().flatten().copied().collect();
        assert!(values.len() > 100 && values.is_sorted_by(|a, b| a < b));
    }

    // The second load decodes only the rows in use, with the same choice.
    let again = load_located(&config, Some(&located)).unwrap();
    assert_eq!(again.train.rows(), data.train.rows());
    let limit = Limit { train: Some(512), validation: Some(100), test: Some(50) };
    let some = load_located(&DataConfig { limit, ..config }, Some(&located)).unwrap();
    assert_eq!(sizes(&some), (512, 100, 50));
    assert!(some.train.rows().iter().all(|row| data.train.rows().binary_search(row).is_ok()));
    assert!(some.notes.iter().any(|note| note.contains("jpeg-copy")), "{:?}", some.notes);
}

#[test]
fn duplicates_in_imdb_stay_in_one_split() {
    let Some(located) = locate("imdb") else { return };
    let cache = tempfile::tempdir().unwrap();
    let mut config = config(Source::Imdb(Files::default()), &cache);
    config.limit = Limit { train: Some(1000), validation: None, test: Some(200) };
    config.tokens.max_length = 50;
    let data = load_located(&config, Some(&located)).unwrap();
    assert_eq!(sizes(&data), (1000, 2_500, 200));
    // Published counts of the originals: 24,904 and 24,801 distinct texts, 123 test texts that occur in training.
    let expected = Duplicates { within_train: 96, within_test: 199, train_test: 123 };
    assert_eq!(data.duplicates, expected);

    let texts = Table::open(&located.files[0].1).unwrap().bytes(&TEXTS, None).unwrap();
    let validation: std::collections::BTreeSet<&[u8]> =
        data.validation.rows().iter().map(|&row| texts[row as usize].data()).collect();
    let in_validation = data.validation.rows();
    let elsewhere = (0..25_000_u32).filter(|row| in_validation.binary_search(row).is_err());
    for row in elsewhere {
        assert!(!validation.contains(texts[row as usize].data()), "row {row} repeats one of validation");
    }

    // The cache gives the same batches, and other token settings have another cache entry.
    let first = |data: &Dataset| {
        let batch = data.train.batches(BatchPlan::new(16, Order::Shuffled { seed: 3, epoch: 1 })).next();
        let Features::Tokens { ids, .. } = batch.unwrap().unwrap().features else { unreachable!() };
        ids.to_vec2::<u32>().unwrap()
    };
    let again = load_located(&config, Some(&located)).unwrap();
    assert_eq!(first(&again), first(&data));
    config.tokens.keep = Keep::Start;
    let start = load_located(&config, Some(&located)).unwrap();
    assert_ne!(first(&start), first(&data));
}

#[test]
fn another_digest_than_the_pinned_one_is_an_error() {
    let Some(located) = locate("cifar10") else { return };
    let cache = tempfile::tempdir().unwrap();
    let mut config = config(Source::Cifar10(Files::default()), &cache);
    config.pin_digest = Some("0".repeat(64));
    let error = load_located(&config, Some(&located)).unwrap_err();
    assert!(matches!(error, Error::PinnedDigest { .. }), "{error}");
}
