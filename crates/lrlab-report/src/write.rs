//! Writing a report: every file whole or not there, equal bytes for equal inputs.

use std::path::{Path, PathBuf};

use lrlab_runs::write_atomic;

use crate::{Error, Report, figure, figures, manifest, page, table, tables};

/// The files of a report that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The page to open.
    pub html: PathBuf,
    /// The same for a repository.
    pub markdown: PathBuf,
    /// From every number to its runs.
    pub manifest: PathBuf,
    /// CSV and LaTeX.
    pub tables: Vec<PathBuf>,
    /// SVG.
    pub figures: Vec<PathBuf>,
}

/// Writes `report.md`, `report.html`, `manifest.json`, `tables/*.{csv,tex}` and `figures/*.svg` into `out`.
/// Files of an earlier report that this one does not have are removed from `tables/` and `figures/`.
///
/// # Errors
/// Writing fails; the files written so far are whole.
pub fn write(report: &Report, out: &Path) -> Result<Written, Error> {
    let (tables, figures) = (tables(report), figures(report));
    let mut written = Written {
        html: out.join("report.html"),
        markdown: out.join("report.md"),
        manifest: out.join("manifest.json"),
        tables: Vec::new(),
        figures: Vec::new(),
    };
    for it in &tables {
        let path = |extension: &str| out.join("tables").join(format!("{}.{extension}", it.name));
        put(path("csv"), &table::csv(it), &mut written.tables)?;
        if it.fits_latex() {
            put(path("tex"), &table::latex(it, &report.experiment), &mut written.tables)?;
        }
    }
    put(out.join("tables").join("curves.csv"), &tables::curves(report), &mut written.tables)?;
    let drawn: Vec<String> = figures.iter().map(figure::svg).collect();
    for (it, svg) in figures.iter().zip(&drawn) {
        put(out.join("figures").join(format!("{}.svg", it.name)), svg, &mut written.figures)?;
    }
    remove_others(&out.join("tables"), &written.tables)?;
    remove_others(&out.join("figures"), &written.figures)?;
    write_atomic(&written.manifest, manifest::manifest(report, &tables, &figures)?.as_bytes())?;
    write_atomic(&written.markdown, page::markdown(report, &tables, &figures)?.as_bytes())?;
    write_atomic(&written.html, page::html(report, &tables, &figures, &drawn)?.as_bytes())?;
    Ok(written)
}

fn put(path: PathBuf, text: &str, list: &mut Vec<PathBuf>) -> Result<(), Error> {
    write_atomic(&path, text.as_bytes())?;
    list.push(path);
    Ok(())
}

/// A figure of an earlier report would be taken for one of this.
fn remove_others(folder: &Path, keep: &[PathBuf]) -> Result<(), Error> {
    let io = |source| Error::Io { path: folder.to_path_buf(), source };
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(io)?,
    };
    for entry in entries {
        let path = entry.map_err(io)?.path();
        let ours = path.extension().is_some_and(|e| e == "csv" || e == "tex" || e == "svg");
        if ours && !keep.contains(&path) {
            std::fs::remove_file(&path).map_err(|source| Error::Io { path, source })?;
        }
    }
    Ok(())
}
