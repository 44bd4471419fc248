//! On a real Slurm of one node: an unattended search, scripts submitted by hand, cancelled jobs that the report job
//! submits again, and a grid that stops at the first failure. Without Slurm: a `squeue` that is unreachable.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lrlab_tests::slurm::{Slurm, kill, processes, wait};
use lrlab_tests::{Ran, SHARED, files, results, run, runner};
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

const SEARCH: &str = r#"
[search]
method = { halving = { rungs = ["1 epoch", "3 epochs"], eta = 3 } }
metric = "val_loss"
space.lr = { log = { min = 1e-6, max = 1e-1, points = 9 } }
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

/// Every result of a store by run id, reduced to [`SHARED`].
fn shared(store: &Path) -> BTreeMap<String, Vec<Value>> {
    let all = results(store).into_iter();
    all.map(|(id, result)| (id, SHARED.map(|key| result[key].clone()).to_vec())).collect()
}

fn table(store: &Path, name: &str) -> String {
    std::fs::read_to_string(store.join("cases/report/tables").join(name)).unwrap()
}

#[test]
fn a_search_on_slurm_gives_the_local_results() {
    let text = GRID
        .replace("EPOCHS", "9")
        .replace("[0, 1, 2, 3]", "[0, 1]")
        .replace("schedule = [\"static\"]", "schedule = [\"static\", \"cosine\"]");
    let Some(place) = Place::new(&(text + SEARCH)) else { return };
    let alone = place.here("here");
    assert_eq!(alone.code, 0, "{}", alone.err);

    let dry = place.there(&["--dry-run"]);
    assert!(dry.code == 0 && dry.out.contains("#SBATCH --array=0-2\n"), "{}\n{}", dry.out, dry.err);
    let submitted = place.there(&[]);
    assert_eq!(submitted.code, 3, "{}\n{}", submitted.out, submitted.err);
    // No process waits, and one worker is killed.
    let there = place.path("there");
    let submission = place.submission(1).with_file_name("");
    let folder = submission.display().to_string();
    let lost = wait("a task", 60, || processes(&["--submission", folder.trim_end_matches('/')]).pop());
    kill("-KILL", &lost);
    let again = place.there(&[]);
    assert!(matches!(again.code, 0 | 3), "{}\n{}", again.out, again.err);
    place.slurm().idle(180);
    assert_eq!(shared(&place.path("here")), shared(&there));
    for name in ["search.csv", "trials.csv", "results.csv"] {
        assert_eq!(table(&place.path("here"), name), table(&there, name), "{name}");
    }
    let over = place.there(&[]);
    assert_eq!(over.code, 0, "{}\n{}", over.out, over.err);
    let status = place.status();
    assert_eq!(status["status"]["missing"], 0, "{status:#}");
    assert_eq!((&status["status"]["pruned"], &status["status"]["unneeded"]), (&16.into(), &16.into()));

    // The same with `--wait`.
    std::fs::remove_dir_all(&there).unwrap();
    let waited = place.there(&["--wait"]);
    assert_eq!(waited.code, 0, "{}\n{}", waited.out, waited.err);
    assert_eq!(shared(&place.path("here")), shared(&there));
}

#[test]
fn scripts_can_be_submitted_by_hand_and_cancelled_jobs_restart() {
    let Some(place) = Place::new(&GRID.replace("EPOCHS", "60")) else { return };
    let emitted = place.there(&["--emit", "slurm"]);
    assert_eq!(emitted.code, 0, "{}\n{}", emitted.out, emitted.err);
    // Paths relative to the user's folder.
    let paths = emitted.out.lines().filter_map(|line| line.strip_prefix("# "));
    let paths: Vec<String> = paths.map(|path| place.path(path).display().to_string()).collect();
    assert_eq!(paths.len(), 2, "{}", emitted.out);
    assert!(place.slurm().ask("squeue", &["--noheader"]).is_empty(), "nothing is submitted");
    let job = place.slurm().ask("sbatch", &["--parsable", &paths[0]]).trim().to_owned();
    assert!(!job.is_empty(), "{paths:?}");
    let after = format!("--dependency=afterany:{job}");
    assert!(!place.slurm().ask("sbatch", &["--parsable", &after, &paths[1]]).trim().is_empty());
    // Status finds the jobs by their names.
    let again = place.there(&[]);
    assert!(again.code == 3 && !place.submission(2).exists(), "{}\n{}", again.out, again.err);

    wait("a run at work", 60, || {
        files(&place.path("there/store")).iter().any(|path| path.ends_with("work.json")).then_some(())
    });
    let _ = place.slurm().ask("scancel", &[&job]);
    // The report job submits the missing runs.
    wait("the second submission", 60, || place.submission(2).exists().then_some(()));
    place.slurm().idle(180);
    assert_eq!(place.here("here").code, 0);
    assert_eq!(shared(&place.path("here")), shared(&place.path("there")));
}

#[test]
fn fail_fast_ends_the_grid_on_slurm() {
    // As many runs as tasks, so that a retried run does not wait for another.
    let text = GRID.replace("EPOCHS", "1000000").replace("[0, 1, 2, 3]", "[0, 1, 2]");
    let Some(place) = Place::new(&text) else { return };
    let mut waiting = place.slurm().runner(place.folder.path());
    let more = ["--executor", "slurm", "--slurm-profile", "site.toml", "--wait", "--fail-fast"];
    let waiting = waiting.args(Place::arguments("there", &more));
    let waiting = waiting.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let waiting = waiting.spawn().unwrap();
    let first = wait("a run at work", 60, || {
        let work = files(&place.path("there/store")).into_iter().find(|path| path.ends_with("work.json"))?;
        Some(work.ancestors().nth(3)?.file_name()?.to_string_lossy().into_owned())
    });
    // The run is killed at every start.
    let over = AtomicBool::new(false);
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for pid in processes(&["--run", &first]) {
                    let _ = std::process::Command::new("kill").args(["-KILL", &pid]).status();
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let output = waiting.wait_with_output().unwrap();
        over.store(true, Ordering::Relaxed);
        output
    });
    let ran = Ran::of(&output);
    assert_eq!(ran.code, 1, "{}\n{}", ran.out, ran.err);
    place.slurm().idle(60);
    let status = place.status();
    assert_eq!(
        (&status["status"]["failed"], &status["status"]["missing"]),
        (&1.into(), &2.into()),
        "{status:#}"
    );
    assert!(!place.submission(2).exists(), "nothing is submitted again");
}

/// A real Slurm cannot be made to fail in these ways: scripts replace its programs.
#[test]
fn an_unreachable_slurm_is_reported_and_nothing_is_submitted_twice() {
    let place = Place::without_slurm(&GRID.replace("EPOCHS", "1"));
    let program = |name: &str, text: &str| place.program(name, text);
    program("sbatch", "echo 17");
    let down =
        "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1";
    program("squeue", down);
    let call = |words: &[String]| place.call(words);
    let submit =
        || call(&Place::arguments("there", &["--executor", "slurm", "--slurm-profile", "site.toml"]));
    let first = submit();
    assert_eq!(first.code, 3, "{}\n{}", first.out, first.err);
    let second = submit();
    let printed =
        "Slurm cannot be reached (squeue: slurm_load_jobs error: Unable to contact slurm controller";
    assert!(second.code == 3 && second.err.contains(printed), "{}\n{}", second.out, second.err);
    assert!(second.err.contains("17") && second.err.contains("nothing was submitted"), "{}", second.err);
    assert!(!place.submission(2).exists());
    // Other commands still show the progress, and that the jobs are unknown.
    let status = call(&["status", "cases.toml", "--out", "there", "--json"].map(str::to_owned));
    let status: Value = serde_json::from_str(&status.out).unwrap();
    assert!(status["jobs"]["error"].as_str().unwrap().contains("Unable to contact"), "{status:#}");
    // gc cannot know what the jobs need: it removes nothing.
    let gc = call(&["gc", "--yes", "--out", "there"].map(str::to_owned));
    assert!(gc.code == 2 && gc.err.contains("Unable to contact"), "{}\n{}", gc.out, gc.err);

    program("squeue", "exit 0");
    let third = submit();
    assert!(third.code == 3 && place.submission(2).exists(), "{}\n{}", third.out, third.err);
}

/// Every file below a submission's folder, as text.
fn texts(folder: &Path) -> BTreeMap<String, String> {
    let name = |path: &Path| path.strip_prefix(folder).unwrap().display().to_string();
    let text = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    files(folder).iter().map(|path| (name(path), text(path))).collect()
}

/// Submission from inside another job, to a folder whose name needs quoting.
#[test]
fn jobs_ignore_the_submitting_job_and_work_in_any_folder() {
    let Some(place) = Place::new(&GRID.replace("EPOCHS", "1")) else { return };
    let profile = "time = \"10\"\nmax_tasks = 2\nsetup = [\"env\"]\n[report]\ntime = \"7\"\ncpus = 2\n";
    std::fs::write(place.path("site.toml"), profile).unwrap();
    let out = "50% of it's \"all\" #1";
    let words = ["--executor", "slurm", "--slurm-profile", "site.toml"];
    let mut submit = place.slurm().runner(place.folder.path());
    submit.args(Place::arguments(out, &words)).env("HF_HUB_CACHE", "hub").env("HF_HOME", "/elsewhere");
    let surroundings = [
        ("SLURM_JOB_ID", "4711"),
        ("SLURM_ARRAY_JOB_ID", "4711"),
        ("SLURM_ARRAY_TASK_ID", "815"),
        ("SLURM_RESTART_COUNT", "3"),
        ("SLURM_MEM_PER_NODE", "4712"),
        ("SLURM_CPU_BIND", "quiet,mask_cpu:0x4713"),
        ("SBATCH_QOS", "nosuch"),
        ("SQUEUE_FORMAT", "%A"),
    ];
    submit.envs(surroundings);
    let submitted = Ran::of(&submit.output().unwrap());
    assert_eq!(submitted.code, 3, "{}\n{}", submitted.out, submitted.err);
    place.slurm().idle(120);
    assert_eq!(results(&place.path(out)).len(), 4);

    let files = texts(&place.path(out).join("cases/slurm/attempts/1"));
    for log in ["log/default-0.txt", "log/default-1.txt", "log/report.txt"] {
        let text = &files[log];
        for (name, value) in surroundings {
            let stale = format!("{name}={value}");
            assert!(text.lines().all(|line| line != stale), "{log}: {stale}\n{text}");
        }
        let cache = format!("HF_HUB_CACHE={}\n", place.path("hub").display());
        assert!(text.contains(&cache), "{log}\n{text}");
    }
    let report = &files["report.sbatch"];
    assert!(report.contains("--time=00:07:00\n") && report.contains("--cpus-per-task=2\n"), "{report}");
    // Owners have the names of the tasks in `squeue`.
    let submission: Value = serde_json::from_str(&files["submission.json"]).unwrap();
    let job = submission["arrays"][0]["job"].as_u64().unwrap();
    for (path, text) in texts(&place.path(out).join("store")) {
        if path.ends_with("claim.json") {
            let claim: Value = serde_json::from_str(&text).unwrap();
            let name = claim["slurm"]["job"].as_str().unwrap_or_default();
            assert!(["0", "1"].iter().any(|task| name == format!("{job}_{task}")), "{path}: {claim}");
        }
    }
    // A local run in the same environment belongs to no job.
    let mut alone = runner(place.folder.path());
    alone.args(Place::arguments("alone", &[])).env("SLURM_JOB_ID", "4711");
    assert_eq!(Ran::of(&alone.output().unwrap()).code, 0);
    let mut claims = texts(&place.path("alone/store"));
    claims.retain(|path, _| path.ends_with("claim.json"));
    assert_eq!(claims.len(), 4);
    assert!(claims.values().all(|text| !text.contains("4711")), "{claims:?}");

    // Some paths cannot be written in a script.
    for out in ["a\nb", "a\\b"] {
        let refused = place.slurm().lrlab(
            place.folder.path(),
            &Place::arguments(out, &words).iter().map(String::as_str).collect::<Vec<_>>(),
        );
        let printed = refused.err.contains("jobs cannot write logs there")
            && refused.err.contains("choose another `--out`");
        assert!(refused.code == 2 && printed, "{}\n{}", refused.out, refused.err);
        assert!(!place.path(out).join("cases/slurm").exists());
    }
}

/// A site that accepts some scripts and rejects others, with scripts in place of Slurm's programs.
#[test]
fn rejected_scripts_are_reported_and_uncancelled_jobs_stay_on_record() {
    let place = Place::without_slurm(&GRID.replace("EPOCHS", "1"));
    let profile =
        "time = \"10\"\n[classes.first]\nwhere = { seed = [0, 1] }\n[classes.second]\nwhere = { seed = 2 }\n";
    std::fs::write(place.path("site.toml"), profile).unwrap();
    place.program("squeue", "exit 0");
    place.program("scancel", "echo \"$1\" >> cancelled");
    let submit =
        || place.call(&Place::arguments("there", &["--executor", "slurm", "--slurm-profile", "site.toml"]));
    let attempt = |number: u32| place.submission(number).with_file_name("");

    // The first script is rejected before any submission.
    let refuse = |what: &str| {
        format!("case \"$*\" in *{what}*) echo 'sbatch: error: invalid gres' >&2; exit 1;; esac; echo $$")
    };
    place.program("sbatch", &refuse("--test-only*second"));
    let ran = submit();
    let script = attempt(1).join("second.sbatch").display().to_string();
    assert!(
        ran.code == 2 && ran.err.contains(&format!("{script}: sbatch: sbatch: error: invalid gres")),
        "{}",
        ran.err
    );
    assert!(!place.submission(1).exists() && !place.path("cancelled").exists());

    // A script is rejected after two arrays were submitted.
    place.program("sbatch", &refuse("--parsable*default"));
    let ran = submit();
    assert!(
        ran.code == 2 && ran.err.contains("default.sbatch: sbatch: sbatch: error: invalid gres"),
        "{}",
        ran.err
    );
    assert!(!place.submission(2).exists());
    assert_eq!(std::fs::read_to_string(place.path("cancelled")).unwrap().lines().count(), 2);

    // The first array cannot be cancelled either: the second still is, and the first stays on record.
    place.program("scancel", "test -e failed || { touch failed; echo 'Unable to contact controller' >&2; exit 1; }; echo \"$1\" >> cancelled");
    let ran = submit();
    let submission: Value = serde_json::from_slice(&std::fs::read(place.submission(3)).unwrap()).unwrap();
    let left = submission["arrays"][0]["job"].as_u64().unwrap();
    assert!(submission["arrays"][1]["job"].is_null(), "{submission:#}");
    let printed = [format!("`scancel {left}` cancels them"), "Unable to contact controller".to_owned()];
    assert!(ran.code == 2 && printed.iter().all(|printed| ran.err.contains(printed)), "{}", ran.err);
    assert_eq!(std::fs::read_to_string(place.path("cancelled")).unwrap().lines().count(), 3);

    // Its runs are not submitted twice.
    place.program("squeue", &format!("echo '{left}_0|PENDING|job'"));
    place.program("sbatch", "echo 99");
    let ran = submit();
    assert_eq!(ran.code, 3, "{}\n{}", ran.out, ran.err);
    let again: Value = serde_json::from_slice(&std::fs::read(place.submission(4)).unwrap()).unwrap();
    let classes: Vec<&Value> =
        again["arrays"].as_array().unwrap().iter().map(|array| &array["class"]).collect();
    assert_eq!(classes, ["second", "default"]);
}

/// Scripts export exactly the variables of the submitting environment that jobs need, as a shell reads them.
#[test]
fn scripts_export_what_jobs_need() {
    let place = Place::without_slurm(&GRID.replace("EPOCHS", "1"));
    place.program("squeue", "exit 0");
    let here = |name: &str| place.path(name).display().to_string();
    let exported = [
        ("HF_HUB_OFFLINE", "1", "1".to_owned()),
        ("HF_ENDPOINT", "https://hub.example/a b?c='d'&$e", "https://hub.example/a b?c='d'&$e".to_owned()),
        ("RUST_LOG", "lrlab=debug,\"x y\"", "lrlab=debug,\"x y\"".to_owned()),
        ("LRLAB_SIMD", "scalar", "scalar".to_owned()),
        ("LRLAB_KERNELS", "own", "own".to_owned()),
        ("LRLAB_CUDA_TF32", "off", "off".to_owned()),
        ("LRLAB_DATA_MEMORY", "512", "512".to_owned()),
        // Jobs start in another folder.
        ("HF_HOME", "a home", here("a home")),
        ("HF_HUB_CACHE", "hub", here("hub")),
        ("HF_XET_CACHE", "/xet cache", "/xet cache".to_owned()),
        ("HF_TOKEN_PATH", "tokens/$mine", here("tokens/$mine")),
    ];
    let submit = ["--emit", "slurm", "--slurm-profile", "site.toml"];
    let call = |store: &str, variables: &[(&str, &str)]| {
        let mut command = runner(place.folder.path());
        let path = format!("{}:{}", place.path("bin").display(), std::env::var("PATH").unwrap());
        command.args(Place::arguments(store, &submit)).env("PATH", path);
        for (name, ..) in &exported {
            command.env_remove(name);
        }
        let ran = Ran::of(&command.envs(variables.iter().copied()).output().unwrap());
        assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
        let scripts = texts(&place.path(store).join("cases/slurm/attempts/1"));
        ["default.sbatch", "report.sbatch"].map(|name| scripts[name].clone())
    };
    // The variables that a script exports before it executes the runner.
    let exports = |script: &str| -> BTreeMap<String, String> {
        let lines = script.lines().filter(|line| !line.starts_with("exec "));
        let text = lines.chain(["exec env --null"]).collect::<Vec<_>>().join("\n");
        let output =
            Command::new("bash").args(["-c", &text]).env_clear().env("PATH", "/usr/bin:/bin").output();
        let output = String::from_utf8(output.unwrap().stdout).unwrap();
        let pairs = output.split('\0').filter_map(|pair| pair.split_once('='));
        let ours =
            |name: &str| ["HF_", "RUST_", "LRLAB_", "SECRET"].iter().any(|start| name.starts_with(start));
        let ours = pairs.filter(|(name, _)| ours(name) && !name.starts_with("LRLAB_SLURM_"));
        ours.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let mut variables: Vec<(&str, &str)> = exported.iter().map(|(name, value, _)| (*name, *value)).collect();
    variables.extend([("HF_TOKEN", "secret"), ("LRLAB_BUILD", "another"), ("SECRET", "1")]);
    let all: BTreeMap<String, String> =
        exported.iter().map(|(name, _, value)| ((*name).to_owned(), value.clone())).collect();
    for script in call("all", &variables) {
        assert_eq!(exports(&script), all, "{script}");
    }
    // Each variable alone; an empty path counts as none.
    for (index, (name, value, expected)) in exported.iter().enumerate() {
        for script in call(&format!("one{index}"), &[(name, value)]) {
            assert_eq!(exports(&script), [((*name).to_owned(), expected.clone())].into(), "{script}");
        }
    }
    for script in
        call("none", &["HF_HOME", "HF_HUB_CACHE", "HF_XET_CACHE", "HF_TOKEN_PATH"].map(|name| (name, "")))
    {
        assert_eq!(exports(&script), BTreeMap::new(), "{script}");
    }
}

/// Jobs work in the store's old folder: commands say so until they have ended.
#[test]
fn jobs_of_a_moved_store_are_reported() {
    let place = Place::without_slurm(&GRID.replace("EPOCHS", "1"));
    place.program("sbatch", "echo 17");
    place.program("squeue", "echo '17_0|PENDING|job'");
    let words = ["--executor", "slurm", "--slurm-profile", "site.toml"];
    let submitted = place.call(&Place::arguments("before", &words));
    assert_eq!(submitted.code, 3, "{}\n{}", submitted.out, submitted.err);
    let status = |out: &str| place.call(&["status", "cases.toml", "--out", out].map(str::to_owned));
    let old = place.path("before").display().to_string();
    let words_of_it = format!(
        "the queued jobs 17 were submitted from another folder, {old}, and work there: `scancel 17` cancels them, and `run` \
         then submits what is missing here"
    );
    // Another path to the same folder.
    std::os::unix::fs::symlink(&old, place.path("link")).unwrap();
    for out in ["before", "link"] {
        let ran = status(out);
        assert!(ran.code == 0 && !ran.out.contains("another folder"), "{out}: {}{}", ran.out, ran.err);
    }
    std::fs::rename(&old, place.path("after")).unwrap();
    let ran = status("after");
    assert!(ran.code == 0 && ran.out.contains(&words_of_it), "{}{}", ran.out, ran.err);
    let again = place.call(&Place::arguments("after", &words));
    assert!(
        again.code == 3 && again.err.contains(&format!("warning: {words_of_it}")),
        "{}\n{}",
        again.out,
        again.err
    );
    // After they have ended, the missing runs are submitted from the new folder.
    place.program("squeue", "exit 0");
    let again = place.call(&Place::arguments("after", &words));
    assert!(again.code == 3 && !again.err.contains("another folder"), "{}\n{}", again.out, again.err);
    assert!(again.out.contains("job 17 submitted: 4 runs"), "{}", again.out);
    let ran = status("after");
    assert!(ran.code == 0 && !ran.out.contains("another folder"), "{}{}", ran.out, ran.err);
}

/// The store has a second path, with which gc runs: files that queued jobs will use are kept.
#[test]
fn gc_keeps_files_of_jobs_for_every_path_of_the_store() {
    let place = Place::without_slurm(&GRID.replace("EPOCHS", "1"));
    place.program("sbatch", "echo 17");
    place.program("squeue", "echo '17_0|PENDING|job'");
    let submitted =
        place.call(&Place::arguments("there", &["--executor", "slurm", "--slurm-profile", "site.toml"]));
    assert_eq!(submitted.code, 3, "{}\n{}", submitted.out, submitted.err);
    std::os::unix::fs::symlink(place.path("there"), place.path("link")).unwrap();
    let bin = place.path("there/bin");
    let before = std::time::SystemTime::now() - Duration::from_hours(3);
    let frozen = std::fs::read_dir(&bin).unwrap().map(|entry| entry.unwrap().path()).next().unwrap();
    for path in files(&frozen).into_iter().chain([frozen.clone()]) {
        std::fs::File::open(path).unwrap().set_modified(before).unwrap();
    }
    for out in ["link", "there"] {
        let swept = place.call(&["gc", "--yes", "--out", out].map(str::to_owned));
        assert!(swept.code == 0 && swept.out.contains("nothing"), "{out}: {}\n{}", swept.out, swept.err);
        assert!(frozen.is_dir(), "{out}");
    }
    // Without the jobs, the files are garbage.
    place.program("squeue", "exit 0");
    let swept = place.call(&["gc", "--yes", "--out", "link"].map(str::to_owned));
    assert!(swept.code == 0 && !frozen.exists(), "{}\n{}", swept.out, swept.err);
}
