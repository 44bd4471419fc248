//! The reports of the paper, its monitor and its cost from the records in the repository, without data and without a store.
//!
//! The README has texts of these reports, and the paper with its figures is beside its records. After new records, write
//! them with `LRLAB_GOLDEN=write cargo test --release -p lrlab-tests paper::`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Mutex;

use lrlab_tests::{files, root, runner};

/// Writes the report of an experiment in an empty folder, and returns the exit code and the files of the report.
fn report(folder: &Path, experiment: &str, options: &[&str]) -> (Option<i32>, BTreeMap<String, Vec<u8>>) {
    let mut command = runner(folder);
    let nowhere = folder.join("no-data");
    command.env("HF_HOME", &nowhere).env("HF_HUB_OFFLINE", "1");
    // The experiment lies in the repository, as it does for the user of a clone.
    command
        .arg("report")
        .arg(root().join(format!("experiments/{experiment}.toml")))
        .arg("--check")
        .args(options);
    let ran = command.output().unwrap();
    let report = folder.join("runs").join(experiment).join("report");
    let read = |path: std::path::PathBuf| {
        let name = path.strip_prefix(&report).unwrap().to_string_lossy().into_owned();
        (name, std::fs::read(path).unwrap())
    };
    (ran.status.code(), files(&report).into_iter().map(read).collect())
}

#[test]
fn the_paper_comes_from_the_records_twice_the_same_and_is_in_the_readme() {
    let folder = tempfile::tempdir().unwrap();
    let (code, files) = report(folder.path(), "paper", &[]);
    assert_eq!(code, Some(4), "claims that are not supported");
    std::fs::remove_dir_all(folder.path().join("runs")).unwrap();
    let (_, again) = report(folder.path(), "paper", &[]);
    for (name, bytes) in &files {
        assert!(again.get(name) == Some(bytes), "{name} differs in a second report");
    }
    assert_eq!(files.len(), again.len());

    in_the_readme("verdict.md", &files);
    in_the_results(&files);
    for name in ["report.html", "tables/claims.csv", "ro-crate-metadata.json"] {
        assert!(!files[name].is_empty(), "{name}");
    }
}

/// Checks that the paper and its figures are beside the records, or writes them there.
fn in_the_results(files: &BTreeMap<String, Vec<u8>>) {
    let folder = root().join("experiments/results/paper");
    let is_part = |name: &str| ["paper.md", "paper.tex"].contains(&name) || name.starts_with("figures/");
    let paper = files.iter().filter(|(name, _)| is_part(name));
    if writes() {
        std::fs::remove_dir_all(folder.join("figures")).unwrap();
        std::fs::create_dir(folder.join("figures")).unwrap();
        paper.clone().for_each(|(name, bytes)| std::fs::write(folder.join(name), bytes).unwrap());
    }
    let mut there = lrlab_tests::files(&folder);
    there.retain(|path| path.extension().is_none_or(|extension| extension != "jsonl"));
    let expected: Vec<_> = paper.clone().map(|(name, _)| folder.join(name)).collect();
    there.sort();
    assert_eq!(there, expected);
    for (name, bytes) in paper {
        let same = std::fs::read(folder.join(name)).unwrap() == *bytes;
        assert!(same, "experiments/results/paper/{name} differs from the report");
    }
}

/// The list of results says how many runs of the paper are on record.
#[test]
fn the_list_of_results_counts_the_runs() {
    let results = root().join("experiments/results");
    let runs = std::fs::read_to_string(results.join("paper/runs.jsonl")).unwrap().lines().count();
    let list = std::fs::read_to_string(results.join("README.md")).unwrap();
    let row = list.lines().find(|line| line.starts_with("| `paper` |")).unwrap();
    assert!(row.contains(&format!("{runs} of 384 runs")), "{runs} runs: {row}");
}

#[test]
fn the_paper_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let (code, files) = report(folder.path(), "paper", &["--no-records"]);
    assert_eq!(code, Some(4), "claims that are not run");
    let text = |name: &str| String::from_utf8(files[name].clone()).unwrap();
    assert!(
        text("verdict.md")
            .trim_end()
            .ends_with("No run of the Transformer, LSTM and ResNet in this grid is on record.")
    );
    for network in ["ResNet", "LSTM", "Transformer"] {
        let missing = format!("The {network} has not been run in this grid.");
        assert!(text("paper.md").contains(&missing) && text("paper.tex").contains(&missing), "{missing}");
    }
}

#[test]
fn the_monitor_comes_from_the_records_and_is_in_the_readme() {
    let folder = tempfile::tempdir().unwrap();
    let (_, files) = report(folder.path(), "monitor", &[]);
    in_the_readme("feedback.md", &files);
}

#[test]
fn the_cost_comes_from_the_records_and_is_in_the_readme() {
    let folder = tempfile::tempdir().unwrap();
    let (_, files) = report(folder.path(), "cost", &[]);
    in_the_readme("cost.md", &files);
}

/// Checks that the README has the text of a document between the lines `<!-- NAME -->` and `<!-- end of NAME -->`, or writes
/// it there. Of several such places, each but the last has one paragraph, and the last one has the rest.
#[track_caller]
fn in_the_readme(name: &str, files: &BTreeMap<String, Vec<u8>>) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let path = root().join("README.md");
    let (start, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->\n"));
    let readme = std::fs::read_to_string(&path).unwrap();
    let places = readme.matches(&start).count();
    assert!(places > 0, "README.md has no line {start}");
    let mut paragraphs = std::str::from_utf8(&files[name]).unwrap().trim().splitn(places, "\n\n");
    let mut parts = readme.split(&start);
    let mut expected = parts.next().unwrap().to_owned();
    for part in parts {
        let (_, rest) = part.split_once(&end).unwrap_or_else(|| panic!("README.md has no line {end}"));
        let paragraph = paragraphs.next().unwrap_or_else(|| panic!("{name} has too few paragraphs"));
        let _ = write!(expected, "{start}{}\n{end}{rest}", paragraph.trim());
    }
    if writes() {
        std::fs::write(&path, &expected).unwrap();
    } else {
        let text = String::from_utf8_lossy(&files[name]);
        assert!(readme == expected, "README.md does not have the text of {name}, which is:\n{text}");
    }
}

/// Whether the tests write what they otherwise compare.
fn writes() -> bool {
    std::env::var_os("LRLAB_GOLDEN").is_some_and(|word| word == "write")
}
