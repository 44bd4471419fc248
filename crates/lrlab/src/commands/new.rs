//! `lrlab new`: writes a commented example experiment.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use super::print_line;
use crate::Exit;
use crate::program::program;

const TEMPLATE: &str = include_str!("new.toml");

#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// The file to write. Its stem becomes the experiment's name and may contain `a` … `z`, `0` … `9` and `-`.
    file: PathBuf,
}

/// Writes the template to a new file. An existing file is an error.
pub(crate) fn new(args: &NewArgs) -> anyhow::Result<Exit> {
    let file = &args.file;
    let text = template(file)?;
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let mut place = match std::fs::File::create_new(file) {
        Ok(place) => place,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("{}: the file already exists; choose another name", file.display())
        }
        Err(error) => return Err(error).with_context(|| file.display().to_string()),
    };
    std::io::Write::write_all(&mut place, text.as_bytes()).with_context(|| file.display().to_string())?;
    let (program, file) = (program(), file.display());
    print_line(&format!(
        "{file}: `{program} plan {file}` lists its runs, `{program} run {file}` trains them"
    ));
    Ok(Exit::Done)
}

fn template(file: &Path) -> anyhow::Result<String> {
    let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-');
    if name.is_empty() || !name.chars().all(allowed) || file.extension().is_none_or(|kind| kind != "toml") {
        bail!(
            "{}: expected a file `NAME.toml` whose name contains only `a` … `z`, `0` … `9` and `-`",
            file.display()
        );
    }
    let text = TEMPLATE.replace("my-question", name);
    // Some names are reserved or too long.
    let file = file.display().to_string();
    lrlab_spec::read(&text, &file, &[], &lrlab_spec::Catalog::default()).map_err(|mistakes| {
        anyhow::anyhow!("no experiment can have this name:\n{}", mistakes.to_string().trim_end())
    })?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The template is an experiment without mistakes and warnings.
    #[test]
    fn the_template_is_valid() {
        let text = template(Path::new("deep/a-1.toml")).unwrap();
        let experiment = lrlab_spec::read(&text, "a-1.toml", &[], &lrlab_spec::Catalog::default()).unwrap();
        assert_eq!((experiment.name.as_str(), experiment.warnings.to_string()), ("a-1", String::new()));
        assert_eq!(experiment.cells(&[], None).unwrap().len(), 12);
        let long = format!("{}.toml", "a".repeat(200));
        for wrong in ["store.toml", "cache.toml", &long] {
            let error = template(Path::new(wrong)).unwrap_err().to_string();
            assert!(error.starts_with("no experiment can have this name:\n"), "{wrong}: {error}");
        }
        for wrong in ["A.toml", "a", "a b.toml", ".toml", "a.json"] {
            let error = template(Path::new(wrong)).unwrap_err().to_string();
            assert!(error.contains("expected a file `NAME.toml`"), "{wrong}: {error}");
        }
    }
}
