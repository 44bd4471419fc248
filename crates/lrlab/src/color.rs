//! Whether output is coloured: one answer for help, mistakes and logs.

use anstream::{AutoStream, ColorChoice};

/// Whether what goes to standard error has ANSI colours: on a terminal, unless `NO_COLOR` is set, and anywhere with
/// `CLICOLOR_FORCE`. Help and the mistakes of a command line, which clap writes, have them by the same rule.
pub(crate) fn on_stderr() -> bool {
    AutoStream::choice(&std::io::stderr()) != ColorChoice::Never
}
