//! `lrlab completions` and `lrlab man`: shell completions and man pages.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Command};
use clap_complete::Shell;

use super::{note_write, print_line};
use crate::Exit;
use crate::program::program;

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the completions for a shell.
pub(crate) fn completions(args: &CompletionsArgs, mut command: Command) -> Exit {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, program(), &mut text);
    note_write(std::io::Write::write_all(&mut std::io::stdout().lock(), &text));
    Exit::Done
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The folder to write to, such as `~/.local/share/man/man1`.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

/// Writes a man page for the program and one for each subcommand.
pub(crate) fn man(args: &ManArgs, command: Command) -> anyhow::Result<Exit> {
    let folder = args.to.display().to_string();
    std::fs::create_dir_all(&args.to).with_context(|| folder.clone())?;
    clap_mangen::generate_to(command, &args.to).with_context(|| folder.clone())?;
    print_line(&format!("{folder}: man pages written"));
    Ok(Exit::Done)
}
