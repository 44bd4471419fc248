//! Experiment files, as text.

use std::path::Path;

use anyhow::Context;
use lrlab_options::QUICKSTART;

/// Reads a text file in UTF-8. The program contains a copy of the quickstart, which is used if the file does not exist.
pub(crate) fn read_text(path: &Path) -> anyhow::Result<String> {
    let name = path.display().to_string();
    if path == Path::new(QUICKSTART) && !path.exists() {
        return Ok(include_str!("../quickstart.toml").to_owned());
    }
    let bytes = std::fs::read(path).with_context(|| name.clone())?;
    Ok(lrlab_spec::decode(&bytes, &name)?)
}

/// Returns the name of the experiment in `path` without checking the rest of the file.
pub(super) fn experiment_name(path: &Path) -> anyhow::Result<String> {
    let name = path.display().to_string();
    let table: toml::Table = read_text(path)?.parse().with_context(|| name.clone())?;
    let found = table.get("name").and_then(toml::Value::as_str);
    Ok(found.with_context(|| format!("{name}: the key `name` is missing"))?.to_owned())
}
