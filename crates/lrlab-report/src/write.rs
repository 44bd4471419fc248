//! Writing a report: every file whole or not there, equal bytes for equal inputs, nobody else's file touched.

use std::path::{Path, PathBuf};

use lrlab_runs::write_atomic;

use crate::manifest::{MANIFEST, Manifest};
use crate::owned::{self, Owned};
use crate::{Error, Report, figure, figures, page, table, tables};

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
    /// The user's own, rendered.
    pub documents: Vec<PathBuf>,
    /// Files of an earlier report that somebody changed, under the names that they have now.
    pub kept: Vec<PathBuf>,
}

/// Writes `report.md`, `report.html`, `manifest.json`, `tables/*.{csv,tex}` and `figures/*.svg` into `out`, and beside them
/// `documents`, by name (see [`render`](crate::render)).
///
/// An earlier report there is replaced: what its manifest names with its digest, and only that, is overwritten or, where
/// this report has no such file, removed. A file of an earlier report that somebody changed since keeps its contents
/// under another name (see [`Written::kept`]).
///
/// # Errors
/// [`Error::InTheWay`] where `out` has files with a report's names and no report: nothing is written then. Or writing
/// fails; the files written so far are whole.
pub fn write(report: &Report, documents: &[(String, String)], out: &Path) -> Result<Written, Error> {
    let (tables, figures) = (tables(report), figures(report));
    let drawn: Vec<String> = figures.iter().map(figure::svg).collect();
    let mut files = Vec::new();
    for it in &tables {
        files.push((format!("tables/{}.csv", it.name), table::csv(it)));
        if it.fits_latex() {
            files.push((format!("tables/{}.tex", it.name), table::latex(it, &report.experiment)));
        }
    }
    files.push(("tables/curves.csv".to_owned(), tables::curves(report)));
    files.extend(
        figures.iter().zip(&drawn).map(|(it, svg)| (format!("figures/{}.svg", it.name), svg.clone())),
    );
    files.push(("report.md".to_owned(), page::markdown(report, &tables, &figures)?));
    files.push(("report.html".to_owned(), page::html(report, &tables, &figures, &drawn)?));
    files.extend(documents.iter().cloned());
    let kept = replace(out, &files, &Manifest::of(report, &tables, &figures)?)?;
    let within = |folder: &str| -> Vec<PathBuf> {
        files.iter().filter(|(name, _)| name.starts_with(folder)).map(|(name, _)| out.join(name)).collect()
    };
    Ok(Written {
        html: out.join("report.html"),
        markdown: out.join("report.md"),
        manifest: out.join(MANIFEST),
        tables: within("tables/"),
        figures: within("figures/"),
        documents: documents.iter().map(|(name, _)| out.join(name)).collect(),
        kept,
    })
}

/// Puts `files` in the place of an earlier report's and returns what was set aside. While they are being written the
/// manifest names what is there before and after, so that an interrupted report is still known as one.
fn replace(out: &Path, files: &[(String, String)], manifest: &Manifest) -> Result<Vec<PathBuf>, Error> {
    let earlier = Owned::read(out)?;
    let others = earlier.in_the_way(out, files)?;
    if matches!(earlier, Owned::Nothing) && !others.is_empty() {
        return Err(Error::InTheWay { folder: out.to_path_buf(), files: others });
    }
    let kept = others.iter().map(|name| owned::set_aside(&out.join(name))).collect::<Result<_, _>>()?;
    let path = out.join(MANIFEST);
    write_atomic(&path, manifest.text(&earlier.while_replaced(files))?.as_bytes())?;
    for (name, text) in files {
        write_atomic(&out.join(name), text.as_bytes())?;
    }
    earlier.remove_others(out, files)?;
    let digests: Vec<_> = files.iter().map(|(name, text)| (name.clone(), owned::digest_of(text))).collect();
    write_atomic(&path, manifest.text(&digests)?.as_bytes())?;
    Ok(kept)
}
