//! Estimates the time and memory of runs from the results of similar ones.

use std::collections::BTreeMap;

use lrlab_runs::{Continued, PlannedRun, RunStore, Updates};
use serde::{Deserialize, Serialize};

/// The number of results of a class that are read before the first run starts.
const SAMPLES: usize = 4;

/// Seconds per epoch by class of runs: same network, same data, same batches.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Costs {
    classes: BTreeMap<String, Measured>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Measured {
    /// The number of measured runs; 0 for an assumption, which the first measurement replaces.
    runs: usize,
    seconds: f64,
    epochs: f64,
    /// The maximum device memory among them.
    device_mib: Option<u64>,
}

/// An estimate of the remaining work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Estimate {
    /// The runs that are not done.
    pub runs: usize,
    /// The runs among them whose class has not been measured. They are estimated by the mean of the others.
    pub unknown: usize,
    /// The seconds of all runs together; `None` if nothing has been measured.
    pub seconds: Option<f64>,
    /// The seconds until the last run ends.
    pub wall_s: Option<f64>,
}

impl Costs {
    /// Measures the results in the store: a few of each class.
    #[must_use]
    pub fn measured(store: &RunStore, runs: &[PlannedRun]) -> Self {
        let mut costs = Self::default();
        for run in runs {
            if costs.classes.get(&class(run)).is_none_or(|m| m.runs < SAMPLES) {
                costs.add(store, run);
            }
        }
        costs
    }

    /// Adds the measurement of `run` if it is done. An unreadable result is ignored.
    pub fn add(&mut self, store: &RunStore, run: &PlannedRun) {
        let Ok(Some(bytes)) = store.result_bytes(&run.run_id) else { return };
        let Ok(result) = serde_json::from_slice::<Clocks>(&bytes) else { return };
        let Span { started, finished, elapsed_s, device_peak_mib } = result.timing;
        // An interrupted run also spent time between its attempts.
        let seconds = if elapsed_s > 0.0 { elapsed_s } else { finished - started };
        let epochs = result.history.len() as f64 - result.continued_epochs();
        if seconds > 0.0 && epochs > 0.0 {
            let measured = self.classes.entry(class(run)).or_default();
            if measured.runs == 0 {
                *measured = Measured::default();
            }
            measured.runs += 1;
            measured.seconds += seconds;
            measured.epochs += epochs;
            measured.device_mib = measured.device_mib.max(device_peak_mib);
        }
    }

    /// Assumes this many seconds per epoch for the class of `run` until one of its runs is measured.
    pub fn assume(&mut self, run: &PlannedRun, epoch_s: f64) {
        let guess = Measured { seconds: epoch_s, epochs: 1.0, ..Measured::default() };
        self.classes.entry(class(run)).or_insert(guess);
    }

    /// Returns the expected seconds of `run`; `None` if its class has not been measured.
    #[must_use]
    pub fn seconds(&self, run: &PlannedRun) -> Option<f64> {
        self.of_class(&class(run), epochs(run))
    }

    /// Returns the expected seconds of one epoch of `run`; `None` if its class has not been measured.
    #[must_use]
    pub fn epoch_s(&self, run: &PlannedRun) -> Option<f64> {
        self.of_class(&class(run), 1.0)
    }

    /// Returns the expected seconds of `run` after `done` of its epochs; `None` if its class has not been measured.
    #[must_use]
    pub fn left_s(&self, run: &PlannedRun, done: u64) -> Option<f64> {
        self.of_class(&class(run), (epochs(run) - done as f64).max(0.0))
    }

    /// Returns the maximum device memory in MiB among runs of the class of `run`; `None` if it has not been measured.
    #[must_use]
    pub fn device_mib(&self, run: &PlannedRun) -> Option<u64> {
        self.classes.get(&class(run))?.device_mib
    }

    pub(crate) fn of_class(&self, class: &str, epochs: f64) -> Option<f64> {
        self.classes.get(class).map(|m| m.seconds / m.epochs * epochs)
    }

    /// Estimates `runs` with `jobs` of them at once.
    #[must_use]
    pub fn estimate<'a>(&self, runs: impl IntoIterator<Item = &'a PlannedRun>, jobs: usize) -> Estimate {
        self.sum(runs.into_iter().map(|run| self.seconds(run)), jobs)
    }

    /// Estimates runs of the given seconds with `jobs` of them at once. `None` is a run without a measurement.
    #[must_use]
    pub fn sum(&self, seconds: impl Iterator<Item = Option<f64>>, jobs: usize) -> Estimate {
        let (mut runs, mut unknown, mut known, mut longest) = (0, 0, 0.0, 0.0_f64);
        for seconds in seconds {
            runs += 1;
            match seconds {
                Some(s) => (known, longest) = (known + s, longest.max(s)),
                None => unknown += 1,
            }
        }
        let mean = match runs - unknown {
            0 => self.mean_run(),
            n => Some(known / n as f64),
        };
        let seconds = if unknown == 0 { Some(known) } else { mean.map(|mean| known + mean * unknown as f64) };
        let wall_s = seconds.map(|s| (s / jobs.max(1) as f64).max(longest));
        Estimate { runs, unknown, seconds, wall_s }
    }

    fn mean_run(&self) -> Option<f64> {
        let (runs, seconds) = self.classes.values().fold((0, 0.0), |(n, s), m| (n + m.runs, s + m.seconds));
        (runs > 0).then(|| seconds / runs as f64)
    }
}

/// Returns the parts of a specification that determine the cost of an epoch.
pub(crate) fn class(run: &PlannedRun) -> String {
    let parts = ["model", "data", "batch_size", "accumulate"].map(|key| run.spec.get(key));
    serde_json::to_string(&parts).unwrap_or_default()
}

/// Returns the maximum number of epochs of a run.
pub(crate) fn epochs(run: &PlannedRun) -> f64 {
    run.spec.get("epochs").and_then(serde_json::Value::as_f64).unwrap_or(1.0)
}

#[derive(Deserialize)]
struct Clocks {
    history: Vec<serde::de::IgnoredAny>,
    timing: Span,
    updates: Option<Updates>,
    #[serde(default)]
    provenance: Origin,
}

impl Clocks {
    /// Returns the epochs of the shorter run that the run continued, which the times do not include.
    fn continued_epochs(&self) -> f64 {
        let continued = self.provenance.continued.as_ref().zip(self.updates);
        continued
            .map_or(0.0, |(continued, updates)| continued.updates as f64 / updates.per_epoch.max(1) as f64)
    }
}

#[derive(Default, Deserialize)]
struct Origin {
    #[serde(default)]
    continued: Option<Continued>,
}

#[derive(Deserialize)]
struct Span {
    started: f64,
    finished: f64,
    #[serde(default)]
    elapsed_s: f64,
    #[serde(default)]
    device_peak_mib: Option<u64>,
}

#[cfg(test)]
mod tests {
    use lrlab_runs::RunId;
    use serde_json::json;

    use super::*;

    fn run(model: &str, epochs: u64) -> PlannedRun {
        let spec = json!({ "model": model, "epochs": epochs });
        let run_id = RunId::of(&spec.to_string(), "");
        PlannedRun { run_id, cell: [].into(), spec: spec.into(), dataset_digest: String::new() }
    }

    #[test]
    fn device_memory_is_the_maximum_of_a_class() {
        let folder = tempfile::tempdir().unwrap();
        let store = RunStore::new(folder.path());
        let runs = [run("a", 1), run("a", 2), run("a", 3), run("b", 1)];
        // The second result was written by a version that did not measure memory.
        for (run, peak) in runs.iter().zip([json!(700), json!(null), json!(900)]) {
            let dir = store.run_dir(&run.run_id);
            std::fs::create_dir_all(&dir).unwrap();
            let mut timing = json!({ "started": 1.0, "finished": 2.0, "device_peak_mib": peak });
            if peak.is_null() {
                timing.as_object_mut().unwrap().remove("device_peak_mib");
            }
            let result = json!({ "history": [{}], "timing": timing });
            std::fs::write(dir.join("result.json"), result.to_string()).unwrap();
        }
        let costs = Costs::measured(&store, &runs);
        assert_eq!(runs.each_ref().map(|run| costs.device_mib(run)), [Some(900), Some(900), Some(900), None]);
    }

    #[test]
    fn finished_runs_determine_estimates() {
        let folder = tempfile::tempdir().unwrap();
        let store = RunStore::new(folder.path());
        let runs = [run("a", 2), run("a", 10), run("b", 3)];
        let before = Costs::measured(&store, &runs);
        assert_eq!(before.estimate(&runs, 2), Estimate { runs: 3, unknown: 3, seconds: None, wall_s: None });
        assert_eq!(before.estimate(&[], 2).seconds, Some(0.0));

        let done = store.run_dir(&runs[0].run_id);
        std::fs::create_dir_all(&done).unwrap();
        let result =
            json!({ "history": [{}, {}], "timing": { "started": 100.0, "finished": 108.0 }, "more": [1] });
        std::fs::write(done.join("result.json"), result.to_string()).unwrap();
        let costs = Costs::measured(&store, &runs);
        assert_eq!(costs.seconds(&runs[1]), Some(40.0));
        assert_eq!(costs.seconds(&runs[2]), None);
        // The run without a measurement is estimated by the mean of the others.
        let estimate = costs.estimate(&runs[1..], 4);
        assert_eq!(estimate, Estimate { runs: 2, unknown: 1, seconds: Some(80.0), wall_s: Some(40.0) });
        assert_eq!(costs.estimate(&runs[2..], 1).wall_s, Some(8.0));

        // An assumption is used until a run is measured.
        let mut guessed = before;
        guessed.assume(&runs[0], 9.0);
        guessed.assume(&runs[2], 1.0);
        assert_eq!((guessed.seconds(&runs[1]), guessed.seconds(&runs[2])), (Some(90.0), Some(3.0)));
        guessed.add(&store, &runs[0]);
        assert_eq!(guessed.seconds(&runs[1]), Some(40.0));
    }
}
