//! Consecutive steps: each is announced, the first failure ends them, and a table shows their seconds.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::workspace::eprint_line;

/// The result of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StepResult {
    /// It passed.
    Passed,
    /// A requirement is missing on this machine.
    Skipped(String),
    /// It failed.
    Failed,
}

/// The steps so far.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    done: Vec<(&'static str, StepResult, Duration)>,
}

impl Steps {
    /// Performs a step. Returns `false` if it failed.
    pub(crate) fn step(
        &mut self,
        name: &'static str,
        what: &str,
        work: impl FnOnce() -> anyhow::Result<StepResult>,
    ) -> anyhow::Result<bool> {
        eprint_line(&format!("\n=== {name}: {what}"));
        let start = Instant::now();
        let result = work().with_context(|| name.to_owned())?;
        if let StepResult::Skipped(why) = &result {
            eprint_line(&format!("skipped: {why}"));
        }
        let passed = result != StepResult::Failed;
        self.done.push((name, result, start.elapsed()));
        Ok(passed)
    }

    /// Returns the steps with their seconds, one per line.
    pub(crate) fn table(&self) -> String {
        let line = |(name, result, time): &(&str, StepResult, Duration)| {
            let result = match result {
                StepResult::Passed => "passed".to_owned(),
                StepResult::Skipped(why) => format!("skipped: {why}"),
                StepResult::Failed => "FAILED".to_owned(),
            };
            format!("{name:<14}{:>8.1} s  {result}", time.as_secs_f64())
        };
        self.done.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// Returns the step that failed, if one did.
    pub(crate) fn failed(&self) -> Option<&'static str> {
        self.done.iter().find(|(_, result, _)| *result == StepResult::Failed).map(|(name, ..)| *name)
    }
}

/// Runs each of `commands` until one fails.
pub(crate) fn all(commands: impl IntoIterator<Item = Command>) -> anyhow::Result<StepResult> {
    for mut command in commands {
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        let program = Path::new(command.get_program()).file_name().unwrap_or_default().display().to_string();
        eprint_line(&format!("+ {program} {}", words.join(" ")));
        if !command.status().context(program)?.success() {
            return Ok(StepResult::Failed);
        }
    }
    Ok(StepResult::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_the_failed_step() {
        let mut steps = Steps::default();
        assert!(steps.step("one", "", || Ok(StepResult::Passed)).unwrap());
        assert!(steps.step("two", "", || Ok(StepResult::Skipped("no tool".to_owned()))).unwrap());
        assert_eq!(steps.failed(), None);
        assert!(!steps.step("three", "", || Ok(StepResult::Failed)).unwrap());
        assert_eq!(steps.failed(), Some("three"));
        let table = steps.table();
        let lines: Vec<_> = table.lines().collect();
        assert!(lines[0].starts_with("one") && lines[0].ends_with("passed"), "{table}");
        assert!(lines[1].ends_with("skipped: no tool") && lines[2].ends_with("FAILED"), "{table}");
    }
}
