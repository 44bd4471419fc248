//! Steps that follow one another: each announced, the first failure ends them, and a table of seconds at the end.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::workspace::tell;

/// What a step came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Came {
    /// As it should.
    Passed,
    /// Something it needs is not here.
    Skipped(String),
    /// It found a mistake.
    Failed,
}

/// The steps so far.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    done: Vec<(&'static str, Came, Duration)>,
}

impl Steps {
    /// Does one step; `false` where it failed.
    pub(crate) fn step(
        &mut self,
        name: &'static str,
        what: &str,
        work: impl FnOnce() -> anyhow::Result<Came>,
    ) -> anyhow::Result<bool> {
        tell(&format!("\n=== {name}: {what}"));
        let start = Instant::now();
        let came = work().with_context(|| name.to_owned())?;
        if let Came::Skipped(why) = &came {
            tell(&format!("skipped: {why}"));
        }
        let passed = came != Came::Failed;
        self.done.push((name, came, start.elapsed()));
        Ok(passed)
    }

    /// The steps with their seconds, one a line.
    pub(crate) fn table(&self) -> String {
        let line = |(name, came, time): &(&str, Came, Duration)| {
            let came = match came {
                Came::Passed => "passed".to_owned(),
                Came::Skipped(why) => format!("skipped: {why}"),
                Came::Failed => "FAILED".to_owned(),
            };
            format!("{name:<14}{:>8.1} s  {came}", time.as_secs_f64())
        };
        self.done.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The step that failed, if one did.
    pub(crate) fn failed(&self) -> Option<&'static str> {
        self.done.iter().find(|(_, came, _)| *came == Came::Failed).map(|(name, ..)| *name)
    }
}

/// Runs each of `commands` until one fails.
pub(crate) fn all(commands: impl IntoIterator<Item = Command>) -> anyhow::Result<Came> {
    for mut command in commands {
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        tell(&format!("+ cargo {}", words.join(" ")));
        if !command.status().context("cargo")?.success() {
            return Ok(Came::Failed);
        }
    }
    Ok(Came::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_named() {
        let mut steps = Steps::default();
        assert!(steps.step("one", "", || Ok(Came::Passed)).unwrap());
        assert!(steps.step("two", "", || Ok(Came::Skipped("no tool".to_owned()))).unwrap());
        assert_eq!(steps.failed(), None);
        assert!(!steps.step("three", "", || Ok(Came::Failed)).unwrap());
        assert_eq!(steps.failed(), Some("three"));
        let table = steps.table();
        let lines: Vec<_> = table.lines().collect();
        assert!(lines[0].starts_with("one") && lines[0].ends_with("passed"), "{table}");
        assert!(lines[1].ends_with("skipped: no tool") && lines[2].ends_with("FAILED"), "{table}");
    }
}
