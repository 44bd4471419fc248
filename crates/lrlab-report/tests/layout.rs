//! The files of a report of invented runs: all there, whole, deterministic, and fit to be looked at.
//!
//! `LRLAB_REPORT_KEEP=DIR cargo test -p lrlab-report` leaves the invented reports in DIR for a look with a browser.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use lrlab_report::{Plan, RunStore, summarise, terminal_table, write};

/// Every file below a folder with its bytes.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut out = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                out.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    out
}

fn written(plan: &Plan, store: &RunStore, keep_as: &str) -> BTreeMap<String, Vec<u8>> {
    let report = summarise(plan, store).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let written = write(&report, folder.path()).unwrap();
    assert!(written.html.is_file() && written.markdown.is_file() && written.manifest.is_file());
    if let Some(keep) = std::env::var_os("LRLAB_REPORT_KEEP") {
        write(&report, &Path::new(&keep).join(keep_as)).unwrap();
        println!("{}", terminal_table(&report));
    }
    files(folder.path())
}

#[test]
fn whole_grid() {
    let mut plan = common::plan(&common::quickstart());
    plan.claims = common::claims();
    let (_folder, store) = common::full(&plan);
    let _files = written(&plan, &store, "whole");
}

#[test]
fn paper_grid() {
    let mut plan = common::plan(&common::paper());
    plan.claims = common::claims();
    let (_folder, store) = common::full(&plan);
    let _files = written(&plan, &store, "paper");
}
#[test]
fn torn_grid() {
    let mut plan = common::plan(&common::quickstart());
    plan.claims = common::claims();
    let (_folder, store) = common::store(&plan, |i, planned| match i {
        3 | 20 | 21 => None,
        6 => Some(common::diverged(planned, 4)),
        _ => Some(common::result(planned)),
    });
    let _files = written(&plan, &store, "torn");
}
