//! Picture sets that exceed the memory budget: bit-identical batches and limited memory.
#![allow(clippy::unwrap_used, reason = "panics fail the test")]

mod folder {
    //! CIFAR-10's binary version with few rows.

    use std::path::Path;

    const FILES: [&str; 6] = [
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
        "test_batch.bin",
    ];

    pub(crate) fn write(folder: &Path) {
        for (file, name) in FILES.iter().enumerate() {
            let row = |row: usize| {
                let pixels = (0..3072).map(move |i| (i * (row + 3) + file * 7) as u8);
                std::iter::once((row % 10) as u8).chain(pixels)
            };
            std::fs::write(folder.join(name), (0..20).flat_map(row).collect::<Vec<u8>>()).unwrap();
        }
    }
}

use std::path::Path;

use lrlab_data::{
    AugmentConfig, BatchPlan, DataConfig, Dataset, Features, Files, InMemory, Labelled, Limit, Order, Source,
    SyntheticPictures, load,
};

/// Returns the bits of the normalisation and of the batches of two passes with augmentation.
fn bits(data: &Dataset) -> Vec<u64> {
    let mut all: Vec<u64> = data.normalisation().unwrap().iter().flatten().map(|x| x.to_bits()).collect();
    let augment = AugmentConfig { crop_padding: 2, flip: true, cutout: 3 };
    for (split, order) in [
        (&data.train, Order::Shuffled { seed: 3, epoch: 0 }),
        (&data.train, Order::Shuffled { seed: 3, epoch: 1 }),
        (&data.validation, Order::Sequential),
        (&data.test, Order::Sequential),
    ] {
        for batch in split.batches(BatchPlan { augment, ..BatchPlan::new(7, order) }) {
            let batch = batch.unwrap();
            let Features::Pictures(pictures) = batch.features else { unreachable!() };
            let values = pictures.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            all.extend(values.iter().map(|value| u64::from(value.to_bits())));
            all.extend(batch.labels.to_vec1::<u32>().unwrap().iter().map(|&label| u64::from(label)));
        }
    }
    all
}

fn pixel_files(cache: &Path) -> usize {
    let files = std::fs::read_dir(cache.join("pictures")).into_iter().flatten().flatten();
    files.filter(|file| file.path().extension().is_some_and(|kind| kind == "pixels")).count()
}

/// With and without an index in the cache, for all rows and with a limit.
#[test]
fn pictures_beyond_the_budget_give_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    folder::write(folder.path());
    let source = Source::Cifar10(Files { folder: Some(folder.path().to_path_buf()) });
    for limit in [Limit::default(), Limit { train: Some(30), ..Limit::default() }] {
        let config = |cache: &str, memory| DataConfig {
            limit: limit.clone(),
            memory,
            ..DataConfig::new(source.clone(), folder.path().join(cache))
        };
        let expected = load(&config("plain", DataConfig::MEMORY)).unwrap();
        assert!(expected.train.raw().is_some());
        for cache in ["none", "plain", "plain"] {
            let data = load(&config(cache, 10_000)).unwrap();
            assert!(data.train.raw().is_none());
            assert_eq!(data.digest, expected.digest);
            assert!(bits(&data) == bits(&expected), "{cache} {limit:?}");
            assert_eq!(pixel_files(&folder.path().join(cache)), 2);
        }
        std::fs::remove_dir_all(folder.path().join("none")).unwrap();
        std::fs::remove_dir_all(folder.path().join("plain")).unwrap();
    }
}

/// Returns `count` pictures of noise, several per item.
fn noise(count: usize, bytes: usize) -> impl Iterator<Item = std::io::Result<Vec<u8>>> {
    let picture = move |row: usize| (0..bytes).map(move |i| ((i * 31) ^ (row * 17) ^ ((i * row) >> 3)) as u8);
    (0..count).step_by(4).map(move |row| Ok((row..count.min(row + 4)).flat_map(picture).collect()))
}

fn streamed(count: usize, side: usize) -> InMemory<impl Iterator<Item = std::io::Result<Vec<u8>>>> {
    let part = |count: usize| {
        Labelled::new(noise(count, side * side), (0..count as u32).map(|row| row % 3).collect())
    };
    InMemory {
        validation: Some(part(count / 4)),
        ..InMemory::new("noise", ["a", "b", "c"], part(count), part(20))
    }
}

fn config(cache: &Path, memory: u64) -> DataConfig {
    let unused = Source::SyntheticPictures(SyntheticPictures::default());
    DataConfig { memory, ..DataConfig::new(unused, cache) }
}

#[test]
fn a_stream_equals_the_same_pictures_in_memory() {
    let cache = tempfile::tempdir().unwrap();
    let collect = |stream: InMemory<_>| {
        let part = |part: Labelled<_>| {
            let pixels: Vec<u8> = Iterator::flatten(part.examples).flatten().collect();
            Labelled::new(pixels, part.labels)
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
    };
    let set = collect(streamed(50, 6));
    let expected = Dataset::from_pictures([1, 6, 6], set, &config(cache.path(), 0)).unwrap();
    for (memory, files) in [(u64::MAX, 0), (1500, 1), (0, 2)] {
        let data =
            Dataset::from_picture_stream([1, 6, 6], streamed(50, 6), &config(cache.path(), memory)).unwrap();
        assert_eq!((&data.digest, data.duplicates), (&expected.digest, expected.duplicates));
        assert!(bits(&data) == bits(&expected), "{memory}");
        assert_eq!(pixel_files(cache.path()), files);
    }
}

#[test]
fn errors_of_a_stream_name_the_row() {
    let cache = tempfile::tempdir().unwrap();
    let error = |items: Vec<Result<Vec<u8>, String>>| {
        let part = || Labelled::new(items.clone(), vec![0, 1, 1]);
        let set = InMemory::new("birds", ["wren", "robin"], part(), part());
        Dataset::from_picture_stream([1, 2, 2], set, &config(cache.path(), 0)).unwrap_err().to_string()
    };
    let picture = || Ok(vec![1; 4]);
    for (items, expected) in [
        (vec![picture(), Err("no such file".to_owned())], "train row 1: no such file"),
        (vec![picture(), Ok(vec![1; 5])], "train row 1: 5 bytes of pixels, expected a multiple of 4"),
        (vec![picture()], "train: 1 examples, but 3 labels"),
        (vec![picture(), Ok(vec![1; 12])], "train: 4 or more examples, but 3 labels"),
    ] {
        let message = error(items);
        assert!(message.contains("birds") && message.contains(expected), "no {expected:?} in {message}");
    }
}

/// A separate process loads 200 MB of pictures with a budget of 8 MiB.
#[cfg(target_os = "linux")]
#[test]
fn memory_stays_within_the_budget() {
    const CHILD: &str = "LRLAB_BEYOND_MEMORY";
    if std::env::var_os(CHILD).is_some() {
        let cache = tempfile::tempdir().unwrap();
        let data = Dataset::from_picture_stream(
            [1, 128, 128],
            streamed(10_000, 128),
            &config(cache.path(), 8 << 20),
        )
        .unwrap();
        let mut examples = 0;
        for batch in data.train.batches(BatchPlan::new(64, Order::Shuffled { seed: 0, epoch: 0 })) {
            examples += batch.unwrap().indices.len();
        }
        assert_eq!(examples, 10_000);
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(kib < 100 << 10, "the peak is {kib} KiB for 200 MB of pictures");
        return;
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "memory_stays_within_the_budget", "--nocapture"]).env(CHILD, "1");
    let ran = child.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}
