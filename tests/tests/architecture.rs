//! Structural rules of the workspace, checked on `cargo metadata` and the sources.

mod modules;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use lrlab_tests::{metadata, root};
use serde_json::Value;

/// Name, layer, and whether it may see candle. See ARCHITECTURE.md.
const LAYERS: [(&str, u8, bool); 19] = [
    ("lrlab-options", 0, false),
    ("lrlab-random", 0, false),
    ("lrlab-runs", 0, false),
    ("lrlab-schedulers", 1, false),
    ("lrlab-search", 1, false),
    ("lrlab-config", 2, false),
    ("lrlab-spec", 3, false),
    ("lrlab-callbacks", 3, false),
    ("lrlab-kernels", 3, true),
    ("lrlab-data", 3, true),
    ("lrlab-models", 4, true),
    ("lrlab-optim", 4, true),
    ("lrlab-grid", 4, false),
    ("lrlab-report", 4, false),
    ("lrlab-train", 5, true),
    ("lrlab", 6, true),
    ("xtask", 7, false),
    ("lrlab-example-mixer", 7, true),
    ("lrlab-tests", 7, true),
];

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// The packages of the workspace with their folders.
fn members(metadata: &Value) -> Vec<(&Value, PathBuf)> {
    let ids: BTreeSet<_> = list(metadata, "workspace_members").filter_map(Value::as_str).collect();
    list(metadata, "packages")
        .filter(|package| ids.contains(text(package, "id")))
        .map(|package| (package, Path::new(text(package, "manifest_path")).parent().unwrap().to_path_buf()))
        .collect()
}

/// The dependencies of `package` for building and running; its tests may use more.
fn dependencies(package: &Value) -> impl Iterator<Item = &Value> {
    list(package, "dependencies").filter(|dependency| dependency["kind"] != "dev")
}

#[test]
fn crates_depend_on_lower_layers_only() {
    let metadata = metadata();
    let layers: BTreeMap<_, _> = LAYERS.iter().map(|(name, layer, _)| (*name, *layer)).collect();
    let mut names = BTreeSet::new();
    for (package, _) in members(&metadata) {
        let name = text(package, "name");
        let layer = layers
            .get(name)
            .unwrap_or_else(|| panic!("{name} has no layer: add it here and to ARCHITECTURE.md"));
        for dependency in dependencies(package).map(|dependency| text(dependency, "name")) {
            if let Some(below) = layers.get(dependency) {
                assert!(below < layer, "{name} (layer {layer}) depends on {dependency} (layer {below})");
            }
        }
        names.insert(name);
    }
    assert_eq!(names, layers.keys().copied().collect(), "a listed crate does not exist");
}

#[test]
fn only_listed_crates_depend_on_candle() {
    let metadata = metadata();
    let name: BTreeMap<_, _> =
        list(&metadata, "packages").map(|p| (text(p, "id"), text(p, "name"))).collect();
    // The edges that are not only for tests, with the features enabled in the workspace.
    let edges: BTreeMap<_, Vec<_>> = list(&metadata["resolve"], "nodes")
        .map(|node| {
            let real = |edge: &&Value| list(edge, "dep_kinds").any(|kind| kind["kind"] != "dev");
            (text(node, "id"), list(node, "deps").filter(real).map(|edge| text(edge, "pkg")).collect())
        })
        .collect();
    let mut with_candle = BTreeSet::new();
    for (package, _) in members(&metadata) {
        let (mut seen, mut next) = (BTreeSet::new(), vec![text(package, "id")]);
        while let Some(id) = next.pop() {
            if seen.insert(id) {
                next.extend(&edges[id]);
            }
        }
        if seen.iter().any(|id| name[id].starts_with("candle")) {
            with_candle.insert(text(package, "name"));
        }
    }
    for (name, _, may) in LAYERS {
        assert!(may || !with_candle.contains(name), "{name} depends on candle");
    }
    assert!(with_candle.contains("lrlab"), "the walk over the dependencies finds nothing");
}

#[test]
fn modules_have_no_cycles() {
    let mut mistakes = Vec::new();
    for (package, folder) in members(&metadata()) {
        let lib = folder.join("src/lib.rs");
        let cycles = modules::cycles(&if lib.is_file() { lib } else { folder.join("src/main.rs") });
        if !cycles.is_empty() {
            mistakes.push(format!("{} has cycles\n{}", text(package, "name"), cycles.join("\n")));
        }
    }
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

#[test]
fn every_crate_has_docs_lints_and_licences() {
    let architecture = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut mistakes = Vec::new();
    for (package, folder) in members(&metadata()) {
        let name = text(package, "name");
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let main = if folder.join("src/lib.rs").is_file() { "src/lib.rs" } else { "src/main.rs" };
        let main = std::fs::read_to_string(folder.join(main)).unwrap();
        let mut rules = vec![
            (manifest.contains("[lints]\nworkspace = true\n"), "does not inherit the workspace's lints"),
            (main.starts_with("//!") || main.starts_with("#![doc"), "has no docs"),
        ];
        if package["publish"].is_null() {
            let readme = std::fs::read_to_string(folder.join("README.md")).unwrap_or_default();
            rules.extend([
                (folder.ends_with(name), "is not in the folder of its name"),
                (readme.lines().count() > 5, "has an almost empty README"),
                (architecture.contains(&format!("`{name}`")), "is not in ARCHITECTURE.md"),
                (!text(package, "description").is_empty(), "has no description"),
                (
                    readme.contains(&format!("Rust {}", text(package, "rust_version"))),
                    "does not state its minimum Rust version",
                ),
                (
                    ["LICENSE-MIT", "LICENSE-APACHE"].iter().all(|file| folder.join(file).is_file()),
                    "has no licence files",
                ),
                (manifest.contains("[package.metadata.docs.rs]"), "has no settings for docs.rs"),
            ]);
        }
        mistakes.extend(rules.iter().filter(|(kept, _)| !kept).map(|(_, rule)| format!("{name} {rule}")));
    }
    assert_eq!(mistakes, [""; 0]);
}

#[test]
fn every_dependency_is_used() {
    let mut unused = Vec::new();
    for (package, folder) in members(&metadata()) {
        let (name, ignored) = (text(package, "name"), &package["metadata"]["cargo-machete"]["ignored"]);
        let ignored: Vec<_> = ignored.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let ours = source(&folder, &["src", "build.rs"]);
        let tests = source(&folder, &["src", "tests", "examples", "benches", "README.md"]);
        for dependency in list(package, "dependencies") {
            let called = dependency["rename"].as_str().unwrap_or(text(dependency, "name"));
            let code = if dependency["kind"] == "dev" { &tests } else { &ours };
            if !ignored.contains(&called) && !code.contains(&called.replace('-', "_")) {
                unused.push(format!("{name} does not use {called}"));
            }
        }
    }
    assert_eq!(unused, [""; 0]);
}

#[test]
fn direct_dependencies_have_one_version() {
    let metadata = metadata();
    let ours: BTreeSet<_> = members(&metadata)
        .into_iter()
        .flat_map(|(package, _)| dependencies(package).map(|dependency| text(dependency, "name").to_owned()))
        .collect();
    let used: BTreeSet<_> = list(&metadata["resolve"], "nodes").map(|node| text(node, "id")).collect();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in list(&metadata, "packages").filter(|package| used.contains(text(package, "id"))) {
        versions.entry(text(package, "name")).or_default().insert(text(package, "version"));
    }
    for (name, versions) in versions {
        let twice = ours.contains(name) && versions.len() > 1;
        assert!(!twice || TWICE.contains(&name), "{name} has the versions {versions:?}, expected one");
    }
}

/// Direct dependencies that another dependency needs in an older version.
const TWICE: [&str; 0] = [];

#[test]
fn no_file_mentions_paths_of_one_machine() {
    let output = Command::new("git").current_dir(root()).args(["ls-files", "-z"]).output();
    let Some(files) = output.ok().filter(|output| output.status.success()) else {
        eprintln!("skipped: no git repository");
        return;
    };
    let mut words =
        vec![["/work", "main"].join("/"), ["/work", "shared"].join("/"), ["/root", ".cargo"].join("/")];
    let here = root().canonicalize().unwrap();
    if here.components().count() > 3 {
        words.push(here.display().to_string());
    }
    for file in String::from_utf8(files.stdout).unwrap().split('\0').filter(|file| !file.is_empty()) {
        let Ok(content) = std::fs::read_to_string(root().join(file)) else { continue };
        for word in &words {
            assert!(!content.contains(word), "{file} mentions {word}");
        }
    }
}

/// The text of the files and folders `parts` below `folder`, one after the other.
fn source(folder: &Path, parts: &[&str]) -> String {
    let mut next: Vec<_> = parts.iter().map(|part| folder.join(part)).collect();
    let mut text = String::new();
    while let Some(path) = next.pop() {
        if path.is_dir() {
            next.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            text.push_str(&std::fs::read_to_string(&path).unwrap_or_default());
        }
    }
    text
}
