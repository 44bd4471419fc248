//! The README's first command, in the current folder.

use lrlab_tests::{accounts_add_up, quickstart, results, run};

#[test]
fn every_result_counts_the_executed_updates() {
    let folder = tempfile::tempdir().unwrap();
    quickstart(folder.path());
    let ran = run(folder.path(), &["run", "--device", "cpu"]);
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    let results = results(&folder.path().join("runs"));
    assert_eq!(results.len(), 48);
    accounts_add_up(&results);
}
