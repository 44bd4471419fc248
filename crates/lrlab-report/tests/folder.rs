//! A report changes only unedited files of an earlier report.

#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]
#![allow(clippy::case_sensitive_file_extension_comparisons, reason = "the report's own files")]

mod common;

use std::path::Path;

use common::check;
use lrlab_report::{Error, Report, summarise, write};

fn report(models: usize) -> Report {
    let mut grid = common::quickstart();
    grid.models.truncate(models);
    let plan = common::plan(&grid);
    let (_folder, store) = common::full(&plan);
    summarise(&plan, &store).unwrap()
}

fn put(folder: &Path, name: &str, text: &str) {
    std::fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
    std::fs::write(folder.join(name), text).unwrap();
}

/// Reports leave the user's tables and figures in the same folder unchanged.
#[test]
fn user_files_are_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let mine = ["tables/mine.csv", "tables/mine.tex", "figures/mine.svg", "figures/notes.txt"];
    for name in mine {
        put(folder.path(), name, "not a report's\n");
    }
    for models in [3, 1] {
        let written = write(&report(models), &[], folder.path()).unwrap();
        assert!(written.kept.is_empty());
        let files = check::files(folder.path());
        assert!(mine.iter().all(|name| files[*name] == "not a report's\n"), "{:?}", files.keys());
        // Files that only the earlier report had are removed.
        let figures = files.keys().filter(|name| name.starts_with("figures/") && !name.ends_with(".txt"));
        assert_eq!(figures.count(), written.figures.len() + 1);
    }
}

/// Every file of the report is part of the crate, and all references resolve.
#[test]
fn the_crate_describes_every_file() {
    let folder = tempfile::tempdir().unwrap();
    write(&report(2), &[("paper.md".to_owned(), "# Paper\n".to_owned())], folder.path()).unwrap();
    let files = check::files(folder.path());
    let all: serde_json::Value = serde_json::from_str(&files["ro-crate-metadata.json"]).unwrap();
    let entities = all["@graph"].as_array().unwrap();
    let ids: Vec<&str> = entities.iter().map(|entity| entity["@id"].as_str().unwrap()).collect();
    let kind = |kind: &str| entities.iter().filter(|entity| entity["@type"] == kind).collect::<Vec<_>>();
    let described = kind("File").into_iter().map(|file| file["@id"].as_str().unwrap());
    let written = files.keys().map(String::as_str).filter(|name| *name != "ro-crate-metadata.json");
    assert_eq!(described.collect::<Vec<_>>(), written.collect::<Vec<_>>());
    let [action] = kind("CreateAction")[..] else { panic!("{all}") };
    assert_eq!(action["name"], "Training of 32 of 32 runs");
    for key in ["startTime", "endTime"] {
        assert!(action[key].as_str().unwrap().ends_with("+00:00"), "{action}");
    }
    let references = all.to_string();
    for (_, rest) in
        references.match_indices("{\"@id\":\"").map(|(at, start)| references.split_at(at + start.len()))
    {
        let (id, after) = rest.split_once('"').unwrap();
        let reference = after.starts_with('}');
        assert!(
            !reference || ids.contains(&id) || id.starts_with("https://w3id.org/ro/"),
            "{id} leads nowhere"
        );
    }

    // Without a finished run there is no crate.
    let plan = common::plan(&common::quickstart());
    let empty = tempfile::tempdir().unwrap();
    let nothing = summarise(&plan, &lrlab_report::RunStore::new(empty.path())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    write(&nothing, &[], folder.path()).unwrap();
    assert!(!folder.path().join("ro-crate-metadata.json").exists());
}

/// Edited files, and user files with the name of a report's file, are kept under another name.
#[test]
fn edited_files_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (path, three, one) = (folder.path(), report(3), report(1));
    write(&three, &[], path).unwrap();
    let stale = "figures/lstm-synthetic-reviews-val-loss.svg";
    put(path, "tables/results.tex", "edited by hand\n");
    put(path, stale, "drawn again by hand\n");
    let written = write(&one, &[], path).unwrap();
    assert_eq!(written.kept, [path.join("tables/results.tex.kept")]);
    let files = check::files(path);
    assert_eq!(files["tables/results.tex.kept"], "edited by hand\n");
    assert!(files["tables/results.tex"].contains("\\toprule"));
    assert_eq!(files[stale], "drawn again by hand\n");
    // Another edit, and a user file with the name of a new file.
    put(path, "tables/results.tex", "edited again\n");
    put(path, "figures/transformer-synthetic-reviews-val-loss.svg", "mine\n");
    let written = write(&three, &[], path).unwrap();
    assert_eq!(written.kept.len(), 3, "{:?}", written.kept);
    let files = check::files(path);
    assert_eq!(files["tables/results.tex.kept"], "edited by hand\n");
    assert_eq!(files["tables/results.tex.kept-2"], "edited again\n");
    assert_eq!(files[&format!("{stale}.kept")], "drawn again by hand\n");
    assert_eq!(files["figures/transformer-synthetic-reviews-val-loss.svg.kept"], "mine\n");
}

/// A folder without a report, but with files of a report's names, is refused and left unchanged.
#[test]
fn folders_of_other_origin_are_refused() {
    let report = report(1);
    for name in ["report.md", "tables/results.csv", "manifest.json"] {
        for text in ["mine\n", "{ \"format\": \"of a web page\", \"files\": [] }\n"] {
            let folder = tempfile::tempdir().unwrap();
            put(folder.path(), name, text);
            let refused = write(&report, &[], folder.path()).unwrap_err();
            assert!(
                matches!(&refused, Error::WouldOverwrite { folder: at, files } if at == folder.path() && *files == [name]),
                "{refused}"
            );
            let files = check::files(folder.path());
            assert_eq!((files.len(), files[name].as_str()), (1, text));
        }
    }
}

/// An interrupted report, one of an earlier format or one whose manifest lists no files is replaced.
#[test]
fn interrupted_and_old_reports_are_replaced() {
    let (three, one) = (report(3), report(1));
    let whole = tempfile::tempdir().unwrap();
    write(&one, &[], whole.path()).unwrap();
    let expected = check::files(whole.path());

    let old = tempfile::tempdir().unwrap();
    write(&three, &[], old.path()).unwrap();
    let text = std::fs::read_to_string(old.path().join("manifest.json")).unwrap();
    let (before, _) = text.split_once(",\n\"files\":").unwrap();
    put(old.path(), "manifest.json", &format!("{before}\n}}\n"));
    assert!(write(&one, &[], old.path()).unwrap().kept.is_empty());
    let files = check::files(old.path());
    assert!(expected.iter().all(|(name, text)| files[name] == *text));

    let earlier = tempfile::tempdir().unwrap();
    write(&three, &[], earlier.path()).unwrap();
    put(earlier.path(), "manifest.json", &text.replace("report manifest v2", "report manifest v1"));
    assert!(write(&one, &[], earlier.path()).unwrap().kept.is_empty());
    assert_eq!(check::files(earlier.path()), expected);

    // Interrupted after the tables: the manifest lists old and new files.
    let torn = tempfile::tempdir().unwrap();
    write(&three, &[], torn.path()).unwrap();
    let manifest = |folder: &Path| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(folder.join("manifest.json")).unwrap()).unwrap()
    };
    let mut both = manifest(torn.path());
    let new = manifest(whole.path())["files"].as_array().unwrap().clone();
    both["files"].as_array_mut().unwrap().extend(new);
    put(torn.path(), "manifest.json", &both.to_string());
    expected
        .iter()
        .filter(|(name, _)| name.starts_with("tables/"))
        .for_each(|(name, text)| put(torn.path(), name, text));
    assert!(write(&one, &[], torn.path()).unwrap().kept.is_empty());
    assert_eq!(check::files(torn.path()), expected);
}

/// Paths in a manifest that lead outside the folder are ignored.
#[test]
fn manifests_remove_no_files_outside_the_folder() {
    let outer = tempfile::tempdir().unwrap();
    put(outer.path(), "mine.txt", "mine\n");
    let digest = blake3::hash(b"mine\n").to_hex();
    let entry = |name: &str| format!("{{ \"file\": {name:?}, \"blake3\": \"{digest}\" }}");
    let absolute = outer.path().join("mine.txt");
    let text = format!(
        "{{ \"format\": \"lrlab report manifest v2\", \"files\": [{}, {}] }}",
        entry("../mine.txt"),
        entry(absolute.to_str().unwrap())
    );
    let folder = outer.path().join("report");
    put(&folder, "manifest.json", &text);
    write(&report(1), &[], &folder).unwrap();
    assert_eq!(std::fs::read_to_string(absolute).unwrap(), "mine\n");
}

/// A document neither replaces a file of the report nor leads out of its folder, and nothing is written.
#[test]
fn documents_have_names_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("report");
    let report = report(1);
    write(&report, &[], &out).unwrap();
    let before = check::files(&out);
    for name in
        ["report.md", "ro-crate-metadata.json", "manifest.json", "tables/results.csv", "a.md", "../a.md", ""]
    {
        let documents = [("a.md".to_owned(), "first".to_owned()), (name.to_owned(), "second".to_owned())];
        let error = write(&report, &documents, &out).unwrap_err();
        let words = if name.contains("..") || name.is_empty() {
            "expected a name"
        } else {
            "another file of this name"
        };
        assert!(matches!(&error, Error::Document { place, .. } if place == name), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    }
    assert_eq!(check::files(&out), before);
    assert!(!folder.path().join("a.md").exists());
}
