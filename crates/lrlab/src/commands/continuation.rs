//! Starts a run from the state of a shorter run with the same beginning.

use std::path::Path;

use anyhow::Context;
use lrlab_runs::{
    Continued, Fingerprint, PlannedRun, RunId, RunStore, attempt_dir, read_penultimate, write_atomic,
};
use lrlab_spec::RunSpec;
use lrlab_train::State;

use super::launch::planned;
use super::logs::{LOGS, copy_log};
use crate::Registry;
use crate::checkpointer::read_state;
use crate::progress::with_causes;

/// The file below an attempt that names the shorter run, in the format of [`Continued`].
pub(super) const FILE: &str = "continued.json";

/// A run without a checkpoint of its own.
pub(super) struct Longer<'a> {
    pub(super) spec: &'a RunSpec,
    pub(super) planned: &'a PlannedRun,
    /// The folder of its attempt.
    pub(super) attempt: &'a Path,
    pub(super) fingerprint: &'a Fingerprint,
    pub(super) registry: &'a Registry,
}

impl Longer<'_> {
    /// Returns the state of `shorter` before its last update. Returns `None` and reports the reason as a note if the run does
    /// not continue it or the state cannot be read.
    pub(super) fn start(
        &self,
        store: &RunStore,
        shorter: &RunId,
        examples: usize,
        note: &mut dyn FnMut(String),
    ) -> anyhow::Result<Option<State>> {
        let run_dir = store.run_dir(shorter);
        let fingerprint = Fingerprint { run_id: shorter.clone(), ..self.fingerprint.clone() };
        let found = self
            .check(store, shorter, examples)
            .and_then(|()| read_penultimate(&run_dir, &fingerprint))
            .and_then(|checkpoint| Ok((read_state(&checkpoint).map_err(|e| with_causes(&e))?, checkpoint)));
        let (state, checkpoint) = match found {
            Ok(found) => found,
            Err(why) => {
                note(format!("cannot continue {}: {why}; training starts at update 0", shorter.short()));
                return Ok(None);
            }
        };
        let logs = attempt_dir(&run_dir, checkpoint.attempt);
        for name in LOGS {
            copy_log(&logs.join(name), &self.attempt.join(name))?;
        }
        let continued = Continued { run_id: shorter.clone(), updates: state.update(), work: state.work() };
        write_atomic(&self.attempt.join(FILE), &serde_json::to_vec(&continued)?)?;
        note(format!("continues {} from update {}", shorter.short(), state.update()));
        Ok(Some(state))
    }

    /// Checks that the run has the same beginning, which depends on the number of examples; the plan may not know it.
    fn check(&self, store: &RunStore, shorter: &RunId, examples: usize) -> Result<(), String> {
        let planned = planned(store, &store.run_dir(shorter)).map_err(|error| with_causes(&error))?;
        let spec = self.registry.spec(&planned).map_err(|error| with_causes(&error))?;
        if planned.dataset_digest != self.planned.dataset_digest {
            return Err("it was trained on other data".to_owned());
        }
        if !self.spec.continues(&spec, examples) {
            return Err("its first updates differ".to_owned());
        }
        Ok(())
    }
}

/// Returns the shorter run that an attempt, or the attempt that it resumed, continued.
pub(super) fn continued(attempt: &Path) -> anyhow::Result<Option<Continued>> {
    let path = attempt.join(FILE);
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).with_context(|| path.display().to_string())?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}
