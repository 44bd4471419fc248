//! The scripts: written into the store, so that everyone can read what was submitted.

use std::fmt::Write as _;
use std::path::Path;

use lrlab_spec::SlurmResources;

use super::{Array, Settings};

/// The script of an array. `folder` is the submission's.
pub(crate) fn array(array: &Array, settings: &Settings, folder: &Path) -> String {
    let resources = &array.resources;
    let throttle = array.throttle.map(|n| format!("%{n}")).unwrap_or_default();
    let mut text = head(&array.name, &folder.join("log").join(format!("{}-%a.txt", array.class)), resources);
    let mut option = |words: String| {
        let _ = writeln!(text, "#SBATCH {words}");
    };
    option(format!("--array=0-{}{throttle}", array.tasks.saturating_sub(1)));
    option(format!("--cpus-per-task={}", resources.cpus));
    for (name, value) in [("gres", &resources.gres), ("mem", &resources.memory)] {
        if let Some(value) = value {
            option(format!("--{name}={value}"));
        }
    }
    option(format!("--time={}", time(resources.time_s)));
    // To the script itself, whose place the worker takes.
    option(format!("--signal=B:USR1@{}", resources.save_before_s));
    option("--requeue".to_owned());
    for words in &resources.extra {
        option(words.clone());
    }
    text.push_str(&body(resources, settings));
    let _ = writeln!(
        text,
        "exec {} grid-worker --submission {} --class {}",
        quoted(&settings.program.display().to_string()),
        quoted(&folder.display().to_string()),
        quoted(&array.class)
    );
    text
}

/// The script of the job that writes the report when the arrays are over.
pub(crate) fn report(name: &str, rest: &SlurmResources, settings: &Settings, folder: &Path) -> String {
    let small = SlurmResources { modules: rest.modules.clone(), setup: rest.setup.clone(), ..rest.clone() };
    let mut text = head(name, &folder.join("log/report.txt"), &small);
    let _ = writeln!(text, "#SBATCH --time=30\n#SBATCH --cpus-per-task=1");
    text.push_str(&body(&small, settings));
    let _ = writeln!(
        text,
        "exec {} grid-report --submission {}",
        quoted(&settings.program.display().to_string()),
        quoted(&folder.display().to_string())
    );
    text
}

fn head(name: &str, log: &Path, resources: &SlurmResources) -> String {
    let mut text = format!(
        "#!/bin/bash\n#SBATCH --job-name={name}\n#SBATCH --output={}\n#SBATCH --open-mode=append\n",
        pattern(&log.display().to_string())
    );
    let options =
        [("partition", &resources.partition), ("account", &resources.account), ("qos", &resources.qos)];
    for (name, value) in options {
        if let Some(value) = value {
            let _ = writeln!(text, "#SBATCH --{name}={value}");
        }
    }
    text
}

fn body(resources: &SlurmResources, settings: &Settings) -> String {
    let mut text = String::from("\n");
    for module in &resources.modules {
        let _ = writeln!(text, "module load {}", quoted(module));
    }
    for line in &resources.setup {
        let _ = writeln!(text, "{line}");
    }
    for (name, value) in &settings.env {
        let _ = writeln!(text, "export {name}={}", quoted(value));
    }
    text
}

/// `1-02:03:04`.
pub(crate) fn time(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    if days > 0 { format!("{days}-{clock}") } else { clock }
}

/// A word for a shell.
#[must_use]
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A file name in an option of sbatch, whose last `%a` is the task's number; every other `%` is one.
fn pattern(path: &str) -> String {
    let (path, task) = path.strip_suffix("-%a.txt").map_or((path, ""), |path| (path, "-%a.txt"));
    let path = path.replace('%', "%%") + task;
    if path.chars().any(char::is_whitespace) { format!("\"{path}\"") } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_times() {
        assert_eq!(quoted("a/b-1.txt"), "a/b-1.txt");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quoted(""), "''");
        assert_eq!(pattern("/a b/50%/default-%a.txt"), "\"/a b/50%%/default-%a.txt\"");
        assert_eq!((time(90), time(93_784)), ("00:01:30".to_owned(), "1-02:03:04".to_owned()));
    }
}
