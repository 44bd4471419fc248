//! Commands without the data, and an installed program without the workspace.

#[path = "../../../crates/lrlab-data/tests/common/mod.rs"]
mod tables;

use std::io::ErrorKind;
use std::net::TcpListener;

use parquet::basic::Compression;
use tables::Values;

use super::*;

/// The reviews of a class and a split.
fn reviews(class: &str, part: &str) -> impl Iterator<Item = String> {
    (0..20).map(move |i| format!("{class} film {i} of {part}"))
}

/// A folder with IMDB's layout.
fn reviews_in_a_folder(folder: &Path) {
    for (part, class) in [("train", "neg"), ("train", "pos"), ("test", "neg"), ("test", "pos")] {
        let place = folder.join("aclImdb").join(part).join(class);
        std::fs::create_dir_all(&place).unwrap();
        for (i, text) in reviews(class, part).enumerate() {
            std::fs::write(place.join(format!("{i}_1.txt")), text).unwrap();
        }
    }
}

/// A cache of the hub with a data set in two parquet files.
fn reviews_of_the_hub(folder: &Path) {
    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
    let repo = folder.join("home/hub/datasets--me--films");
    std::fs::create_dir_all(repo.join("refs/refs/convert")).unwrap();
    std::fs::write(repo.join("refs/refs/convert/parquet"), COMMIT).unwrap();
    let files = repo.join("snapshots").join(COMMIT);
    std::fs::create_dir_all(&files).unwrap();
    for part in ["train", "test"] {
        let texts = ["neg", "pos"].iter().flat_map(|class| reviews(class, part)).map(String::into_bytes);
        let columns = [Values::Bytes(texts.collect()), Values::Whole((0..40).map(|row| row / 20).collect())];
        let schema = "optional binary text (UTF8); optional int64 label;";
        tables::write(&files.join(format!("{part}.parquet")), schema, Compression::SNAPPY, &columns);
    }
}

/// A store and its experiment, copied to a machine that has no data: everything but training works, and nothing is
/// downloaded.
#[test]
fn everything_but_training_works_without_the_data() {
    let hub = "hub_texts = { repo = \"me/films\", train = [\"train.parquet\"], test = [\"test.parquet\"] }";
    for (name, source) in [("imdb", "imdb = { folder = \"aclImdb\" }"), ("me/films", hub)] {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (here, there) = (here.path(), there.path());
        // The hub, which no command calls: a connection would wait to be accepted.
        let hub_server = TcpListener::bind("127.0.0.1:0").unwrap();
        hub_server.set_nonblocking(true).unwrap();
        let endpoint = format!("http://{}", hub_server.local_addr().unwrap());
        let call = |folder: &Path, args: &[&str]| {
            let mut command = runner(folder);
            for variable in ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE"] {
                command.env_remove(variable);
            }
            Ran::of(
                &command.envs([("HF_HOME", "home"), ("HF_ENDPOINT", &endpoint)]).args(args).output().unwrap(),
            )
        };
        if source == hub {
            reviews_of_the_hub(here);
        } else {
            reviews_in_a_folder(here);
        }
        write(
            here,
            "tiny.toml",
            &[
                ("network = { linear = {} }", "network = { bag_of_embeddings = { embedding = 4 } }"),
                ("synthetic_pictures = { train = 40, test = 10 }", source),
            ],
        );
        good(call(here, &RUN));

        copy(&here.join("runs"), &there.join("runs"));
        std::fs::remove_dir_all(there.join("runs/cache")).unwrap();
        std::fs::remove_dir_all(there.join("runs/tiny/report")).unwrap();
        std::fs::copy(here.join("tiny.toml"), there.join("tiny.toml")).unwrap();
        let note = format!("the data of {name} are not available, so the digest in the stored plan is used");
        for (args, words) in [
            (&["plan", "tiny.toml"][..], "tiny: 2 runs, 2 done"),
            (&["status", "tiny.toml", "--seeds", "1"], "tiny: 1 run, 1 done"),
            (&["report", "tiny.toml"], "report: runs/tiny/report/report.html"),
            (&["tensorboard", "tiny.toml"], "tensorboard: 2 runs"),
            (&["records", "export", "tiny.toml", "--to", "tiny.jsonl"], "2 runs of tiny in tiny.jsonl"),
            (&["gc", "tiny.toml"], "tiny keeps 2 selected runs"),
        ] {
            let ran = good(call(there, args));
            holds(&ran.out, &[words]);
            holds(&ran.err, &[&note]);
        }
        // The last plan needs no digest at all.
        let ran = good(call(there, &["status", "tiny.toml"]));
        holds(&ran.out, &["tiny: 2 runs, 2 done"]);
        assert!(!ran.err.contains(&note), "{}", ran.err);
        // The output equals that of the machine with the data.
        for file in ["tables/results.csv", "tables/runs.csv", "report.md"] {
            let read =
                |folder: &Path| std::fs::read_to_string(folder.join("runs/tiny/report").join(file)).unwrap();
            assert_eq!(read(there), read(here), "{file}");
        }
        good(call(here, &["records", "export", "tiny.toml", "--to", "tiny.jsonl"]));
        let records = |folder: &Path| std::fs::read(folder.join("tiny.jsonl")).unwrap();
        assert_eq!(records(there), records(here));
        // Imported runs know the digests of their data.
        for (args, words) in [
            (&["records", "import", "tiny.jsonl", "--out", "imported"][..], "2"),
            (&["plan", "tiny.toml", "--out", "imported"], "tiny: 2 runs, 2 done"),
            (&["status", "tiny.toml", "--out", "imported"], "tiny: 2 runs, 2 done"),
            (&["report", "tiny.toml", "--out", "imported"], "report: imported/tiny/report/report.html"),
        ] {
            let ran = good(call(there, args));
            holds(&ran.out, &[words]);
            assert!(
                args[0] == "records" || ran.err.contains("of the runs in the store is used"),
                "{}",
                ran.err
            );
        }
        // What was never planned has no digest: its runs are not in a report, and a plan needs the data.
        let other = ["tiny.toml", "--set", "data.pictures.split_seed=7"];
        let ran = good(call(there, &[&["report"], &other[..]].concat()));
        holds(&ran.err, &["its runs count as not run"]);
        assert!(hub_server.accept().is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
        drop(hub_server);
        let ran = call(there, &[&["plan"], &other[..]].concat());
        assert_eq!(ran.code, 2);
        holds(&ran.err, &[if source == hub { "failed to download" } else { "not found" }]);
    }
}

/// The commands of a fresh installation in an empty folder.
#[test]
fn an_installed_program_works_in_an_empty_folder() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ran = good(run(folder, &["plan"]));
    holds(&ran.out, &["quickstart: 48 runs"]);
    let ran = good(run(folder, &["new", "deep/mine.toml"]));
    holds(&ran.out, &["`lrlab run deep/mine.toml` trains them"]);
    holds(&good(run(folder, &["plan", "deep/mine.toml"])).out, &["mine: 12 runs"]);
    let ran = run(folder, &["new", "deep/mine.toml"]);
    assert_eq!(ran.code, 2);
    holds(&ran.err, &["deep/mine.toml: the file already exists; choose another name"]);
    holds(&good(run(folder, &["completions", "bash"])).out, &["lr-find", "redo"]);
    good(run(folder, &["man", "--to", "man"]));
    for page in ["lrlab.1", "lrlab-run.1"] {
        let text = std::fs::read_to_string(folder.join("man").join(page)).unwrap();
        holds(&text, &[".TH"]);
    }
    let version = good(run(folder, &["--version"])).out;
    holds(&version, &["lrlab ", "\ncommit   ", "\nbuild    ", "\ncandle   0.", "\nfeatures hub"]);
    assert!(!version.contains("build    unknown"), "{version}");
}
