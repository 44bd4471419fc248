//! Files of one run that are no files or cannot be read hide and stop no other run.
#![cfg(unix)]

use std::os::unix::fs::symlink;

use super::*;

/// What is in the place of a result.
fn spoil(path: &Path, how: &str) {
    std::fs::remove_file(path).unwrap();
    match how {
        "folder" => std::fs::create_dir(path).unwrap(),
        "loop" => symlink(path, path).unwrap(),
        "dangling" => symlink("nowhere", path).unwrap(),
        _ => std::fs::write(path, "{").unwrap(),
    }
}

#[test]
fn results_that_are_no_files_count_as_damaged() {
    for how in ["folder", "loop", "dangling", "truncated"] {
        let place = Place::new();
        assert_eq!(place.call("run", &[]).code, 0);
        let spoilt = place.results()[1].clone();
        spoil(&spoilt, how);
        let status = place.json("status", &[]);
        assert_eq!(
            (&status["status"]["done"], &status["status"]["damaged"]),
            (&1.into(), &1.into()),
            "{how}: {status}"
        );
        for verb in ["plan", "report", "tensorboard"] {
            let ran = place.call(verb, &[]);
            assert_eq!(ran.code, 0, "{how}, {verb}: {}{}", ran.out, ran.err);
        }
        let report = place.call("report", &[]);
        assert!(report.err.contains("warning: ") && report.err.contains("result.json: "), "{}", report.err);
        let export = run(place.folder.path(), &["records", "export", "tiny.toml", "--to", "one.jsonl"]);
        assert!(
            export.code == 0 && export.out.starts_with("1 run of tiny"),
            "{how}: {}{}",
            export.out,
            export.err
        );
        let verified = place.call("verify", &[]);
        assert_eq!(verified.code, 2, "{how}: {}{}", verified.out, verified.err);
        assert!(verified.out.contains("1 of 2 runs are identical"), "{how}: {}", verified.out);
        // `run` repeats it.
        let again = place.call("run", &[]);
        assert!(
            again.code == 0 && again.out.contains("(1 in this call)"),
            "{how}: {}{}",
            again.out,
            again.err
        );
        assert!(spoilt.is_file());
        assert!(spoilt.with_file_name("superseded").join("1").read_dir().unwrap().count() > 0);
    }
}

/// The attempts of one run cannot be written; the other run is trained.
#[test]
fn a_run_that_cannot_be_claimed_fails_alone() {
    let place = Place::new();
    assert_eq!(place.call("run", &[]).code, 0);
    for result in place.results() {
        std::fs::remove_dir_all(result.with_file_name("attempts")).unwrap();
        std::fs::remove_file(&result).unwrap();
    }
    let first = std::fs::read_dir(place.out.join("store")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(first.join("attempts"), "in the way").unwrap();
    let ran = place.call("run", &[]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("1 of 2 runs are done (1 in this call), 1 failed"), "{}", ran.out);
    assert!(ran.err.contains("/attempts/1: Not a directory"));
    let status = place.json("status", &[]);
    assert_eq!((&status["status"]["done"], &status["status"]["missing"]), (&1.into(), &1.into()), "{status}");
}

/// The experiment's file has its runs.
#[test]
fn status_needs_no_stored_plan() {
    let place = Place::new();
    assert_eq!(place.call("run", &[]).code, 0);
    std::fs::write(place.out.join("tiny/plan.json"), "{").unwrap();
    let status = place.call("status", &[]);
    assert!(status.code == 0 && status.out.contains("2 runs, 2 done"), "{}{}", status.out, status.err);
}
