//! The runner's command line, made from that of `cargo xtask`. `lrlab-options` declares the options, so that mistakes are
//! found before anything is built.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use lrlab_options::STORE;

use crate::workspace::{in_root, root};

/// The options of a command of the runner.
#[derive(Debug, Args)]
#[command(after_help = "The default experiment and store are in the workspace's folder.")]
pub(crate) struct OfRunner<T: Args> {
    /// A user-built runner binary with additional models or data sets
    #[arg(long, value_name = "PATH")]
    pub(crate) runner: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) options: T,
}

/// Returns the runner's command line: its command `verb` with the options that were given. The defaults of the store and of
/// the `experiment`, if the command needs one, are in the workspace.
pub(crate) fn arguments(
    verb: &str,
    declared: &clap::Command,
    given: &ArgMatches,
    experiment: Option<&str>,
) -> anyhow::Result<Vec<OsString>> {
    let mut arguments = vec![verb.into()];
    for argument in declared.get_arguments().filter(|argument| argument.get_id() != "runner") {
        let id = argument.get_id().as_str();
        let is_given = given.value_source(id) == Some(ValueSource::CommandLine);
        let values = || given.get_raw(id).into_iter().flatten();
        match argument.get_long() {
            None if is_given => {
                for path in values() {
                    arguments.push(find_experiment(Path::new(path))?.into());
                }
            }
            None if id == "experiment" => {
                arguments.extend(experiment.map(in_root).transpose()?.map(Into::into));
            }
            Some("out") if !is_given => push(&mut arguments, "out", in_root(STORE)?),
            Some(name) if is_given && argument.get_action().takes_values() => {
                values().for_each(|value| push(&mut arguments, name, value));
            }
            Some(name) if is_given => arguments.push(format!("--{name}").into()),
            _ => {}
        }
    }
    Ok(arguments)
}

/// Looks for an experiment in the current folder, then in the workspace's root.
fn find_experiment(given: &Path) -> anyhow::Result<PathBuf> {
    if given.is_file() {
        return Ok(given.to_path_buf());
    }
    let there = root()?.join(given);
    if there.is_file() {
        return Ok(there);
    }
    bail!("there is no experiment file {}", given.display())
}

/// Adds an option with its value.
pub(crate) fn push(arguments: &mut Vec<OsString>, name: &str, value: impl Into<OsString>) {
    // As one argument, so that a value that begins with a dash is not an option.
    let mut word = OsString::from(format!("--{name}="));
    word.push(value.into());
    arguments.push(word);
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use lrlab_options::{GcArgs, QUICKSTART, ReportArgs, RunArgs, VerifyArgs};

    use super::*;

    #[derive(Debug, clap::Parser)]
    enum Verb {
        Run(OfRunner<RunArgs>),
        Report(OfRunner<ReportArgs>),
        Gc(OfRunner<GcArgs>),
        Verify(OfRunner<VerifyArgs>),
    }

    fn forwarded(words: &[&str], experiment: Option<&str>) -> Vec<String> {
        let command = Verb::command();
        let matches = command.clone().try_get_matches_from([&["x"], words].concat()).unwrap();
        let (verb, given) = matches.subcommand().unwrap();
        let arguments = arguments(verb, command.find_subcommand(verb).unwrap(), given, experiment).unwrap();
        arguments.into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    /// Values and flags of every option, as the runner's command line repeats them.
    fn every_option(command: &clap::Command) -> Vec<String> {
        let mut words = Vec::new();
        for argument in command.get_arguments() {
            let Some(name) = argument.get_long().filter(|name| *name != "runner") else { continue };
            if !argument.get_action().takes_values() {
                words.push(format!("--{name}"));
                continue;
            }
            let values = argument.get_possible_values();
            let value = match (name, values.first()) {
                ("device", _) => "cuda:1",
                ("checkpoint-every", _) => "5 seconds",
                (_, Some(value)) => value.get_name(),
                _ => "7",
            };
            words.push(format!("--{name}={value}"));
        }
        words
    }

    #[test]
    fn every_option_reaches_the_runner() {
        let conflicting = ["--no-records", "--emit=commands", "--accept-numerics", "--fail-fast"];
        for verb in ["run", "report", "gc", "verify"] {
            let every = every_option(Verb::command().find_subcommand(verb).unwrap());
            assert!(every.len() > 5, "{verb}: {every:?}");
            let (some, others): (Vec<_>, Vec<_>) =
                every.iter().map(String::as_str).partition(|word| !conflicting.contains(word));
            for words in [some].into_iter().chain(others.into_iter().map(|word| vec!["--out=7", word])) {
                let found = forwarded(&[&[verb], &words[..]].concat(), None);
                let sorted = |words: &[&str]| {
                    let mut words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
                    words.sort();
                    words
                };
                let found: Vec<&str> = found.iter().map(String::as_str).collect();
                assert_eq!((found[0], sorted(&found[1..])), (verb, sorted(&words)));
            }
        }
    }

    #[test]
    fn values_are_passed_on_as_they_are() {
        let words =
            "run Cargo.toml --out=o --set lr=-0.1 --set epochs=2 --filter model=lstm --jobs 3 --runner here";
        assert_eq!(
            forwarded(&words.split(' ').collect::<Vec<_>>(), Some(QUICKSTART)),
            [
                "run",
                "Cargo.toml",
                "--out=o",
                "--set=lr=-0.1",
                "--set=epochs=2",
                "--filter=model=lstm",
                "--jobs=3"
            ]
        );
        assert_eq!(
            forwarded(&["report", "Cargo.toml", "src/main.rs", "--out=o", "--check"], Some(QUICKSTART)),
            ["report", "Cargo.toml", "--out=o", "src/main.rs", "--check"]
        );
    }

    #[test]
    fn defaults_are_in_the_workspace() {
        // Tests run in the package's folder, which is not the workspace's root.
        let root = root().unwrap();
        let store = format!("--out={}", root.join(STORE).display());
        let quickstart = root.join(QUICKSTART).display().to_string();
        assert_eq!(
            forwarded(&["run", "--keep-going"], Some(QUICKSTART)),
            ["run", &quickstart, &store, "--keep-going"]
        );
        assert_eq!(forwarded(&["gc"], None), ["gc", &store]);
        assert_eq!(find_experiment("rustfmt.toml".as_ref()).unwrap(), root.join("rustfmt.toml"));
        let missing = find_experiment("none.toml".as_ref()).unwrap_err();
        assert_eq!(missing.to_string(), "there is no experiment file none.toml");
    }
}
