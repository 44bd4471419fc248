//! One file per subcommand.

pub(crate) mod bench;
pub(crate) mod cluster;
mod commit;
pub(crate) mod data;
pub(crate) mod gc;
pub(crate) mod grid_worker;
pub(crate) mod kit;
pub(crate) mod launch;
pub(crate) mod lr_find;
pub(crate) mod plan;
pub(crate) mod preflight;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod schedule;
pub(crate) mod schema;
pub(crate) mod search;
pub(crate) mod status;
pub(crate) mod watch;
pub(crate) mod worker;

/// Writes to standard output; a reader that went away is no error of ours.
pub(crate) fn say(text: &str) {
    use std::io::Write;
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// As [`say`], with a line break.
pub(crate) fn say_line(text: &str) {
    say(&format!("{text}\n"));
}
