//! Whether output is coloured, decided once for help, mistakes and logs.

use anstream::{AutoStream, ColorChoice};

/// Whether standard error gets ANSI colours: on a terminal unless `NO_COLOR` is set, and anywhere with
/// `CLICOLOR_FORCE`. Clap follows the same rule for help and mistakes in the command line.
pub(crate) fn on_stderr() -> bool {
    AutoStream::choice(&std::io::stderr()) != ColorChoice::Never
}
