//! `cargo xtask` passes options, exit codes and signals through, and finds mistakes before it builds anything.
#![cfg(unix)]

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lrlab_tests::root;

/// The last build of xtask, to be run in `folder`; `None`, with a message, if there is none.
fn xtask(folder: &Path) -> Option<Command> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let program = target.join("release/xtask").canonicalize().ok().filter(|program| program.is_file());
    let Some(program) = program else {
        eprintln!("skipped: xtask is not built (`cargo xtask --help` builds it)");
        return None;
    };
    let mut command = Command::new(program);
    command.current_dir(folder);
    Some(command)
}

/// A user-built runner: a script.
fn script(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("runner");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn run(mut command: Command, args: &[&str], runner: &Path) -> Output {
    command.args(args).arg("--runner").arg(runner).output().unwrap()
}

#[test]
fn the_runner_gets_options_and_an_absolute_cache() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut command) = xtask(folder.path()) else { return };
    let runner = script(folder.path(), r#"printf '%s\n' "$@" "$HF_HOME""#);
    command.env("HF_HOME", "cache");
    let output =
        run(command, &["run-grid", "--set", "epochs=1", "--jobs", "2", "--accept-numerics"], &runner);
    let printed = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = printed.lines().collect();
    let here = folder.path().canonicalize().unwrap();
    assert!(lines[1].ends_with("/experiments/quickstart.toml"), "{printed}");
    assert!(lines[2].starts_with("--out=/") && lines[2].ends_with("/runs"), "{printed}");
    assert_eq!((lines[0], &lines[3..6]), ("run", &["--set=epochs=1", "--jobs=2", "--accept-numerics"][..]));
    assert_eq!(Path::new(lines[6]), here.join("cache"));
}

/// Commands in the runner's reports start with the user's command.
#[test]
fn the_runner_gets_the_calling_command() {
    let folder = tempfile::tempdir().unwrap();
    for verb in ["run-grid", "report", "status"] {
        let Some(command) = xtask(folder.path()) else { return };
        let runner = script(folder.path(), r#"printf '%s' "$LRLAB_CALLED_AS""#);
        let printed = String::from_utf8(run(command, &[verb], &runner).stdout).unwrap();
        assert_eq!(printed, format!("cargo xtask run-grid --runner {}", runner.display()));
    }
}

#[test]
fn exit_codes_and_signals_are_those_of_the_runner() {
    let folder = tempfile::tempdir().unwrap();
    for (text, code, signal) in
        [("exit 0", Some(0), None), ("exit 85", Some(85), None), ("kill -TERM $$", None, Some(15))]
    {
        let runner = script(folder.path(), text);
        for verb in ["run-grid", "report"] {
            let Some(command) = xtask(folder.path()) else { return };
            let status = run(command, &[verb], &runner).status;
            assert_eq!((status.code(), status.signal()), (code, signal), "{verb}: {text}");
        }
    }
}

#[test]
fn mistakes_are_found_before_anything_is_built() {
    let folder = tempfile::tempdir().unwrap();
    for (args, word) in [
        (&["run-gird"][..], "run-grid"),
        (&["run-grid", "--job", "2"], "--jobs"),
        (&["run-grid", "--device", "gpu"], "expected auto, cpu, cuda"),
        (&["run-grid", "--keep-going", "--fail-fast"], "cannot be used with"),
        (&["run-grid", "--executor", "sge"], "local"),
        (&["run-grid", "--checkpoint-every", "5 minutes"], "is not an interval"),
        (&["run-grid", "--threads", "0"], "expected a whole number of at least 1"),
        (&["run-grid", "none.toml"], "there is no experiment file none.toml"),
        (&["gc", "--state"], "--states"),
        (&["run-grid", "--runner", "nowhere"], "there is no runner nowhere"),
        (&["test", "lint"], "lints"),
        (&["test", "feature"], "features"),
    ] {
        let Some(mut command) = xtask(folder.path()) else { return };
        let output = command.args(args).output().unwrap();
        let printed = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && printed.contains(word), "{args:?}: {printed}");
    }
}
