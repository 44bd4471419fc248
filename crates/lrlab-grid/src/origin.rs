//! The builds and machines that produced the results of a grid. Mixed origins are always reported.

use std::collections::BTreeMap;

use lrlab_runs::{PlannedRun, Provenance, RunId, RunStore, create_numbered};
use serde::Deserialize;

use crate::attempt::newest;
use crate::{Attempt, Error, read_paused, read_result};

/// The origin of a result: the build and the numerics class, which can affect the result.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default)]
pub struct Origin {
    /// The identity of the program.
    pub build: Option<String>,
    /// The commit of its source.
    pub commit: Option<String>,
    /// Whether the source differed from the commit.
    pub dirty: Option<bool>,
    /// The class within which equal specifications give equal bits.
    pub numerics: String,
}

impl From<&Provenance> for Origin {
    fn from(provenance: &Provenance) -> Self {
        Self {
            build: provenance.build.clone(),
            commit: provenance.commit.clone(),
            dirty: provenance.dirty,
            numerics: provenance.numerics.clone(),
        }
    }
}

impl Origin {
    /// Describes the build: `build 1f2e… (commit 3d4c…, with uncommitted changes)`.
    #[must_use]
    pub fn describe_build(&self) -> String {
        let commit = self.commit.as_ref().map(|commit| {
            let changes = if self.dirty == Some(true) { ", with uncommitted changes" } else { "" };
            format!("commit {}{changes}", commit.get(..12).unwrap_or(commit))
        });
        match (&self.build, commit) {
            (Some(build), Some(commit)) => format!("build {build} ({commit})"),
            (Some(build), None) => format!("build {build}"),
            (None, Some(commit)) => commit,
            (None, None) => "an unknown build".to_owned(),
        }
    }
}

/// The runs with a result, by the origin of the result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(pub BTreeMap<Origin, Vec<RunId>>);

impl Origins {
    /// Returns the results of another numerics class than `class`, and those of the same class but another build than
    /// `build`.
    #[must_use]
    pub fn others(&self, build: &str, class: &str) -> (Self, Self) {
        let others = self
            .0
            .iter()
            .filter(|(origin, _)| origin.numerics != class || origin.build.as_deref() != Some(build));
        let (builds, classes): (Vec<_>, Vec<_>) = others.partition(|(origin, _)| origin.numerics == class);
        let collect = |list: Vec<(&Origin, &Vec<RunId>)>| {
            Self(list.into_iter().map(|(origin, runs)| (origin.clone(), runs.clone())).collect())
        };
        (collect(classes), collect(builds))
    }

    /// Returns the number of results.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Returns whether there is no result.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns warnings about results of several builds or several numerics classes.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let count = |words: fn(&Origin) -> String| {
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            for (origin, runs) in &self.0 {
                *counts.entry(words(origin)).or_default() += runs.len();
            }
            counts
        };
        let warning = |what: &str, counts: BTreeMap<String, usize>| {
            let each: Vec<_> = counts.iter().map(|(words, n)| format!("{n} of {words}")).collect();
            (counts.len() > 1)
                .then(|| format!("the results come from {} {what}: {}", counts.len(), each.join("; ")))
        };
        [
            warning("builds", count(Origin::describe_build)),
            warning("numerics classes", count(|o| o.numerics.clone())),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Returns the origins of the results of `runs`. The state of a run that a search paused counts as a result.
///
/// # Errors
/// Returns an error if a paused state cannot be read. Results that are damaged or cannot be read are ignored.
pub fn origins(store: &RunStore, runs: &[PlannedRun]) -> Result<Origins, Error> {
    #[derive(Deserialize)]
    struct Result_ {
        #[serde(default)]
        provenance: Origin,
    }
    let mut origins = Origins::default();
    for run in runs {
        let id = &run.run_id;
        let found: Option<Result_> = match read_result(store, id) {
            // Other commands report a result that cannot be read.
            Err(Error::Runs(lrlab_runs::Error::Io { .. })) => continue,
            found => found?,
        };
        if let Some(result) = found.map_or_else(|| read_paused(store, id), |found| Ok(Some(found)))? {
            origins.0.entry(result.provenance).or_default().push(run.run_id.clone());
        }
    }
    Ok(origins)
}

/// Moves all files of a run into its folder `superseded/<n>`, so that the run is done again and files of different
/// builds or machines are not mixed. Attempts are numbered on, so that a process that was suspended during an earlier one cannot
/// commit its result.
///
/// # Errors
/// Returns an error if moving fails.
pub fn supersede(store: &RunStore, id: &RunId) -> Result<(), Error> {
    let folder = store.run_dir(id);
    let newest = newest(&folder)?.map(|newest| newest.number);
    let aside = create_numbered(&folder.join("superseded"))?;
    let entries = std::fs::read_dir(&folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut names: Vec<_> =
        entries.map_err(|e| Error::io(&folder, e))?.into_iter().map(|entry| entry.file_name()).collect();
    // The specification is kept.
    names.retain(|name| name != "spec.json" && name != "superseded");
    // Attempts are moved first and the result last: while the result exists, the run counts as done.
    names.sort_by_key(|name| (name == "result.json", name != "attempts"));
    for name in names {
        match std::fs::rename(folder.join(&name), aside.join(&name)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(&folder.join(name), e));
            }
            _ => {}
        }
        if let (true, Some(newest)) = (name == "attempts", newest) {
            // An attempt that is dropped counts as interrupted.
            drop(Attempt::claim(&folder, newest + 1)?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn origins_are_distinguished_and_results_can_be_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let store = RunStore::new(folder.path());
        let runs: Vec<PlannedRun> = (0..4)
            .map(|n| PlannedRun {
                run_id: RunId::of(&n.to_string(), ""),
                cell: [].into(),
                spec: json!({}).into(),
                dataset_digest: String::new(),
            })
            .collect();
        let results = [
            Some(json!({ "build": "b1", "commit": "0123456789abcdef", "dirty": true, "numerics": "cpu" })),
            Some(json!({ "build": "b2", "numerics": "cpu" })),
            Some(json!({ "build": "b1", "numerics": "gpu" })),
            None,
        ];
        for (run, provenance) in runs.iter().zip(&results) {
            let folder = store.run_dir(&run.run_id);
            drop(Attempt::claim(&folder, 1).unwrap());
            if let Some(provenance) = provenance {
                std::fs::write(folder.join("result.json"), json!({ "provenance": provenance }).to_string())
                    .unwrap();
            }
        }
        let all = origins(&store, &runs).unwrap();
        assert_eq!(all.len(), 3);
        let (classes, builds) = all.others("b1", "cpu");
        assert_eq!(
            (classes.0.values().collect::<Vec<_>>(), builds.0.values().collect::<Vec<_>>()),
            (vec![&vec![runs[2].run_id.clone()]], vec![&vec![runs[1].run_id.clone()]],)
        );
        let warnings = all.warnings();
        assert!(
            warnings[0].contains("1 of build b1 (commit 0123456789ab, with uncommitted changes)"),
            "{warnings:?}"
        );
        assert!(warnings[1].contains("2 of cpu; 1 of gpu"), "{warnings:?}");

        let first = store.run_dir(&runs[0].run_id);
        for name in ["spec.json", "best.safetensors", "epoch-0003.safetensors", "paused.json"] {
            std::fs::write(first.join(name), "{}").unwrap();
        }
        supersede(&store, &runs[0].run_id).unwrap();
        let mut left: Vec<_> =
            std::fs::read_dir(&first).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["attempts", "spec.json", "superseded"]);
        assert!(!store.is_done(&runs[0].run_id));
        // A process that was suspended during attempt 1 commits nothing, even if no other has claimed the run.
        assert!(!crate::holds(&first, 1).unwrap());
        assert_eq!(newest(&first).unwrap().unwrap().number, 2);
        supersede(&store, &runs[0].run_id).unwrap();
        assert_eq!(newest(&first).unwrap().unwrap().number, 3);
        assert!(
            first.join("superseded/1/result.json").is_file()
                && first.join("superseded/1/attempts/1").is_dir()
        );
        let (_, builds) = origins(&store, &runs).unwrap().others("b2", "cpu");
        assert!(builds.is_empty());
    }
}
