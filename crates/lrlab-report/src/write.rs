//! Writes a report: files atomically, equal bytes for equal inputs, no changes to files of other origin.

use std::path::{Component, Path, PathBuf};

use crate::manifest::{MANIFEST, Manifest, Numbers};
use crate::page::Excerpt;
use crate::ro_crate::{RO_CRATE, ro_crate};
use crate::staged::Staged;
use crate::{Error, Report, figures, page, table, tables};

/// The paths of a written report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The HTML page.
    pub html: PathBuf,
    /// The report as Markdown.
    pub markdown: PathBuf,
    /// The manifest, which maps every number to its runs.
    pub manifest: PathBuf,
    /// The RO-Crate metadata; `None` without a finished run.
    pub ro_crate: Option<PathBuf>,
    /// Tables as CSV and LaTeX.
    pub tables: Vec<PathBuf>,
    /// Figures as SVG and pgfplots.
    pub figures: Vec<PathBuf>,
    /// Rendered user documents.
    pub documents: Vec<PathBuf>,
    /// New paths of files of an earlier report that were edited since.
    pub kept: Vec<PathBuf>,
}

/// Writes `report.md`, `report.html`, `manifest.json`, `tables/*.{csv,tex}`, `figures/*.{svg,tex}` and the rendered
/// `documents` (name, text; see [`render`](crate::render)) to the folder `out`. If a run is finished,
/// `ro-crate-metadata.json` describes the files.
///
/// An earlier report in the folder is replaced: files that its manifest lists with their current digest are overwritten, or
/// removed if the new report does not have them. Files of an earlier report that were edited since are kept under another
/// name (see [`Written::kept`]).
///
/// # Errors
/// Returns [`Error::WouldOverwrite`], without writing anything, if `out` has no report but files with the names of a
/// report's files, and [`Error::Document`] if a document has the name of another file or a name that leads out of the folder.
/// Returns an error if writing fails; files written before it are complete.
pub fn write(report: &Report, documents: &[(String, String)], out: &Path) -> Result<Written, Error> {
    write_as(report, documents, out, false)
}

/// As [`write()`], while runs of the grid are in progress: the page reloads itself every few seconds and keeps its scroll
/// position.
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
    let figures = figures(report);
    let mut staged = Staged::within(out)?;
    let mut numbers = Numbers::new(report, staged.scratch()?);
    let mut excerpts = Vec::new();
    for it in tables::each(report) {
        staged.add_with(&format!("tables/{}.csv", it.name), &mut |out| table::csv(&it, out))?;
        if it.fits_latex() {
            staged.add(&format!("tables/{}.tex", it.name), &table::latex(&it, &report.experiment))?;
        }
        numbers.add(&it)?;
        excerpts.push(Excerpt::of(it));
    }
    staged.add_with("tables/curves.csv", &mut |out| tables::curves(report, out))?;
    let excerpts = excerpts.into();
    page::html(report, &excerpts, &figures, open, &mut |name, write| staged.add_with(name, write))?;
    staged.add("report.md", &page::markdown(report, &excerpts, &figures)?)?;
    for (name, text) in documents {
        if let Some(message) = unfit(name, &staged.files) {
            return Err(Error::Document { place: name.clone(), message: message.to_owned() });
        }
        staged.add(name, text)?;
    }
    let ro_crate = ro_crate(report, &staged.files)?;
    if let Some(text) = &ro_crate {
        staged.add(RO_CRATE, text)?;
    }
    let kept = staged.replace(out, &Manifest { report, numbers, figures: &figures })?;
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

/// Why a document cannot have a name beside these files; `None` if it can.
fn unfit(name: &str, files: &[(String, String)]) -> Option<&'static str> {
    let known =
        |other: &str| [MANIFEST, RO_CRATE].contains(&other) || files.iter().any(|(name, _)| name == other);
    let is_plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || !is_plain {
        Some("expected a name in the report's folder, such as `paper.md`")
    } else if known(name) {
        Some("the report has another file of this name")
    } else {
        None
    }
}
