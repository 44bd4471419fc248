//! A crate outside the workspace, made only of the code blocks of the README.

use std::path::{Path, PathBuf};
use std::process::Command;

use lrlab_tests::{Ran, results, root, start};

/// The code block of the README whose first line is a comment that names this file.
fn block(file: &str) -> String {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let blocks: Vec<&str> = readme
        .split("```")
        .skip(1)
        .step_by(2)
        .filter_map(|block| block.split_once('\n'))
        .map(|(_, text)| text)
        .filter(|text| {
            let first = text.lines().next().unwrap_or_default().trim_start_matches(['#', '/', ' ']);
            first.strip_prefix(file).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        })
        .collect();
    assert_eq!(blocks.len(), 1, "the README has one block that begins with a comment {file:?}");
    blocks[0].to_owned()
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The profiles of the workspace, so that its built dependencies are used.
fn profiles() -> String {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    manifest[manifest.find("[profile.").unwrap()..].to_owned()
}

/// Writes and builds the crate as a separate workspace, with the target folder of this one.
fn build() -> PathBuf {
    let folder = target().join("outside");
    let clone = root().canonicalize().unwrap();
    let manifest = block("Cargo.toml").replace("../lrlab/", &format!("{}/", clone.display()));
    let manifest = format!("{manifest}\n[workspace]\n\n{}", profiles());
    std::fs::create_dir_all(folder.join("src/bin")).unwrap();
    // An unchanged file keeps its modification time, so that nothing is built twice.
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
            return;
        }
        std::fs::write(path, text).unwrap();
    };
    write("Cargo.toml", &manifest);
    write("src/main.rs", &block("src/main.rs"));
    write("src/bin/own_loop.rs", &block("src/bin/own_loop.rs"));
    std::fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--offline"]).current_dir(&folder);
    let built = Ran::of(&cargo.env("CARGO_TARGET_DIR", target().canonicalize().unwrap()).output().unwrap());
    assert_eq!(built.code, 0, "{}", built.err);
    eprintln!("{} crates were compiled", built.err.matches("Compiling ").count());
    target().canonicalize().unwrap().join("release")
}

/// Lines that are neither empty nor a comment.
fn lines(text: &str) -> usize {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '/'])).count()
}

fn own_parts(program: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("mine.toml"), block("mine.toml")).unwrap();
    let ran =
        Ran::of(&start(program, folder).args(["run", "mine.toml", "--device", "cpu"]).output().unwrap());
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let results = results(&folder.join("runs"));
    assert_eq!(results.len(), 4);
    for (id, result) in results {
        let accuracy = result["final"]["test_accuracy"].as_f64().unwrap();
        assert!(accuracy > 0.9, "{id}: accuracy {accuracy}");
        assert_eq!(result["provenance"]["registered"][0]["name"], "mlp");
    }
    assert!(folder.join("runs/mine/report/report.html").is_file());
}

fn own_loop(program: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ran = Ran::of(&start(program, folder).output().unwrap());
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let loss: f64 = ran.out.split_whitespace().nth(2).unwrap().parse().unwrap();
    assert!(loss < 1e-3, "{}", ran.out);
    let log = std::fs::read_to_string(folder.join("own_loop/metrics.csv")).unwrap();
    assert!(log.lines().count() > 5, "{log}");
}

#[test]
fn the_readme_builds_as_a_crate() {
    let programs = build();
    let program = |name: &str| programs.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    own_parts(&program("mine"));
    own_loop(&program("own_loop"));
    let counts = ["Cargo.toml", "src/main.rs", "mine.toml", "src/bin/own_loop.rs"]
        .map(|file| (file, lines(&block(file))));
    for (file, count) in counts {
        eprintln!("{count:3} lines  {file}");
    }
    // The README shows the whole code, in few lines.
    let sum: usize = counts.iter().map(|(_, count)| count).sum();
    assert!(sum < 130, "{sum} lines");
}
