//! On a real Slurm of one node: an unattended search, scripts submitted by hand, cancelled jobs that the report job
//! submits again, and a grid that stops at the first failure. Without Slurm: a `squeue` that is unreachable.
#![cfg(target_os = "linux")]

mod environment;
mod failures;
mod grids;
mod moved;

use std::path::PathBuf;

use lrlab_tests::slurm::Slurm;
use lrlab_tests::{Ran, run, runner};
use serde_json::Value;

const GRID: &str = r#"name = "cases"
[axes]
model = ["linear"]
schedule = ["static"]
seed = [0, 1, 2, 3]
[defaults]
lr = 0.01
epochs = EPOCHS
batch_size = 8
optimizer = { sgd = { momentum = 0.0 } }
[models.linear]
network = { linear = {} }
data = "pictures"
[data.pictures]
source = { synthetic_pictures = { train = 320, test = 40, size = 8 } }
[schedules]
static = { static = {} }
cosine = { cosine = {} }
"#;

struct Place {
    slurm: Option<Slurm>,
    folder: tempfile::TempDir,
}

impl Place {
    /// Returns `None` without Slurm.
    fn new(experiment: &str) -> Option<Self> {
        let place = Self::without_slurm(experiment);
        let slurm = Slurm::start(place.folder.path().join("slurm"))?;
        Some(Self { slurm: Some(slurm), ..place })
    }

    fn without_slurm(experiment: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("cases.toml"), experiment).unwrap();
        std::fs::write(folder.path().join("site.toml"), "time = \"10\"\nmax_tasks = 3\n").unwrap();
        Self { slurm: None, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn arguments(store: &str, more: &[&str]) -> Vec<String> {
        let fixed = ["run", "cases.toml", "--out", store, "--device", "cpu", "--threads", "1"];
        fixed.iter().chain(more).map(|word| (*word).to_owned()).collect()
    }

    /// Runs the grid locally.
    fn here(&self, store: &str) -> Ran {
        run(self.folder.path(), &Self::arguments(store, &[]).iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn slurm(&self) -> &Slurm {
        self.slurm.as_ref().unwrap()
    }

    fn there(&self, more: &[&str]) -> Ran {
        let fixed = ["--slurm-profile", "site.toml"];
        let executor: &[&str] = if more.contains(&"--emit") { &[] } else { &["--executor", "slurm"] };
        let args = Self::arguments("there", &[executor, &fixed, more].concat());
        self.slurm().lrlab(self.folder.path(), &args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn submission(&self, number: u32) -> PathBuf {
        self.path("there").join("cases/slurm/attempts").join(number.to_string()).join("submission.json")
    }

    /// Puts a script in place of a program of Slurm, for [`Self::call`].
    fn program(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::create_dir_all(self.path("bin")).unwrap();
        let path = self.path("bin").join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn call(&self, words: &[String]) -> Ran {
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        Ran::of(&runner(self.folder.path()).args(words).env("PATH", path).output().unwrap())
    }

    fn status(&self) -> Value {
        let folder = self.folder.path();
        let mut command = self.slurm.as_ref().map_or_else(|| runner(folder), |slurm| slurm.runner(folder));
        let output = command.args(["status", "cases.toml", "--out", "there", "--json"]).output();
        serde_json::from_slice(&output.unwrap().stdout).unwrap()
    }
}
