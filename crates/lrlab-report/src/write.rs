//! Writing a report: every file whole or not there, equal bytes for equal inputs, nobody else's file touched.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::manifest::{MANIFEST, Manifest};
use crate::ro_crate::{RO_CRATE, ro_crate};
use crate::staged::Staged;
use crate::{Error, Report, figures, page, table, tables};

/// The files of a report that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The page to open.
    pub html: PathBuf,
    /// The same for a repository.
    pub markdown: PathBuf,
    /// From every number to its runs.
    pub manifest: PathBuf,
    /// The report as an RO-Crate, once a run is finished.
    pub ro_crate: Option<PathBuf>,
    /// CSV and LaTeX.
    pub tables: Vec<PathBuf>,
    /// SVG.
    pub figures: Vec<PathBuf>,
    /// The user's own, rendered.
    pub documents: Vec<PathBuf>,
    /// Files of an earlier report that somebody changed, under the names that they have now.
    pub kept: Vec<PathBuf>,
}

/// Writes `report.md`, `report.html`, `manifest.json`, `tables/*.{csv,tex}` and `figures/*.{svg,tex}` into `out`, and beside them
/// `documents`, by name (see [`render`](crate::render)). Where a run is finished, `ro-crate-metadata.json` describes them all
/// for machines.
///
/// An earlier report there is replaced: what its manifest names with its digest, and only that, is overwritten or, where
/// this report has no such file, removed. A file of an earlier report that somebody changed since keeps its contents
/// under another name (see [`Written::kept`]).
///
/// # Errors
/// [`Error::InTheWay`] where `out` has files with a report's names and no report: nothing is written then. Or writing
/// fails; the files written so far are whole.
pub fn write(report: &Report, documents: &[(String, String)], out: &Path) -> Result<Written, Error> {
    write_as(report, documents, out, false)
}

/// As [`write()`], while runs of the grid are under way: the page loads itself again every few seconds, and stays where
/// its reader left it.
///
/// # Errors
/// As [`write()`].
pub fn write_open(report: &Report, documents: &[(String, String)], out: &Path) -> Result<Written, Error> {
    write_as(report, documents, out, true)
}

fn write_as(
    report: &Report,
    documents: &[(String, String)],
    out: &Path,
    open: bool,
) -> Result<Written, Error> {
    let (tables, figures) = (Arc::new(tables(report)), figures(report));
    let mut staged = Staged::beside(out)?;
    page::html(report, &tables, &figures, open, &mut |name, write| staged.add_with(name, write))?;
    staged.add("report.md", &page::markdown(report, &tables, &figures)?)?;
    for it in tables.iter() {
        staged.add_with(&format!("tables/{}.csv", it.name), &mut |out| table::csv(it, out))?;
        if it.fits_latex() {
            staged.add(&format!("tables/{}.tex", it.name), &table::latex(it, &report.experiment))?;
        }
    }
    staged.add_with("tables/curves.csv", &mut |out| tables::curves(report, out))?;
    for (name, text) in documents {
        staged.add(name, text)?;
    }
    let ro_crate = ro_crate(report, &staged.files)?;
    if let Some(text) = &ro_crate {
        staged.add(RO_CRATE, text)?;
    }
    let kept = staged.replace(out, &Manifest { report, tables: &tables, figures: &figures })?;
    let within = |folder: &str| -> Vec<PathBuf> {
        staged
            .files
            .iter()
            .filter(|(name, _)| name.starts_with(folder))
            .map(|(name, _)| out.join(name))
            .collect()
    };
    Ok(Written {
        html: out.join("report.html"),
        markdown: out.join("report.md"),
        manifest: out.join(MANIFEST),
        ro_crate: ro_crate.map(|_| out.join(RO_CRATE)),
        tables: within("tables/"),
        figures: within("figures/"),
        documents: documents.iter().map(|(name, _)| out.join(name)).collect(),
        kept,
    })
}
