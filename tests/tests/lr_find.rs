//! `lrlab lr-find` as a user calls it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use lrlab_tests::{quickstart, run};

const ARGS: [&str; 8] =
    ["lr-find", "experiments/quickstart.toml", "--device", "cpu", "--updates", "40", "--smoothing", "0.8"];

#[test]
fn suggests_a_rate_and_draws() {
    let folder = tempfile::tempdir().unwrap();
    quickstart(folder.path());
    let more = ["--filter", "model=resnet", "--plot", "sweep.svg"];
    let ran = run(folder.path(), &[&ARGS[..], &more].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("40 rates from 1e-7 to 1e1"), "{}", ran.err);
    assert!(ran.out.lines().count() > 12 && ran.out.contains("logarithmic"), "{}", ran.out);
    let line = ran.out.lines().find_map(|line| line.strip_prefix("suggested lr: ")).unwrap();
    let lr: f64 = line.split(' ').next().unwrap().parse().unwrap();
    assert!((1e-6..10.0).contains(&lr), "{lr}");
    let picture = std::fs::read_to_string(folder.path().join("sweep.svg")).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("stroke-dasharray"), "the suggestion is marked");
    // Nothing is trained that would be a run: no plan, no results.
    assert!(!folder.path().join("runs/store").exists());
}

#[test]
fn wants_one_network() {
    let folder = tempfile::tempdir().unwrap();
    quickstart(folder.path());
    let ran = run(folder.path(), &ARGS);
    assert_eq!(ran.code, 2, "{}", ran.out);
    assert!(ran.err.contains("choose one with --filter") && ran.err.contains("resnet"), "{}", ran.err);
    let rates = ["--filter", "model=resnet", "--min-lr", "1", "--max-lr", "0.1"];
    let ran = run(folder.path(), &[&ARGS[..2], &rates].concat());
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("expected 0 < min_lr < max_lr, found 1 and 0.1"), "{}", ran.err);
    // Values are named as they were given, not as the program holds them.
    for (option, value, said) in [
        ("--updates", "1", "expected updates > 1, found 1"),
        ("--smoothing", "1.5", "expected 0 ≤ smoothing < 1, found 1.5"),
        ("--divergence", "0", "expected divergence > 1, found 0"),
    ] {
        let ran = run(folder.path(), &["lr-find", "--filter", "model=resnet", option, value]);
        assert!(ran.code == 2 && ran.err.contains(said) && !ran.err.contains('{'), "{}", ran.err);
    }
}
