//! Writing a report: every file whole or not there, equal bytes for equal inputs, nobody else's file touched.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::manifest::{MANIFEST, Manifest};
use crate::owned::{self, Owned};
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
    let (tables, figures) = (Arc::new(tables(report)), figures(report));
    let mut staged = Staged::beside(out)?;
    page::html(report, &tables, &figures, &mut |name, write| staged.add_with(name, write))?;
    staged.add("report.md", &page::markdown(report, &tables, &figures)?)?;
    for it in tables.iter() {
        staged.add(&format!("tables/{}.csv", it.name), &table::csv(it))?;
        if it.fits_latex() {
            staged.add(&format!("tables/{}.tex", it.name), &table::latex(it, &report.experiment))?;
        }
    }
    staged.add("tables/curves.csv", &tables::curves(report))?;
    for (name, text) in documents {
        staged.add(name, text)?;
    }
    let kept = staged.replace(out, &Manifest::of(report, &tables, &figures)?)?;
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
        tables: within("tables/"),
        figures: within("figures/"),
        documents: documents.iter().map(|(name, _)| out.join(name)).collect(),
        kept,
    })
}

/// The files of a report in a folder beside it, before they take their places: one at a time is in memory.
struct Staged {
    folder: tempfile::TempDir,
    /// Names with digests.
    files: Vec<(String, String)>,
}

impl Staged {
    fn beside(out: &Path) -> Result<Self, Error> {
        let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let failed = |source| Error::Io { path: parent.to_path_buf(), source };
        std::fs::create_dir_all(parent).map_err(failed)?;
        let folder = tempfile::Builder::new().prefix(".report-").tempdir_in(parent).map_err(failed)?;
        Ok(Self { folder, files: Vec::new() })
    }

    fn add(&mut self, name: &str, text: &str) -> Result<(), Error> {
        self.add_with(name, &mut |file| file.write_all(text.as_bytes()).map_err(Into::into))
    }

    /// Adds what `write` writes.
    fn add_with(&mut self, name: &str, write: Write<'_>) -> Result<(), Error> {
        let path = self.folder.path().join(name);
        let failed = |source| Error::Io { path: path.clone(), source };
        std::fs::create_dir_all(path.parent().unwrap_or(&path)).map_err(failed)?;
        let file = BufWriter::new(File::create(&path).map_err(failed)?);
        let mut hashed = Hashed { file, hasher: blake3::Hasher::new() };
        write(&mut hashed)?;
        hashed.file.flush().map_err(failed)?;
        self.files.push((name.to_owned(), hashed.hasher.finalize().to_hex().to_string()));
        Ok(())
    }

    /// Puts the files in the place of an earlier report's and returns what was set aside. While they are being moved the
    /// manifest names what is there before and after, so that an interrupted report is still known as one.
    fn replace(&self, out: &Path, manifest: &Manifest) -> Result<Vec<PathBuf>, Error> {
        let earlier = Owned::read(out)?;
        let others = earlier.in_the_way(out, &self.files)?;
        if matches!(earlier, Owned::Nothing) && !others.is_empty() {
            return Err(Error::InTheWay { folder: out.to_path_buf(), files: others });
        }
        let kept = others.iter().map(|name| owned::set_aside(&out.join(name))).collect::<Result<_, _>>()?;
        manifest.write(&out.join(MANIFEST), &earlier.while_replaced(&self.files))?;
        for (name, _) in &self.files {
            let (from, to) = (self.folder.path().join(name), out.join(name));
            let failed = |source| Error::Io { path: to.clone(), source };
            std::fs::create_dir_all(to.parent().unwrap_or(&to)).map_err(failed)?;
            std::fs::rename(&from, &to).map_err(failed)?;
        }
        earlier.remove_others(out, &self.files)?;
        manifest.write(&out.join(MANIFEST), &self.files)?;
        Ok(kept)
    }
}

/// What writes a file.
pub(crate) type Write<'a> = &'a mut dyn FnMut(&mut dyn io::Write) -> Result<(), Error>;

/// A file and the digest of what was written.
struct Hashed {
    file: BufWriter<File>,
    hasher: blake3::Hasher,
}

impl io::Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
