//! The command that a report prints for a run makes exactly that run, for every way in which the grid was started.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::path::Path;

use lrlab_tests::{TINY, results, run, start};

/// The commands of a page by run id.
fn commands(page: &Path) -> BTreeMap<String, String> {
    let page = std::fs::read_to_string(page).unwrap();
    let command = page.split("<pre id=\"command-0\"><code>").nth(1).unwrap().split("</code>").next().unwrap();
    let run = |part: &str| {
        let id = part.split("<code>").nth(1)?.split("</code>").next()?.to_owned();
        let signs = [
            ("&lt;", "<"),
            ("&gt;", ">"),
            ("&quot;", "\""),
            ("&#x27;", "'"),
            ("&#x2f;", "/"),
            ("&amp;", "&"),
        ];
        let command = command.replace("RUN_ID", &id);
        Some((id, signs.iter().fold(command, |text, (from, to)| text.replace(from, to))))
    };
    page.split("<p id=\"run-").skip(1).filter_map(run).collect()
}

/// Runs each command of the page in `folder`, in a new store, and compares the run and its bits.
fn check(folder: &Path, page: &str, expected: usize) {
    let commands = commands(&folder.join(page));
    assert_eq!(commands.len(), expected, "{commands:?}");
    let made = results(&folder.join("runs"));
    for (id, command) in commands {
        let output = start(Path::new("sh"), folder).args(["-c", &command]).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{command}\n{printed}");
        let again = results(&folder.join("repeated"));
        assert_eq!(again.keys().collect::<Vec<_>>(), [&id], "{command}");
        for key in ["spec", "final", "history"] {
            assert_eq!(again[&id][key], made[&id][key], "{key}: {command}");
        }
        std::fs::remove_dir_all(folder.join("repeated")).unwrap();
    }
}

const RUN: [&str; 5] = ["run", "--device", "cpu", "--threads", "1"];

fn grid(folder: &Path, more: &[&str]) {
    let ran = run(folder, &[&RUN, more].concat());
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
}

#[test]
fn commands_quote_overrides_and_names() {
    let folder = tempfile::tempdir().unwrap();
    let file = "it's \"tiny\" $HOME.toml";
    std::fs::write(folder.path().join(file), TINY).unwrap();
    grid(
        folder.path(),
        &[
            file,
            "--set",
            "defaults.lr=0.5",
            "--set",
            "defaults.lr=0.02",
            "--set",
            "description=a 'quoted' \"text\" with `signs` & <tags> \\ and\ta tab",
            "--set",
            "schedules.static={ cosine = { t_max = \"100%\" } }",
        ],
    );
    let made = results(&folder.path().join("runs"));
    assert!(made.values().all(|result| result["spec"]["lr"] == 0.02), "the last override counts");
    check(folder.path(), "runs/tiny/report/report.html", 2);
}

#[test]
fn commands_of_a_selection_name_its_runs() {
    let folder = tempfile::tempdir().unwrap();
    let axes = "seed = [0, 1]\noptimizer.sgd.momentum = [0.0, 0.9]\nlr = [0.1, 1e-3]";
    std::fs::write(folder.path().join("tiny.toml"), TINY.replace("seed = [0, 1]", axes)).unwrap();
    grid(
        folder.path(),
        &["tiny.toml", "--filter", "lr=0.001", "--seeds", "1", "--set", "defaults.batch_size=8"],
    );
    check(folder.path(), "runs/tiny/report/report.html", 2);
}

/// The command of a search's winner names one run, which is made in full.
#[test]
fn the_command_of_a_winner_makes_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let search = "\n[search]\nmethod = { halving = { rungs = [\"1 epoch\"], eta = 2 } }\n[search.space]\n\
                  lr = { choice = [0.01, 0.001] }\n";
    let text = TINY.replace("epochs = [1]", "epochs = [2]").replace("seed = [0, 1]", "seed = [3]");
    std::fs::write(folder.path().join("tiny.toml"), text.replace("lr = 0.01\n", "") + search).unwrap();
    grid(folder.path(), &["tiny.toml", "--set", "defaults.batch_size=8"]);
    check(folder.path(), "runs/tiny/report/report.html", 1);
}

/// A report names its current folder after experiment and store have moved, and its commands work there.
#[test]
fn a_moved_store_has_commands_for_its_new_folder() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("old");
    std::fs::create_dir_all(old.join("mine")).unwrap();
    std::fs::write(old.join("mine/tiny.toml"), TINY).unwrap();
    grid(&old, &["mine/tiny.toml", "--set", "defaults.lr=0.02"]);
    let shows_folder = |folder: &Path| {
        let page = std::fs::read_to_string(folder.join("runs/tiny/report/report.html")).unwrap();
        page.replace("&#x2f;", "/")
            .contains(&format!("in the folder <code>{}</code>", folder.canonicalize().unwrap().display()))
    };
    assert!(shows_folder(&old));
    let new = folder.path().join("new place");
    std::fs::rename(&old, &new).unwrap();
    // A page that was not rewritten names the experiment by its old path.
    check(&new, "runs/tiny/report/report.html", 2);
    let ran = run(&new, &["report", "mine/tiny.toml", "--set", "defaults.lr=0.02"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(shows_folder(&new));
    check(&new, "runs/tiny/report/report.html", 2);
}

/// Commands start with the program that called the runner.
#[test]
fn commands_start_with_the_calling_program() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tiny.toml"), TINY).unwrap();
    let mut command = lrlab_tests::runner(folder.path());
    command
        .env("LRLAB_CALLED_AS", "cargo xtask run-grid --runner 'my own/runner'")
        .args(RUN)
        .arg("tiny.toml");
    assert!(command.output().unwrap().status.success());
    for command in commands(&folder.path().join("runs/tiny/report/report.html")).values() {
        assert!(
            command.starts_with("cargo xtask run-grid --runner 'my own/runner' tiny.toml --run "),
            "{command}"
        );
    }
}

#[test]
fn unknown_run_ids_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tiny.toml"), TINY).unwrap();
    let id = |more: &[&str]| {
        let ran = run(folder.path(), &[&["plan", "tiny.toml"], more].concat());
        ran.out.lines().next().unwrap()[..8].to_owned()
    };
    let (plain, other) = (id(&[]), id(&["--set", "defaults.lr=0.02"]));
    assert_ne!(plain, other);
    assert_eq!(id(&["--run", &plain]), plain);
    for command in ["plan", "run", "report", "status", "lr-find", "gc"] {
        let call = |id: &str| run(folder.path(), &[command, "tiny.toml", "--run", id]);
        let ran = call(&other);
        let expected =
            format!("tiny.toml has no run {other}: the experiment, its overrides (--set) or its data");
        assert!(ran.code == 2 && ran.err.contains(&expected), "{command}: {}", ran.err);
        let ran = call("xyz");
        assert!(ran.code == 2 && ran.err.contains("--run \"xyz\" is not a run id"), "{command}: {}", ran.err);
    }
    let ran = run(folder.path(), &["plan", "tiny.toml", "--explain", "--run", &plain]);
    assert_eq!((ran.code, ran.out.matches("batch_size = 16").count()), (0, 1), "{}", ran.out);
    assert!(!folder.path().join("runs/store").exists());
}
