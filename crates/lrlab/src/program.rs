//! The name of the running program, which may be a runner with parts of its own.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::LazyLock;

/// Returns the file name with which this program was called, for messages that name commands.
pub(crate) fn program() -> &'static str {
    static NAME: LazyLock<String> = LazyLock::new(|| {
        let called = PathBuf::from(std::env::args_os().next().unwrap_or_default());
        // A process that this program starts is called by a link.
        let called =
            if called.starts_with("/proc") { std::env::current_exe().unwrap_or_default() } else { called };
        let name = called.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let name = name.strip_suffix(std::env::consts::EXE_SUFFIX).unwrap_or(name);
        if name.is_empty() { "lrlab".to_owned() } else { name.to_owned() }
    });
    &NAME
}
