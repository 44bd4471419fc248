//! Queued jobs of a store that has moved or has a second path.

use std::time::Duration;

use lrlab_tests::files;

use super::{GRID, Place};

/// Jobs work in the store's old folder: commands say so until they have ended.
#[test]
fn jobs_of_a_moved_store_are_reported() {
    let place = Place::without_slurm(&GRID.replace("EPOCHS", "1"));
    place.program("sbatch", "echo 17");
    place.program("squeue", "echo '17_0|PENDING|job'");
    let words = ["--executor", "slurm", "--slurm-profile", "site.toml"];
    let submitted = place.call(&Place::arguments("before", &words));
    assert_eq!(submitted.code, 3, "{}\n{}", submitted.out, submitted.err);
    let status = |out: &str| place.call(&["status", "cases.toml", "--out", out].map(str::to_owned));
    let old = place.path("before").display().to_string();
    let words_of_it = format!(
        "the queued jobs 17 were submitted from another folder, {old}, and work there: `scancel 17` cancels them, and `run` \
         then submits what is missing here"
    );
    // Another path to the same folder.
    std::os::unix::fs::symlink(&old, place.path("link")).unwrap();
    for out in ["before", "link"] {
        let ran = status(out);
        assert!(ran.code == 0 && !ran.out.contains("another folder"), "{out}: {}{}", ran.out, ran.err);
    }
    std::fs::rename(&old, place.path("after")).unwrap();
    let ran = status("after");
    assert!(ran.code == 0 && ran.out.contains(&words_of_it), "{}{}", ran.out, ran.err);
    let again = place.call(&Place::arguments("after", &words));
    assert!(
        again.code == 3 && again.err.contains(&format!("warning: {words_of_it}")),
        "{}\n{}",
        again.out,
        again.err
    );
    // After they have ended, the missing runs are submitted from the new folder.
    place.program("squeue", "exit 0");
    let again = place.call(&Place::arguments("after", &words));
    assert!(again.code == 3 && !again.err.contains("another folder"), "{}\n{}", again.out, again.err);
    assert!(again.out.contains("job 17 submitted: 4 runs"), "{}", again.out);
    let ran = status("after");
    assert!(ran.code == 0 && !ran.out.contains("another folder"), "{}{}", ran.out, ran.err);
}

/// The store has a second path, with which gc runs: files that queued jobs will use are kept.
#[test]
fn gc_keeps_files_of_jobs_for_every_path_of_the_store() {
    let place = Place::without_slurm(&GRID.replace("EPOCHS", "1"));
    place.program("sbatch", "echo 17");
    place.program("squeue", "echo '17_0|PENDING|job'");
    let submitted =
        place.call(&Place::arguments("there", &["--executor", "slurm", "--slurm-profile", "site.toml"]));
    assert_eq!(submitted.code, 3, "{}\n{}", submitted.out, submitted.err);
    std::os::unix::fs::symlink(place.path("there"), place.path("link")).unwrap();
    let bin = place.path("there/bin");
    let before = std::time::SystemTime::now() - Duration::from_hours(3);
    let frozen = std::fs::read_dir(&bin).unwrap().map(|entry| entry.unwrap().path()).next().unwrap();
    for path in files(&frozen).into_iter().chain([frozen.clone()]) {
        std::fs::File::open(path).unwrap().set_modified(before).unwrap();
    }
    for out in ["link", "there"] {
        let swept = place.call(&["gc", "--yes", "--out", out].map(str::to_owned));
        assert!(swept.code == 0 && swept.out.contains("nothing"), "{out}: {}\n{}", swept.out, swept.err);
        assert!(frozen.is_dir(), "{out}");
    }
    // Without the jobs, the files are garbage.
    place.program("squeue", "exit 0");
    let swept = place.call(&["gc", "--yes", "--out", "link"].map(str::to_owned));
    assert!(swept.code == 0 && !frozen.exists(), "{}\n{}", swept.out, swept.err);
}
