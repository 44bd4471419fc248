//! User-provided data sets in folders, with files of operating systems and edits that keep a file's size and time.

use std::path::Path;

use lrlab_tests::{Ran, SHARED, TINY, files, results, run, runner};

fn reviews(folder: &Path) {
    for part in ["train", "test"] {
        for (class, word) in [("neg", "dull"), ("pos", "fine")] {
            let place = folder.join("aclImdb").join(part).join(class);
            std::fs::create_dir_all(&place).unwrap();
            for i in 0..10 {
                let text = format!("A {word} film, the {i}th of {part}.");
                std::fs::write(place.join(format!("{i}_{i}.txt")), text).unwrap();
            }
        }
    }
}

fn verify(folder: &Path) -> String {
    let ran = run(folder, &["data", "verify", "imdb", "--folder", "."]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    ran.out
}

#[test]
fn files_of_operating_systems_are_ignored() {
    let folder = tempfile::tempdir().unwrap();
    reviews(folder.path());
    let pristine = verify(folder.path());
    assert!(pristine.contains("20 rows for training and validation, 20 for test"), "{pristine}");
    let place = folder.path().join("aclImdb/train/pos");
    std::fs::write(place.join("._0_0.txt"), b"\0\x05\x16\x07 of another system").unwrap();
    std::fs::write(place.join(".DS_Store"), b"of another system").unwrap();
    std::fs::create_dir(place.join(".Trash")).unwrap();
    assert_eq!(verify(folder.path()), pristine);
}

/// The binary version of CIFAR-10, with few rows.
fn pictures(folder: &Path) {
    for (file, name) in
        ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"]
            .iter()
            .enumerate()
    {
        let row = |row: usize| {
            let pixels = (0..3072).map(move |i| (i * (row + 3) + file * 7) as u8);
            std::iter::once((row % 10) as u8).chain(pixels)
        };
        std::fs::write(folder.join(format!("{name}.bin")), (0..20).flat_map(row).collect::<Vec<u8>>())
            .unwrap();
    }
}

/// The bits of a run do not depend on whether its pictures are in memory.
#[test]
fn pictures_outside_memory_give_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    pictures(folder);
    let text = TINY
        .replace("synthetic_pictures = { train = 40, test = 10 }", "cifar10 = { folder = \".\" }")
        .replace("epochs = [1]", "epochs = [3]")
        .replace("[data.pictures]", "[data.pictures]\naugment = { crop_padding = 4, flip = true }");
    std::fs::write(folder.join("tiny.toml"), text).unwrap();
    let call = |memory: &str, out: &str| {
        let mut command = runner(folder);
        command.env("LRLAB_DATA_MEMORY", memory).args(["run", "tiny.toml", "--device", "cpu", "--out", out]);
        Ran::of(&command.output().unwrap())
    };
    for (memory, out) in [("100", "plain"), ("0", "file")] {
        let ran = call(memory, out);
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
    let files = |out: &str| files(&folder.join(out).join("cache/pictures"));
    let pixels = |out: &str| {
        files(out).iter().filter(|path| path.extension().is_some_and(|kind| kind == "pixels")).count()
    };
    assert_eq!((pixels("plain"), pixels("file")), (0, 2));
    let (plain, file) = (results(&folder.join("plain")), results(&folder.join("file")));
    assert_eq!(plain.len(), 2);
    for (id, result) in plain {
        for key in SHARED {
            assert_eq!(file[&id][key], result[key], "{key}");
        }
        let weights =
            |out: &str| std::fs::read(folder.join(out).join("store").join(&id).join("best.safetensors"));
        assert_eq!(weights("file").unwrap(), weights("plain").unwrap());
    }
    let wrong = call("much", "plain");
    assert!(
        wrong.code == 2 && wrong.err.contains("LRLAB_DATA_MEMORY=much: expected a whole number of MiB"),
        "{}",
        wrong.err
    );
}

/// An edit of the same length, after which the modification time is restored.
#[test]
fn edits_that_keep_size_and_time_are_found() {
    let folder = tempfile::tempdir().unwrap();
    reviews(folder.path());
    let pristine = verify(folder.path());
    let file = folder.path().join("aclImdb/train/pos/3_3.txt");
    let times = file.metadata().unwrap().modified().unwrap();
    let text = std::fs::read_to_string(&file).unwrap().replace("fine", "poor");
    std::fs::write(&file, text).unwrap();
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(times).unwrap();
    assert_ne!(verify(folder.path()), pristine);
}

/// Every data set of the catalog can be fetched and verified by its name or its repository.
#[test]
fn data_sets_are_known_by_name_and_repository() {
    let folder = tempfile::tempdir().unwrap();
    let call = |args: &[&str]| {
        let mut command = lrlab_tests::runner(folder.path());
        command.env_remove("HF_HUB_CACHE").env_remove("HUGGINGFACE_HUB_CACHE");
        let command = command.envs([("HF_HOME", "home"), ("HF_HUB_OFFLINE", "1")]);
        Ran::of(&command.arg("data").args(args).output().unwrap())
    };
    for (name, repo) in [
        ("fashion-mnist", "zalando-datasets/fashion_mnist"),
        ("fancyzhx/yelp_polarity", "fancyzhx/yelp_polarity"),
        ("cifar10", "cifar10"),
    ] {
        for what in ["fetch", "verify"] {
            let ran = call(&[what, name]);
            assert_eq!(ran.code, 2, "{}", ran.out);
            assert!(
                ran.err.contains(&format!("{repo}: ")) && ran.err.contains("HF_HUB_OFFLINE"),
                "{}",
                ran.err
            );
        }
    }
    let ran = call(&["verify", "synthetic-reviews"]);
    assert!(ran.code == 0 && ran.out.contains("every row is readable"), "{}", ran.err);
    for (args, words) in [
        (&["verify", "sst2", "--folder", "."][..], "sst2 has no version in a folder"),
        (&["fetch", "sst-3"], "unknown data set \"sst-3\": expected one of cifar10, imdb, cifar100, "),
    ] {
        let ran = call(args);
        assert!(ran.code == 2 && ran.err.contains(words), "{}", ran.err);
    }
}

/// A run of the data in the folder of the experiment file.
fn own_data(folder: &Path) {
    pictures(folder);
    let text = TINY.replace("synthetic_pictures = { train = 40, test = 10 }", "cifar10 = { folder = \".\" }");
    std::fs::write(folder.join("tiny.toml"), text).unwrap();
}

/// Results on data that this machine no longer has are not garbage.
#[test]
fn gc_keeps_the_results_of_other_data() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    own_data(folder);
    let call = |args: &[&str]| run(folder, args);
    assert_eq!(call(&["run", "tiny.toml", "--device", "cpu"]).code, 0);
    let done = results(&folder.join("runs"));
    let batch = folder.join("data_batch_1.bin");
    let mut bytes = std::fs::read(&batch).unwrap();
    bytes[1] ^= 1;
    std::fs::write(&batch, bytes).unwrap();
    let refused = call(&["gc", "tiny.toml", "--yes"]);
    assert!(
        refused.code == 2 && refused.err.contains("the data on this machine have the digest"),
        "{}",
        refused.err
    );
    assert_eq!(results(&folder.join("runs")), done);
    // The experiment now uses the other data.
    assert_eq!(call(&["run", "tiny.toml", "--device", "cpu"]).code, 0);
    assert_eq!(results(&folder.join("runs")).len(), 2 * done.len());
    let removed = call(&["gc", "tiny.toml", "--yes"]);
    assert_eq!(removed.code, 0, "{}", removed.err);
    let left = results(&folder.join("runs"));
    assert!(left.len() == done.len() && left.keys().all(|id| !done.contains_key(id)));
}

/// The commands work from any folder, also if the folder of the data is relative.
#[test]
fn listed_commands_find_relative_data() {
    let folder = tempfile::tempdir().unwrap();
    own_data(folder.path());
    let listed = run(folder.path(), &["run", "tiny.toml", "--device", "cpu", "--emit", "commands"]);
    assert_eq!(listed.code, 0, "{}", listed.err);
    let elsewhere = tempfile::tempdir().unwrap();
    for line in listed.out.lines() {
        let output =
            lrlab_tests::start(Path::new("sh"), elsewhere.path()).args(["-c", line]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(results(&folder.path().join("runs")).len(), listed.out.lines().count());
}
