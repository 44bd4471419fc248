//! The comparison table in the documentation names existing tests.

#![allow(clippy::unwrap_used, reason = "panics fail the test")]

use std::collections::BTreeSet;
use std::path::Path;

/// Collects the names of the tests, including those in `proptest!`, in every file below `folder`.
fn tests(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = std::fs::read_to_string(path).unwrap();
            for part in text.split("#[test]").skip(1) {
                let name = part.split("fn ").nth(1).and_then(|rest| rest.split('(').next());
                found.extend(name.map(str::to_owned));
            }
        }
    }
}

#[test]
fn the_last_column_names_existing_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut known = BTreeSet::new();
    for folder in ["src", "tests"] {
        tests(&root.join(folder), &mut known);
    }
    let table = include_str!("../src/comparison.md");
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with('|')).skip(2).collect();
    assert!(rows.len() > 20, "{} rows", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        assert_eq!(cells.len(), 8, "{row}");
        let names: Vec<&str> = cells[7].split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty() && cells[7].trim_start().starts_with('+'), "{row}");
        for name in names {
            assert!(known.contains(name), "there is no test {name}: {row}");
        }
    }
}
