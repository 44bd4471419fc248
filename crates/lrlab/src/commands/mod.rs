//! The subcommands, one file each.

use std::io::Write;
use std::path::PathBuf;
use std::sync::OnceLock;

pub(crate) mod bench;
mod card;
mod commit;
mod continuation;
mod dashboard;
pub(crate) mod data;
mod emit;
mod executor;
mod experiment_file;
mod follow;
pub(crate) mod gc;
mod grid;
pub(crate) mod grid_worker;
pub(crate) mod kit;
mod known;
pub(crate) mod launch;
mod lines;
mod local;
mod logs;
pub(crate) mod lr_find;
pub(crate) mod new;
mod on_record;
mod origins;
pub(crate) mod plan;
pub(crate) mod preflight;
pub(crate) mod records;
pub(crate) mod redo;
pub(crate) mod report;
pub(crate) mod resolve;
mod results;
pub(crate) mod run;
pub(crate) mod schedule;
pub(crate) mod schema;
pub(crate) mod search;
pub(crate) mod shell;
pub(crate) mod slurm;
pub(crate) mod status;
mod stored;
pub(crate) mod tensorboard;
pub(crate) mod verify;
pub(crate) mod watch;
pub(crate) mod worker;

/// The first error of writing to standard output.
static WRITE_ERROR: OnceLock<std::io::Error> = OnceLock::new();

/// Writes to standard output. An error does not stop the command, but makes it fail at its end
/// ([`write_error`]). A closed pipe is not an error.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    note_write(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Records the result of writing to standard output.
pub(crate) fn note_write(written: std::io::Result<()>) {
    if let Err(error) = written
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        // The first error counts.
        let _ = WRITE_ERROR.set(error);
    }
}

/// Returns the first error of writing to standard output.
pub(crate) fn write_error() -> Option<&'static std::io::Error> {
    WRITE_ERROR.get()
}

/// Parses the path of an SVG file to write. A path without an extension is accepted.
///
/// # Errors
/// Returns an error if the extension is another one, because that file would not contain what it promises.
fn svg_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension() {
        Some(extension) if !extension.eq_ignore_ascii_case("svg") => Err(format!(
            "plots are written as SVG: expected a name like {}",
            path.with_extension("svg").display()
        )),
        _ => Ok(path),
    }
}

/// Like [`print`], with a line break.
pub(crate) fn print_line(text: &str) {
    print(&format!("{text}\n"));
}
