//! Checks of the files of a report: well-formed markup, LaTeX and CSV rows of equal length.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use lrlab_report::{Document, Plan, Report, RunStore, render, summarise, tables, terminal_table, write};
use serde_json::json;

/// Writes the report of a plan and returns every file, checked.
///
/// `LRLAB_REPORT_KEEP=DIR` also keeps it in DIR under `name` for inspection in a browser.
pub fn written(plan: &Plan, store: &RunStore, name: &str) -> BTreeMap<String, String> {
    let report = Arc::new(summarise(plan, store).unwrap());
    // Documents find every table by its name.
    for table in tables(&report) {
        let template = format!("{{{{ table({:?}) }}}}", table.name);
        let document = Document { name: "table.md".to_owned(), template };
        assert!(render(&report, &document).is_ok_and(|text| text.starts_with('|')), "{}", table.name);
    }
    let folder = tempfile::tempdir().unwrap();
    let written = write(&report, &[], folder.path()).unwrap();
    assert!(written.html.is_file() && written.markdown.is_file() && written.manifest.is_file());
    if let Some(keep) = std::env::var_os("LRLAB_REPORT_KEEP") {
        write(&report, &[], &Path::new(&keep).join(name)).unwrap();
        std::fs::write(Path::new(&keep).join(name).join("terminal.txt"), terminal_table(&report)).unwrap();
    }
    let files = files(folder.path());
    let others = 3 + usize::from(written.ro_crate.is_some());
    assert_eq!(files.len(), others + written.tables.len() + written.figures.len(), "{:?}", files.keys());
    for (name, text) in &files {
        check(name, text);
    }
    check_numbers(&report, &files["manifest.json"]);
    files
}

/// Checks that the manifest has every number of the tables with the runs of its cell.
fn check_numbers(report: &Report, manifest: &str) {
    let manifest: serde_json::Value = serde_json::from_str(manifest).unwrap();
    let mut numbers = manifest["numbers"].as_array().unwrap().iter();
    for table in tables(report) {
        for (row, it) in table.rows.iter().enumerate() {
            let cells = table.columns.iter().zip(&it.cells).filter(|(_, cell)| !cell.runs.is_empty());
            for (column, cell) in cells {
                let number = numbers.next().unwrap();
                assert_eq!(number["table"], format!("tables/{}.csv", table.name));
                assert_eq!((&number["row"], &number["column"]), (&json!(row + 1), &json!(column.key)));
                let set = &manifest["run_sets"][number["run_set"].as_u64().unwrap() as usize];
                assert_eq!(*set, json!(cell.runs), "{number}");
            }
        }
    }
    assert_eq!(numbers.next(), None);
    let listed: BTreeSet<&str> =
        manifest["runs"].as_array().unwrap().iter().filter_map(|run| run["run_id"].as_str()).collect();
    let mut sets = manifest["run_sets"].as_array().unwrap().iter().flat_map(|set| set.as_array().unwrap());
    assert!(sets.all(|id| listed.contains(id.as_str().unwrap())));
}

/// As [`written`], for a plan without runs, whose tables have no rows.
pub fn written_without_latex_rows(plan: &Plan, store: &RunStore) {
    let folder = tempfile::tempdir().unwrap();
    write(&summarise(plan, store).unwrap(), &[], folder.path()).unwrap();
    let files = files(folder.path());
    for (name, text) in files.iter().filter(|(name, _)| !name.ends_with(".tex")) {
        check(name, text);
    }
}

/// Every file below a folder.
pub fn files(root: &Path) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                out.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    out
}

fn check(name: &str, text: &str) {
    let text = &without_scripts(text);
    assert!(text.ends_with('\n'), "{name} ends in the middle of a line");
    for word in ["NaN", "inf ", "inf,", "Infinity"] {
        assert!(!text.contains(word), "{name} contains {word}");
    }
    match Path::new(name).extension().and_then(|e| e.to_str()) {
        Some("svg") => markup(name, text),
        Some("html") => {
            markup(name, text);
            for network in ["<link", " src=", "@import", "url(http", "https://", "//cdn"] {
                assert!(!text.contains(network), "{name} asks for something: {network}");
            }
            let addresses = text.matches("http://").count();
            assert_eq!(addresses, text.matches("xmlns=\"http://www.w3.org/2000/svg\"").count());
        }
        Some("csv") => csv(name, text),
        Some("tex") => latex(name, text),
        Some("json") if name == "manifest.json" => manifest(text),
        _ => {}
    }
}

/// A page without its scripts, but with its data.
fn without_scripts(text: &str) -> String {
    let mut parts = text.split("<script>");
    let before = parts.next().unwrap_or_default().to_owned();
    parts.fold(before, |out, part| out + part.split_once("</script>").unwrap().1)
}

/// Checks that elements are properly nested and ids are unique.
pub fn markup(name: &str, text: &str) {
    // HTML allows omitting the end tags of table rows and cells.
    const VOID: [&str; 5] = ["meta", "br", "!DOCTYPE", "tr", "td"];
    let mut open: Vec<&str> = Vec::new();
    let mut ids: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        assert!(
            !rest[..at].contains("&nbsp") && text_is_escaped(&rest[..at], open.last()),
            "{name}: {}",
            &rest[..at]
        );
        rest = &rest[at + 1..];
        let end = rest.find('>').unwrap_or_else(|| panic!("{name}: a tag does not end"));
        let tag = &rest[..end];
        rest = &rest[end + 1..];
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "{name}");
            continue;
        }
        assert!(!tag.contains('<'), "{name}: {tag}");
        if let Some((_, id)) = tag.split_once(" id=\"") {
            ids.push(id.split('"').next().unwrap());
        }
        let element = tag.split([' ', '\n', '/']).next().unwrap();
        if tag.ends_with('/') || VOID.contains(&element) {
            continue;
        }
        if element == "script" || element == "style" {
            let close = format!("</{element}>");
            rest = &rest[rest.find(&close).unwrap() + close.len()..];
            continue;
        }
        open.push(element);
    }
    assert!(open.is_empty(), "{name}: {open:?} not closed");
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "{name}: duplicate id");
}

fn text_is_escaped(text: &str, _inside: Option<&&str>) -> bool {
    text.split('&').skip(1).all(|after| {
        after.split_once(';').is_some_and(|(entity, _)| {
            entity.starts_with('#') || ["amp", "lt", "gt", "quot"].contains(&entity)
        })
    })
}

/// Text columns; every other column contains one number per row, or is empty.
const WORDS: [&str; 28] = [
    "precision",
    "model",
    "dataset",
    "schedule",
    "monitor",
    "odd <axis> | &",
    "seed",
    "run_id",
    "state",
    "result_blake3",
    "error",
    "metric",
    "contrast",
    "conclusion",
    "source",
    "kind",
    "reason",
    "id",
    "text",
    "verdict",
    "arm_verdict",
    "claimed_compare",
    "claimed_than",
    "arm",
    "note",
    "winner_state",
    "data.validation",
    "outcome",
];

fn csv(name: &str, text: &str) {
    let lines = records(text);
    let header = &lines[0];
    for (i, column) in header.iter().enumerate() {
        assert!(!header[..i].contains(column), "{name}: duplicate column {column}");
    }
    for line in &lines[1..] {
        assert_eq!(line.len(), header.len(), "{name}: {line:?}");
        for (column, field) in header.iter().zip(line).filter(|(column, _)| !WORDS.contains(&column.as_str()))
        {
            // The only exception is a list of integers.
            let whole = column == "after_epochs" && field.split(' ').all(|n| n.parse::<u64>().is_ok());
            let number = field.parse::<f64>().is_ok_and(f64::is_finite);
            assert!(field.is_empty() || number || whole, "{name}: {column} is {field:?}");
        }
    }
}

/// Parses a CSV file as defined in RFC 4180.
pub fn records(text: &str) -> Vec<Vec<String>> {
    let (mut all, mut line, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => line.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                line.push(std::mem::take(&mut field));
                all.push(std::mem::take(&mut line));
            }
            c => field.push(c),
        }
    }
    assert!(!quoted && line.is_empty() && field.is_empty(), "a record does not end");
    all
}

fn latex(name: &str, text: &str) {
    let plain =
        text.replace("\\\\", "").replace("\\&", "").replace("\\{", "").replace("\\}", "").replace("\\%", "");
    assert_eq!(plain.matches('{').count(), plain.matches('}').count(), "{name}");
    assert_eq!(plain.matches('$').count() % 2, plain.matches("\\$").count() % 2, "{name}");
    let rows: Vec<usize> = text
        .lines()
        .filter(|l| l.ends_with("\\\\"))
        .map(|l| l.replace("\\&", "").matches('&').count())
        .collect();
    if name.starts_with("tables/") {
        assert!(rows.len() > 1 && rows.iter().all(|n| *n == rows[0]), "{name}: {rows:?}");
    }
    let mut plain = String::new();
    for (i, part) in text.split("\\else ").enumerate() {
        // Removes the parts that only Unicode engines read.
        plain.push_str(if i == 0 { part } else { part.split_once("\\fi").unwrap().1 });
    }
    assert!(plain.is_ascii(), "{name}: {:?}", plain.chars().find(|c| !c.is_ascii()));
}

/// Checks that the manifest is JSON, that the runs of every number are done or, in a search, paused, and that no set of runs
/// occurs twice.
fn manifest(text: &str) {
    let json: serde_json::Value = serde_json::from_str(text).unwrap();
    let runs = json["runs"].as_array().unwrap();
    let done: Vec<&str> = runs
        .iter()
        .filter(|run| run["result_blake3"].is_string() || run["state"] == "paused")
        .map(|run| run["run_id"].as_str().unwrap())
        .collect();
    let sets: Vec<Vec<&str>> = json["run_sets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|set| set.as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect())
        .collect();
    assert_eq!(sets.iter().collect::<BTreeSet<_>>().len(), sets.len());
    for number in json["numbers"].as_array().unwrap() {
        for id in &sets[number["run_set"].as_u64().unwrap() as usize] {
            assert!(done.contains(id) || number["value"].is_null(), "{number}");
        }
    }
}
