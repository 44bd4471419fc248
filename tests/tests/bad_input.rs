//! Invalid experiment files: exit code 2, every mistake with its position, nothing started.

use std::path::Path;

use lrlab_tests::{Ran, run};

const GOOD: &str = r#"name = "tiny"
description = "One small run."

[axes]
model = ["resnet"]
schedule = ["static"]
monitor = ["off"]
epochs = [1]
seed = [0]

[defaults]
lr = 0.1
batch_size = 32
optimizer = { sgd = {} }

[models.resnet]
network = { resnet = { depth = 8 } }
data = "pictures"

[data.pictures]
source = { synthetic_pictures = { train = 80, test = 20 } }

[schedules.static]
static = {}
"#;

/// Runs an experiment file of this text.
fn run_text(folder: &Path, text: &str, more: &[&str]) -> Ran {
    std::fs::write(folder.join("bad.toml"), text).unwrap();
    run(folder, &[&["run", "bad.toml", "--device", "cpu"], more].concat())
}

/// Applies `edits` to the valid file and expects exit code 2 and each mistake with `bad.toml:LINE` and a word.
fn check(edits: &[(&str, &str)], expected: &[(usize, &str)]) {
    let text = edits.iter().fold(GOOD.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from:?} is not in the good file");
        text.replacen(from, to, 1)
    });
    check_text(&text, expected);
}

fn check_text(text: &str, expected: &[(usize, &str)]) {
    let folder = tempfile::tempdir().unwrap();
    let ran = run_text(folder.path(), text, &[]);
    assert_eq!(ran.code, 2, "{}\n{}", ran.out, ran.err);
    for (line, word) in expected {
        let place = format!("bad.toml:{line}:");
        assert!(ran.err.contains(&place), "no {place} in\n{}", ran.err);
        assert!(ran.err.contains(word), "no {word:?} in\n{}", ran.err);
    }
    assert!(!folder.path().join("runs/store").exists(), "something was started");
}

/// A rate that its schedule ignores and a last batch of one example are reported before anything starts.
#[test]
fn predictable_failures_and_duplicates_are_reported_first() {
    let cycle = ("static = {}", "one_cycle = { max_lr = 0.1 }");
    let axis = ("seed = [0]", "seed = [0]\nlr = [0.003, 0.01, 0.03]");
    check(
        &[cycle, axis, ("lr = 0.1\nbatch", "batch")],
        &[(10, "`lr` has no effect"), (10, "`one_cycle` sets the rates")],
    );
    let small = ("train = 80, test = 20", "train = 41, test = 20, size = 4");
    check(&[small, ("batch_size = 32", "batch_size = 16")], &[(13, "1 of 33 examples"), (13, "15 or 17")]);
}

#[test]
fn unknown_key_gets_a_suggestion() {
    check(
        &[("batch_size = 32", "batch_sise = 32")],
        &[(13, "unknown key `batch_sise`"), (13, "did you mean `batch_size`?")],
    );
}

#[test]
fn wrong_type() {
    check(&[("lr = 0.1", "lr = \"fast\"")], &[(12, "expected a number for `lr`, found a string")]);
}

#[test]
fn impossible_range() {
    check(&[("lr = 0.1", "lr = -0.1")], &[(12, "`lr` is -0.1: expected a number above 0")]);
    check(&[("depth = 8", "depth = 9")], &[(17, "`depth` is 9: expected 6n + 2 (8, 14")]);
}

#[test]
fn duplicate_cell() {
    check(&[("seed = [0]", "seed = [0, 0]")], &[(9, "`0` occurs twice in the axis `seed`")]);
}

#[test]
fn unknown_data_set() {
    check(
        &[("data = \"pictures\"", "data = \"picture\"")],
        &[(18, "undefined data set `picture`"), (18, "did you mean `pictures`?")],
    );
    check(
        &[("synthetic_pictures", "cifar11")],
        &[(21, "unknown key `cifar11`"), (21, "did you mean `cifar10`?")],
    );
}

#[test]
fn three_typos_at_once() {
    check(
        &[("batch_size", "batchsize"), ("depth", "dept"), ("train = 80", "trian = 80")],
        &[(13, "unknown key `batchsize`"), (17, "unknown key `dept`"), (21, "unknown key `trian`")],
    );
}

#[test]
fn empty_file() {
    let folder = tempfile::tempdir().unwrap();
    for text in ["", "\n\n", "# nothing\n"] {
        let ran = run_text(folder.path(), text, &[]);
        assert_eq!(ran.code, 2, "{}", ran.err);
        let words = "bad.toml is empty: expected at least `name` and [axes]";
        assert!(ran.err.contains(words), "{}", ran.err);
    }
}

#[test]
fn invalid_toml() {
    check_text("name = \n", &[(1, "invalid TOML: string values must be quoted")]);
}

/// Encodings in which editors of other systems save files.
#[test]
fn other_encodings_are_rejected_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.toml");
    let check = |bytes: &[u8], line: usize, words: &[&str]| {
        std::fs::write(&path, bytes).unwrap();
        for command in ["plan", "run"] {
            let ran = run(folder.path(), &[command, "bad.toml"]);
            assert_eq!(ran.code, 2, "{}", ran.err);
            for word in [&format!("bad.toml:{line}:"), "iconv -f", "save it as UTF-8"].iter().chain(words) {
                assert!(ran.err.contains(*word), "no {word:?} in\n{}", ran.err);
            }
        }
    };
    let wide: Vec<u8> = [0xFEFF].into_iter().chain(GOOD.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    check(&wide, 1, &["the file is UTF-16LE, expected UTF-8"]);
    let latin =
        GOOD.replace("One small run.", "Un \u{e9}t\u{e9}.").chars().map(|c| c as u8).collect::<Vec<_>>();
    check(&latin, 2, &["byte 0xE9", "Latin-1", "`é`"]);
}

#[test]
fn a_byte_order_mark_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run_text(folder.path(), &format!("\u{feff}{}", GOOD.replace("lr = 0.1", "lr = -1")), &[]);
    assert!(ran.code == 2 && ran.err.contains("bad.toml:12:") && !ran.err.contains("TOML"), "{}", ran.err);
}

#[test]
fn missing_file() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run(folder.path(), &["run", "no/such/file.toml"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("error: no/such/file.toml: No such file or directory"), "{}", ran.err);
}

#[test]
fn mistakes_in_overrides_point_to_the_argument() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run_text(folder.path(), GOOD, &["--set", "defaults.lr=-1"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    for words in ["command line:1:", "--set defaults.lr=-1", "`lr` is -1: expected a number above 0"] {
        assert!(ran.err.contains(words), "{}", ran.err);
    }
    let ran = run_text(folder.path(), GOOD, &["--filter", "modle=resnet"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    for words in ["`modle` is not an axis of this grid", "did you mean `model`?"] {
        assert!(ran.err.contains(words), "{}", ran.err);
    }
}

/// Names that the store reserves and names too long for a folder are rejected by every command that reads the file.
#[test]
fn names_that_are_invalid_for_folders() {
    let folder = tempfile::tempdir().unwrap();
    let long = "n".repeat(300);
    for (name, words) in [
        ("cache", "invalid experiment name `cache`"),
        ("bin", "invalid experiment name `bin`"),
        ("store", "invalid experiment name `store`"),
        (&long, "a name of 300 bytes is too long: at most 100"),
    ] {
        let text = GOOD.replace("name = \"tiny\"", &format!("name = \"{name}\""));
        std::fs::write(folder.path().join("bad.toml"), text).unwrap();
        for command in ["plan", "run", "report", "lr-find", "gc"] {
            let ran = run(folder.path(), &[command, "bad.toml"]);
            assert_eq!(ran.code, 2, "{command}: {}", ran.err);
            assert!(ran.err.contains("bad.toml:1:8") && ran.err.contains(words), "{command}: {}", ran.err);
        }
    }
    // The longest valid name works for every file.
    let (name, model) = ("n".repeat(100), "m".repeat(100));
    let text = GOOD
        .replace("name = \"tiny\"", &format!("name = \"{name}\""))
        .replace("\"resnet\"", &format!("\"{model}\""))
        .replace("[models.resnet]", &format!("[models.{model}]"));
    let ran = run_text(folder.path(), &text, &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(folder.path().join("runs").join(name).join("report/report.html").is_file());
}

/// Valid but unlikely settings give a warning before training, and are trained.
#[test]
fn lengths_beyond_an_epoch_give_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    for (key, value, words) in [
        ("accumulate", "7", "`accumulate` is 7, but an epoch has 2 batches"),
        ("batch_size", "100", "`batch_size` is 100, but an epoch has 64 training examples"),
    ] {
        std::fs::write(folder.path().join("good.toml"), GOOD).unwrap();
        for command in [&["plan"][..], &["run", "--device", "cpu"]] {
            let set = format!("defaults.{key}={value}");
            let ran = run(folder.path(), &[command, &["good.toml", "--set", &set]].concat());
            assert_eq!(ran.code, 0, "{}", ran.err);
            assert!(ran.err.contains("warning: ") && ran.err.contains(words), "{}", ran.err);
        }
    }
}

/// Conditions of `exclude` have the syntax of axes.
#[test]
fn conditions_have_the_syntax_of_axes() {
    let folder = tempfile::tempdir().unwrap();
    let axes = ("seed = [0]", "seed = [0]\noptimizer.sgd.momentum = [0.0, 0.9]");
    let text = GOOD.replace(axes.0, axes.1);
    for condition in [
        "optimizer.sgd.momentum = 0.9",
        "\"optimizer.sgd.momentum\" = [0.9]",
        "optimizer = { sgd.momentum = 0.9 }",
    ] {
        std::fs::write(folder.path().join("good.toml"), format!("{text}\n[[exclude]]\n{condition}\n"))
            .unwrap();
        let ran = run(folder.path(), &["plan", "good.toml"]);
        assert!(ran.code == 0 && ran.out.contains("tiny: 1 run,"), "{condition}: {}{}", ran.out, ran.err);
    }
    let wrong = format!("{text}\n[[exclude]]\noptimizer.sgd.momentun = 0.9\n");
    check_text(
        &wrong,
        &[(28, "`optimizer.sgd.momentun` is not an axis of this grid"), (28, "`optimizer.sgd.momentum`")],
    );
}

#[test]
fn unknown_option() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run(folder.path(), &["run", "--jbos", "2"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("unexpected argument '--jbos'") && ran.err.contains("'--jobs'"), "{}", ran.err);
}

#[test]
fn options_name_themselves_in_the_error_about_a_negative_number() {
    let folder = tempfile::tempdir().unwrap();
    let number = "expected a whole number of at least 1";
    for (words, expected) in [
        (&["run", "--jobs", "-1"][..], number),
        (&["run", "--threads", "-4"], number),
        (&["plan", "--seeds", "-2"], number),
        (&["plan", "--seeds", "0"], number),
        (&["verify", "--sample", "-1"], number),
        (&["lr-find", "--updates", "-300"], "invalid digit found in string"),
        (&["bench", "--rounds", "-1"], "-1 is not in 1..=65535"),
        (&["lr-find", "--smoothing", "-0.5"], "from 0 to below 1"),
    ] {
        let ran = run(folder.path(), words);
        assert_eq!(ran.code, 2, "{words:?}: {}", ran.err);
        for part in [words[1], words[2], expected] {
            assert!(ran.err.contains(part.trim_start_matches("--")), "{words:?}: {}", ran.err);
        }
    }
}

/// Also for a folder below a file, which could not be created.
#[test]
fn a_store_that_is_a_file_is_rejected_by_every_command() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("notes"), "mine").unwrap();
    std::fs::write(folder.path().join("good.toml"), GOOD).unwrap();
    let commands: [&[&str]; 11] = [
        &["run", "good.toml"],
        &["plan", "good.toml"],
        &["status", "good.toml"],
        &["report", "good.toml"],
        &["tensorboard", "good.toml"],
        &["verify", "good.toml"],
        &["gc", "good.toml"],
        &["lr-find", "good.toml"],
        &["redo", "0123"],
        &["records", "export", "good.toml", "--to", "all.jsonl"],
        &["records", "import", "all.jsonl"],
    ];
    for command in commands {
        for out in ["notes", "notes/runs"] {
            let ran = run(folder.path(), &[command, &["--out", out]].concat());
            assert_eq!(ran.code, 2, "{command:?}: {}", ran.err);
            assert!(ran.err.contains("'--out <DIR>': notes is not a folder"), "{command:?}: {}", ran.err);
        }
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("notes")).unwrap(), "mine");
}

/// The valid file runs, so the rejections above are due to the mistakes.
#[test]
fn the_valid_file_runs() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run_text(folder.path(), GOOD, &[]);
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
}
