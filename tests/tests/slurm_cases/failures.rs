//! A Slurm that is unreachable, rejects scripts or does not cancel jobs, with scripts in place of its programs.

use serde_json::Value;

use super::{GRID, Place};

/// A real Slurm cannot be made to fail in these ways: scripts replace its programs.
#[test]
fn an_unreachable_slurm_is_reported_and_nothing_is_submitted_twice() {
    let place = Place::without_slurm(&GRID.replace("EPOCHS", "1"));
    let program = |name: &str, text: &str| place.program(name, text);
    program("sbatch", "echo 17");
    let down =
        "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1";
    program("squeue", down);
    let call = |words: &[String]| place.call(words);
    let submit =
        || call(&Place::arguments("there", &["--executor", "slurm", "--slurm-profile", "site.toml"]));
    let first = submit();
    assert_eq!(first.code, 3, "{}\n{}", first.out, first.err);
    let second = submit();
    let printed =
        "Slurm cannot be reached (squeue: slurm_load_jobs error: Unable to contact slurm controller";
    assert!(second.code == 3 && second.err.contains(printed), "{}\n{}", second.out, second.err);
    assert!(second.err.contains("17") && second.err.contains("nothing was submitted"), "{}", second.err);
    assert!(!place.submission(2).exists());
    // Other commands still show the progress, and that the jobs are unknown.
    let status = call(&["status", "cases.toml", "--out", "there", "--json"].map(str::to_owned));
    let status: Value = serde_json::from_str(&status.out).unwrap();
    assert!(status["jobs"]["error"].as_str().unwrap().contains("Unable to contact"), "{status:#}");
    // gc cannot know what the jobs need: it removes nothing.
    let gc = call(&["gc", "--yes", "--out", "there"].map(str::to_owned));
    assert!(gc.code == 2 && gc.err.contains("Unable to contact"), "{}\n{}", gc.out, gc.err);

    program("squeue", "exit 0");
    let third = submit();
    assert!(third.code == 3 && place.submission(2).exists(), "{}\n{}", third.out, third.err);
}

/// A site that accepts some scripts and rejects others, with scripts in place of Slurm's programs.
#[test]
fn rejected_scripts_are_reported_and_uncancelled_jobs_stay_on_record() {
    let place = Place::without_slurm(&GRID.replace("EPOCHS", "1"));
    let profile =
        "time = \"10\"\n[classes.first]\nwhere = { seed = [0, 1] }\n[classes.second]\nwhere = { seed = 2 }\n";
    std::fs::write(place.path("site.toml"), profile).unwrap();
    place.program("squeue", "exit 0");
    place.program("scancel", "echo \"$1\" >> cancelled");
    let submit =
        || place.call(&Place::arguments("there", &["--executor", "slurm", "--slurm-profile", "site.toml"]));
    let attempt = |number: u32| place.submission(number).with_file_name("");

    // The first script is rejected before any submission.
    let refuse = |what: &str| {
        format!("case \"$*\" in *{what}*) echo 'sbatch: error: invalid gres' >&2; exit 1;; esac; echo $$")
    };
    place.program("sbatch", &refuse("--test-only*second"));
    let ran = submit();
    let script = attempt(1).join("second.sbatch").display().to_string();
    assert!(
        ran.code == 2 && ran.err.contains(&format!("{script}: sbatch: sbatch: error: invalid gres")),
        "{}",
        ran.err
    );
    assert!(!place.submission(1).exists() && !place.path("cancelled").exists());

    // A script is rejected after two arrays were submitted.
    place.program("sbatch", &refuse("--parsable*default"));
    let ran = submit();
    assert!(
        ran.code == 2 && ran.err.contains("default.sbatch: sbatch: sbatch: error: invalid gres"),
        "{}",
        ran.err
    );
    assert!(!place.submission(2).exists());
    assert_eq!(std::fs::read_to_string(place.path("cancelled")).unwrap().lines().count(), 2);

    // The first array cannot be cancelled either: the second still is, and the first stays on record.
    place.program("scancel", "test -e failed || { touch failed; echo 'Unable to contact controller' >&2; exit 1; }; echo \"$1\" >> cancelled");
    let ran = submit();
    let submission: Value = serde_json::from_slice(&std::fs::read(place.submission(3)).unwrap()).unwrap();
    let left = submission["arrays"][0]["job"].as_u64().unwrap();
    assert!(submission["arrays"][1]["job"].is_null(), "{submission:#}");
    let printed = [format!("`scancel {left}` cancels them"), "Unable to contact controller".to_owned()];
    assert!(ran.code == 2 && printed.iter().all(|printed| ran.err.contains(printed)), "{}", ran.err);
    assert_eq!(std::fs::read_to_string(place.path("cancelled")).unwrap().lines().count(), 3);

    // Its runs are not submitted twice.
    place.program("squeue", &format!("echo '{left}_0|PENDING|job'"));
    place.program("sbatch", "echo 99");
    let ran = submit();
    assert_eq!(ran.code, 3, "{}\n{}", ran.out, ran.err);
    let again: Value = serde_json::from_slice(&std::fs::read(place.submission(4)).unwrap()).unwrap();
    let classes: Vec<&Value> =
        again["arrays"].as_array().unwrap().iter().map(|array| &array["class"]).collect();
    assert_eq!(classes, ["second", "default"]);
}
