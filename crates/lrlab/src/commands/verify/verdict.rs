//! The verdicts on verified runs, and their description.

use std::fmt::Write as _;

use lrlab_runs::{Difference, Outcome, RunResult, RunStore};
use serde_json::Value;

use super::selection::Recorded;
use crate::Exit;
use crate::progress::label;

/// The verdict on a redone run.
pub(super) enum Verdict {
    Identical,
    /// The redone run differs from the recorded one.
    Differs(Box<Differing>),
    Failed(String),
    /// The run was not redone, for this reason.
    Refused(String),
    /// The run was interrupted, or stopped because others failed.
    Missing,
}

/// Two results of one run that differ.
pub(super) struct Differing {
    recorded: RunResult,
    here: RunResult,
    /// The first difference.
    first: Difference,
}

impl Verdict {
    /// Compares a recorded result with that of the redone run in `store`.
    pub(super) fn compare(recorded: &RunResult, store: &RunStore) -> anyhow::Result<Self> {
        let id = &recorded.run_id;
        // A run that a search pruned pauses at its rung, unless it ends before.
        let paused = if recorded.outcome == Outcome::Pruned { store.paused(id)? } else { None };
        let here = match paused {
            Some(paused) => Some(paused),
            None => store.result(id)?,
        };
        let Some(here) = here else { return Ok(Self::Missing) };
        Ok(match recorded.difference(&here) {
            None => Self::Identical,
            Some(first) => Self::Differs(Box::new(Differing { recorded: recorded.clone(), here, first })),
        })
    }

    /// `1f2e3d4c  resnet / … / seed 0  identical`.
    pub(super) fn line(&self, recorded: &Recorded) -> String {
        let words = match self {
            Self::Identical => "identical".to_owned(),
            Self::Differs(found) => {
                let (place, origin) = (found.place(), found.provenance());
                format!("differs at {place}\n          {origin}")
            }
            Self::Failed(why) => format!("failed: {why}"),
            Self::Refused(why) => format!("cannot be verified: {why}"),
            Self::Missing => "not redone".to_owned(),
        };
        let id = recorded.run_id.short();
        if recorded.cell.is_empty() {
            return format!("{id}  {words}");
        }
        format!("{id}  {}  {words}", label(&recorded.cell))
    }
}

impl Differing {
    /// `epoch 2, val_loss: 0.5 on record, 0.25 here`.
    fn place(&self) -> String {
        let Self { recorded, first: Difference { place, first, other }, .. } = self;
        let inside = |list: &str| -> Option<(usize, String)> {
            let (index, field) = place.strip_prefix(list)?.strip_prefix('[')?.split_once(']')?;
            let field = field.strip_prefix('.').map(|field| format!(", {field}")).unwrap_or_default();
            Some((index.parse().ok()?, field))
        };
        let place = if let Some((index, field)) = inside("history") {
            let epoch = recorded.history.get(index).map_or(index as u64 + 1, |epoch| epoch.epoch);
            format!("epoch {epoch}{field}")
        } else if let Some((index, field)) = inside("decisions") {
            let after = recorded.decisions.get(index);
            let after = after.map(|made| format!(" (epoch {}, update {})", made.epoch, made.update));
            format!("decision {}{}{field}", index + 1, after.unwrap_or_default())
        } else {
            place.replacen('.', ", ", 1)
        };
        match (first, other) {
            (Value::Object(_), Value::Null) => format!("{place}: on record, not here"),
            (Value::Null, Value::Object(_)) => format!("{place}: here, not on record"),
            _ => format!("{place}: {first} on record, {other} here"),
        }
    }

    /// Describes differences in build, machine and data.
    fn provenance(&self) -> String {
        let Self { recorded, here, .. } = self;
        let differences = recorded
            .provenance_differences(here)
            .into_iter()
            .filter(|found| !found.place.starts_with("dataset_notes"));
        let differences: Vec<String> = differences
            .map(|found| format!("{} {} on record, {} here", found.place, found.first, found.other))
            .collect();
        if differences.is_empty() {
            return "build, machine and data are the same".to_owned();
        }
        differences.join("; ")
    }
}

pub(super) fn summary(verdicts: &[Verdict]) -> String {
    let count = |which: fn(&Verdict) -> bool| verdicts.iter().filter(|verdict| which(verdict)).count();
    let mut text = format!(
        "{} of {} runs are identical",
        count(|verdict| matches!(verdict, Verdict::Identical)),
        verdicts.len()
    );
    let differing = count(|verdict| matches!(verdict, Verdict::Differs(_)));
    for (n, words) in [
        (differing, if differing == 1 { "differs" } else { "differ" }),
        (count(|verdict| matches!(verdict, Verdict::Failed(_))), "failed"),
        (count(|verdict| matches!(verdict, Verdict::Refused(_))), "cannot be verified"),
        (count(|verdict| matches!(verdict, Verdict::Missing)), "not redone"),
    ] {
        if n > 0 {
            let _ = write!(text, ", {n} {words}");
        }
    }
    text
}

/// A difference takes precedence over a failure, and a failure over a run that could not be verified.
pub(super) fn exit(verdicts: &[Verdict]) -> Exit {
    let any = |which: fn(&Verdict) -> bool| verdicts.iter().any(which);
    if any(|verdict| matches!(verdict, Verdict::Differs(_))) {
        Exit::Differs
    } else if any(|verdict| matches!(verdict, Verdict::Failed(_) | Verdict::Missing)) {
        Exit::SomeFailed
    } else if any(|verdict| matches!(verdict, Verdict::Refused(_))) {
        Exit::BadInput
    } else {
        Exit::Done
    }
}
