//! What the report holds besides its own pages.

use std::path::{Component, Path};

use crate::mistake::Log;
use crate::tree::Node;
use crate::walk::walk;

/// How the name of a document's template ends.
const TEMPLATE: &str = ".jinja";

/// Names that the report gives its own files, or begins them with.
const TAKEN: [&str; 5] = ["report.md", "report.html", "manifest.json", "tables", "figures"];

/// The templates of documents, each of which makes a file of its own.
pub(crate) fn documents(log: &mut Log, root: &Node) -> Vec<String> {
    let Some(section) = root.get("report") else { return Vec::new() };
    let schema = serde_json::json!({ "$ref": "#/$defs/Report" });
    if !walk(log, section, &schema, "report") {
        return Vec::new();
    }
    let mut made: Vec<&str> = Vec::new();
    for node in section.get("documents").map(Node::list).unwrap_or_default() {
        let text = node.text().unwrap_or_default();
        let Some(file) = text.strip_suffix(TEMPLATE) else {
            let hint = format!("name it after the file that it makes, such as `paper.md{TEMPLATE}`");
            log.error(node.place, format!("`{text}` does not end in `{TEMPLATE}`"), hint);
            continue;
        };
        let name = Path::new(file).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if Path::new(text).components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir))
        {
            let hint = "name a template in the experiment's folder, or below it".to_owned();
            log.error(node.place, format!("`{text}` leads out of the experiment's folder"), hint);
        } else if name.is_empty() || TAKEN.contains(&name) {
            log.error(node.place, format!("the report has a file `{name}` of its own"), None);
        } else if made.contains(&name) {
            log.error(node.place, format!("two templates make `{name}`"), None);
        } else {
            made.push(name);
        }
    }
    let all = section.get("documents").map(Node::list).unwrap_or_default();
    all.iter().filter_map(Node::text).map(str::to_owned).collect()
}
