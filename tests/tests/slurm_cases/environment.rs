//! What jobs take from the environment of their submission, and what they ignore.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use lrlab_tests::{Ran, files, results, runner};
use serde_json::Value;

use super::{GRID, Place};

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

/// Scripts that were only written do not stop a grid where Slurm is missing or fails, and their frozen runner is kept, because
/// they may have been submitted elsewhere.
#[test]
fn written_scripts_are_no_jobs_on_a_machine_without_slurm() {
    let place = Place::without_slurm(&GRID.replace("EPOCHS", "1"));
    std::fs::create_dir(place.path("bin")).unwrap();
    let call = |words: &[String]| {
        Ran::of(&runner(place.folder.path()).args(words).env("PATH", place.path("bin")).output().unwrap())
    };
    let profile = ["--slurm-profile", "site.toml"];
    let emitted = call(&Place::arguments("there", &[&profile[..], &["--emit", "slurm"]].concat()));
    assert_eq!(emitted.code, 0, "{}", emitted.err);
    let submitted = call(&Place::arguments("there", &[&profile[..], &["--executor", "slurm"]].concat()));
    assert!(submitted.code == 2 && submitted.err.contains("is Slurm installed here?"), "{}", submitted.err);
    assert!(!submitted.err.contains("submitted before"), "{}", submitted.err);
    let waiting = call(&Place::arguments("there", &["--wait"]));
    assert!(waiting.code == 2 && waiting.err.contains("--wait is for --executor slurm"), "{}", waiting.err);

    let old = std::time::SystemTime::now() - std::time::Duration::from_hours(3);
    for folder in std::fs::read_dir(place.path("there/bin")).unwrap() {
        let folder = folder.unwrap().path();
        for path in files(&folder).into_iter().chain([folder]) {
            std::fs::File::open(path).unwrap().set_modified(old).unwrap();
        }
    }
    let gc = ["gc", "--out", "there"].map(str::to_owned);
    let kept = call(&gc);
    assert!(kept.code == 0 && !kept.out.contains("frozen runner"), "{}{}", kept.out, kept.err);
    place.program("squeue", "echo down >&2; exit 1");
    let failed = call(&gc);
    assert!(failed.code == 0 && !failed.out.contains("frozen runner"), "{}{}", failed.out, failed.err);
    // Without the scripts, nothing refers to the runner.
    std::fs::remove_dir_all(place.path("there/cases/slurm")).unwrap();
    let stale = call(&gc);
    assert!(stale.out.contains("frozen runner"), "{}{}", stale.out, stale.err);
    for _ in 0..2 {
        let emitted = call(&Place::arguments("there", &[&profile[..], &["--emit", "slurm"]].concat()));
        assert!(emitted.code == 0 && emitted.out.contains("#SBATCH"), "{}{}", emitted.out, emitted.err);
    }
}

/// A later call for a part of the experiment does not take the other runs from the report job.
#[test]
fn the_report_job_keeps_the_submitted_runs() {
    let place = Place::without_slurm(&GRID.replace("EPOCHS", "1"));
    // An empty queue, and a controller that accepts nothing.
    place.program("squeue", "exit 0");
    place.program("sbatch", "echo down >&2; exit 1");
    let call = |words: &[String]| {
        Ran::of(&runner(place.folder.path()).args(words).env("PATH", place.path("bin")).output().unwrap())
    };
    let emit = ["--slurm-profile", "site.toml", "--emit", "slurm"];
    let emitted = call(&Place::arguments("there", &emit));
    assert_eq!(emitted.code, 0, "{}", emitted.err);
    let part = call(&Place::arguments("there", &["--filter", "seed=0"]));
    assert!(part.code == 0 && part.out.contains("1 of 1 runs are done"), "{}{}", part.out, part.err);
    let submission = place.path("there/cases/slurm/attempts/1").display().to_string();
    let reported = call(&["grid-report", "--submission", &submission].map(str::to_owned));
    assert!(
        reported.code == 1 && reported.out.contains("1 of 4 runs are done"),
        "{}{}",
        reported.out,
        reported.err
    );
}
