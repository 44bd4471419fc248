//! Standard output that cannot be written is an error in every command; a closed pipe is not.
#![cfg(target_os = "linux")]

use std::process::Stdio;

use lrlab_tests::{Ran, TINY, run, runner};

const RATES: &str = "--schedule cosine={} --lr 0.1 --updates 2000";

#[test]
fn a_full_disk_is_an_error_and_a_closed_pipe_is_not() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tiny.toml"), TINY).unwrap();
    let ran = run(folder.path(), &["run", "tiny.toml", "--device", "cpu", "--threads", "1"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let rates = |verb: &str| format!("schedule {verb} {RATES}");
    let (trace, plot, lint) = (rates("trace"), rates("plot"), rates("lint"));
    for line in [
        "plan tiny.toml",
        "plan tiny.toml --explain",
        "run tiny.toml --device cpu",
        "run tiny.toml --device cpu --dry-run",
        "run tiny.toml --device cpu --set defaults.lr=0.02 --emit commands",
        "report tiny.toml",
        "status tiny.toml",
        "status tiny.toml --json",
        "status tiny.toml --watch",
        "tensorboard tiny.toml",
        "gc",
        "gc --json",
        "schema",
        "data list",
        "lr-find tiny.toml --device cpu --updates 20",
        "lr-find tiny.toml --device cpu --updates 20 --json -",
        "--help",
        "--version",
        "run --help",
        &trace,
        &plot,
        &lint,
    ] {
        let words: Vec<&str> =
            line.split(' ').map(|word| if word == "cosine={}" { "cosine = {}" } else { word }).collect();
        let command = || {
            let mut command = runner(folder.path());
            command.args(&words).stderr(Stdio::piped());
            command
        };
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let ran = Ran::of(&command().stdout(full).output().unwrap());
        assert_eq!(ran.code, 1, "{line}: {}", ran.err);
        assert!(ran.err.contains("error: standard output: No space left on device"), "{line}: {}", ran.err);

        let mut child = command().stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ran = Ran::of(&child.wait_with_output().unwrap());
        assert_eq!(ran.code, 0, "{line}: {}", ran.err);
    }
}

/// A data set that was described from its documentation alone is listed as such.
#[test]
fn unverified_data_sets_are_listed_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let ran = Ran::of(&runner(folder.path()).args(["data", "list"]).output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let note = "  note      described from its documentation, not checked against its files";
    let about = |name: &str| {
        let lines = ran.out.lines().skip_while(|line| !line.starts_with(&format!("{name}: ")));
        lines.skip(1).take_while(|line| line.starts_with(' ')).any(|line| line == note)
    };
    assert!(about("fashion-mnist") && about("yelp-polarity") && !about("cifar10"), "{}", ran.out);
}
