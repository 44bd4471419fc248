//! Batch scripts, which are kept in the store for inspection.

use std::fmt::Write as _;
use std::path::Path;

use lrlab_spec::SlurmResources;

use super::SlurmError;
use super::submission::{Array, Settings};
use crate::owner::{JOB, RESTARTS};

/// Returns the script of an array; `folder` is the submission's.
pub(crate) fn array(array: &Array, settings: &Settings, folder: &Path) -> String {
    let throttle = array.throttle.map(|n| format!("%{n}")).unwrap_or_default();
    let options = [
        format!("--array=0-{}{throttle}", array.tasks.saturating_sub(1)),
        // The signal goes to the script itself, which `exec` replaces by the worker.
        format!("--signal=B:USR1@{}", array.resources.save_before_s),
        "--requeue".to_owned(),
    ];
    let job = Job {
        name: &array.name,
        log: &folder.join("log").join(&array.class),
        log_suffix: "-%a.txt",
        resources: &array.resources,
        options: &options,
        id: "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}",
    };
    let command = ["grid-worker", "--submission", &folder.display().to_string(), "--class", &array.class];
    job.script(settings, &command)
}

/// Returns the script of the job that writes the report after the arrays.
pub(crate) fn report(name: &str, settings: &Settings, folder: &Path) -> String {
    let job = Job {
        name,
        log: &folder.join("log/report"),
        log_suffix: ".txt",
        resources: &settings.profile.report,
        options: &[],
        id: "$SLURM_JOB_ID",
    };
    job.script(settings, &["grid-report", "--submission", &folder.display().to_string()])
}

struct Job<'a> {
    name: &'a str,
    /// The log without `log_suffix`.
    log: &'a Path,
    /// The end of the log's name, which may contain Slurm's `%a`, the task's index.
    log_suffix: &'a str,
    resources: &'a SlurmResources,
    /// Further options of `sbatch`.
    options: &'a [String],
    /// The job's own id, as the shell expands it.
    id: &'a str,
}

impl Job<'_> {
    /// Returns the script that runs `command` of the frozen runner.
    fn script(&self, settings: &Settings, command: &[&str]) -> String {
        let SlurmResources { partition, account, qos, gres, memory, time_s, cpus, extra, .. } =
            self.resources;
        let mut text = String::from("#!/bin/bash\n");
        let mut option = |words: &str| {
            let _ = writeln!(text, "#SBATCH {words}");
        };
        option(&format!("--job-name={}", self.name));
        option(&format!("--output={}{}", file_pattern(&self.log.display().to_string()), self.log_suffix));
        option("--open-mode=append");
        let words =
            [("partition", partition), ("account", account), ("qos", qos), ("gres", gres), ("mem", memory)];
        for (name, value) in words {
            if let Some(value) = value {
                option(&format!("--{name}={value}"));
            }
        }
        option(&format!("--time={}", time(*time_s)));
        option(&format!("--cpus-per-task={cpus}"));
        self.options.iter().chain(extra).for_each(|words| option(words));
        text.push('\n');
        text.push_str(&body(self.resources, settings));
        // Owners are named by these variables. Slurm's own may be inherited from the job in which a script is
        // submitted by hand.
        let _ = writeln!(text, "export {JOB}=\"{}\" {RESTARTS}=\"${{SLURM_RESTART_COUNT:-0}}\"", self.id);
        let program = settings.program.display().to_string();
        let words: Vec<String> =
            [program.as_str()].iter().chain(command).map(|word| shell_word(word)).collect();
        let _ = writeln!(text, "exec {}", words.join(" "));
        text
    }
}

fn body(resources: &SlurmResources, settings: &Settings) -> String {
    let mut text = String::new();
    // The setup lines of the profile may override these.
    for (name, value) in &settings.env {
        let _ = writeln!(text, "export {name}={}", shell_word(value));
    }
    for module in &resources.modules {
        let _ = writeln!(text, "module load {}", shell_word(module));
    }
    for line in &resources.setup {
        let _ = writeln!(text, "{line}");
    }
    text
}

/// `1-02:03:04`.
pub(crate) fn time(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    if days > 0 { format!("{days}-{clock}") } else { clock }
}

/// Quotes `word` for a shell if necessary. Quoting fails only on NUL, which paths and variables cannot contain.
fn shell_word(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| String::new(), std::borrow::Cow::into_owned)
}

/// Escapes a path for `--output`, where `%` starts a pattern, and `sbatch` splits at spaces and removes quotes.
/// [`check_path`] rejects paths that cannot be escaped.
fn file_pattern(path: &str) -> String {
    format!("\"{}\"", path.replace('%', "%%").replace('"', "\\\""))
}

/// Checks that jobs can write logs below `path`.
///
/// # Errors
/// [`SlurmError::Path`] if it contains a control character, which a line of a script cannot contain, or a backslash, at
/// which Slurm stops replacing patterns.
pub(crate) fn check_path(path: &Path) -> Result<(), SlurmError> {
    match path.to_str().and_then(|text| text.chars().find(|c| c.is_control() || *c == '\\')) {
        Some(character) => Err(SlurmError::Path { path: path.to_path_buf(), character }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_times() {
        assert_eq!(file_pattern(r#"/a b/50%/it's "all" #1"#), r#""/a b/50%%/it's \"all\" #1""#);
        for (name, character) in [("a\nb", '\n'), ("a\\b", '\\'), ("a\u{7}", '\u{7}')] {
            let refused = check_path(&Path::new("/out").join(name)).unwrap_err();
            assert!(
                matches!(&refused, SlurmError::Path { character: c, .. } if *c == character),
                "{refused}"
            );
        }
        assert!(check_path(Path::new("/a \"b\"/c'd/50%/ü")).is_ok());
        assert_eq!((time(90), time(93_784)), ("00:01:30".to_owned(), "1-02:03:04".to_owned()));
    }
}
