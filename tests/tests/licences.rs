//! The licences of all dependencies, checked against the list in `deny.toml` without another tool.

use std::collections::BTreeSet;

use lrlab_tests::{metadata, root};

#[test]
fn every_dependency_is_permissive() {
    let deny = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let allowed = allowed(&deny);
    assert!(allowed.contains("MIT") && allowed.contains("Apache-2.0"), "{allowed:?}");
    let metadata = metadata();
    let used: BTreeSet<_> = metadata["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|node| node["id"].as_str())
        .collect();
    let mut checked = 0;
    for package in metadata["packages"].as_array().unwrap() {
        if package["id"].as_str().is_some_and(|id| used.contains(id)) {
            let licence = package["license"].as_str().unwrap_or("none");
            assert!(permits(licence, &allowed), "{}: {licence}", package["name"]);
            checked += 1;
        }
    }
    assert!(checked > 100, "only {checked} packages were found");
}

/// Libraries copied into this repository: their licence is permitted, is beside them, and is in the packages with them.
#[test]
fn copied_libraries_keep_their_licence() {
    let allowed = allowed(&std::fs::read_to_string(root().join("deny.toml")).unwrap());
    let vendor = root().join("crates/lrlab-report/src/templates/vendor");
    let page = std::fs::read_to_string(root().join("crates/lrlab-report/src/page/content.rs")).unwrap();
    let mut checked = 0;
    for library in std::fs::read_dir(vendor).unwrap() {
        let folder = library.unwrap().path();
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect(name);
        let (readme, licence) = (read("README.md"), read("LICENSE"));
        let name =
            readme.split([',', '.']).find_map(|part| part.split_whitespace().find(|w| allowed.contains(*w)));
        let name = name.expect("the README names a permitted licence");
        assert!(licence.contains(&format!("The {name} License")), "{licence}");
        assert!(licence.contains("Copyright (c)"), "{licence}");
        let library = folder.file_name().unwrap().to_string_lossy();
        assert!(
            page.contains(&format!("vendor/{library}/LICENSE")),
            "the page has {library} without its licence"
        );
        checked += 1;
    }
    assert!(checked > 0);
}

#[test]
fn expressions() {
    let allowed = BTreeSet::from(["MIT", "Apache-2.0", "Unicode-3.0"].map(str::to_owned));
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("MIT OR GPL-3.0", true),
        ("MIT/GPL-3.0", true),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("(MIT OR Apache-2.0) AND GPL-3.0", false),
        ("GPL-3.0 OR (MIT AND Apache-2.0)", true),
        ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
        ("none", false),
    ] {
        assert_eq!(permits(expression, &allowed), expected, "{expression}");
    }
}

/// The entries of the `allow` list below `[licenses]`.
fn allowed(deny: &str) -> BTreeSet<String> {
    let section = deny.split("[licenses]").nth(1).unwrap();
    let list = section.split("allow = [").nth(1).unwrap().split(']').next().unwrap();
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Returns whether an SPDX expression can be met with `allowed` licences; an exception (`WITH`) only permits more.
fn permits(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words: Vec<&str> = spaced.split_whitespace().rev().collect();
    either(&mut words, allowed)
}

fn either(words: &mut Vec<&str>, allowed: &BTreeSet<String>) -> bool {
    let mut any = both(words, allowed);
    while words.last() == Some(&"OR") {
        words.pop();
        any |= both(words, allowed);
    }
    any
}

fn both(words: &mut Vec<&str>, allowed: &BTreeSet<String>) -> bool {
    let mut all = one(words, allowed);
    while words.last() == Some(&"AND") {
        words.pop();
        all &= one(words, allowed);
    }
    all
}

fn one(words: &mut Vec<&str>, allowed: &BTreeSet<String>) -> bool {
    let word = words.pop().unwrap_or_default();
    if word == "(" {
        let inside = either(words, allowed);
        words.pop();
        return inside;
    }
    if words.last() == Some(&"WITH") {
        words.truncate(words.len().saturating_sub(2));
    }
    allowed.contains(word)
}
