//! The folder of a report and the folder of records.

use super::*;

/// Reports of one folder that are written at the same time are whole, and none takes the files of another for edited ones.
#[test]
fn reports_at_the_same_time() {
    let place = Place::new();
    assert_eq!(place.call("run", &[]).code, 0);
    let calls: Vec<_> = std::thread::scope(|scope| {
        let call = || (0..4).map(|_| place.call("report", &[])).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(call)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    for ran in calls {
        assert!(ran.code == 0 && !ran.out.contains("kept:"), "{}\n{}", ran.out, ran.err);
    }
    let left = lrlab_tests::files(&place.out.join("tiny"));
    let strange = |path: &&std::path::PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.contains(".kept") || name.contains(".tmp")
    };
    assert_eq!(left.iter().find(strange), None);
}

/// A report is written to a folder that is a link, also to another file system.
#[test]
#[cfg(target_os = "linux")]
fn reports_go_to_linked_folders() {
    let place = Place::new();
    assert_eq!(place.call("run", &[]).code, 0);
    let shared = tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap());
    std::os::unix::fs::symlink(shared.path(), place.folder.path().join("site")).unwrap();
    for _ in 0..2 {
        let ran = place.call("report", &["--to", "site"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
    let names: Vec<_> =
        std::fs::read_dir(shared.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().any(|name| name == "report.html"), "{names:?}");
    assert!(names.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{names:?}");
    // A report that fails leaves no new folder.
    let ran = place.call("report", &["--to", "new", "--filter", "seed=7"]);
    assert!(ran.code == 2 && !place.folder.path().join("new").exists(), "{}", ran.err);
}

/// Records that cannot be read are an error, and not the same as no records.
#[test]
#[cfg(unix)]
fn records_that_cannot_be_read_are_an_error() {
    let place = Place::new();
    let results = place.folder.path().join("results");
    std::fs::create_dir(&results).unwrap();
    // A link to itself cannot be read by any user.
    std::os::unix::fs::symlink("tiny", results.join("tiny")).unwrap();
    for verb in ["run", "plan", "report"] {
        let refused = place.call(verb, &[]);
        assert!(
            refused.code == 2 && refused.err.contains("results/tiny: the records of tiny.toml"),
            "{verb}: {}",
            refused.err
        );
    }
    std::fs::remove_file(results.join("tiny")).unwrap();
    std::fs::write(results.join("tiny"), "not a folder").unwrap();
    assert_eq!(place.call("run", &[]).code, 0);
}
