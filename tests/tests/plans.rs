//! Plans: warnings, summaries of large ones, and files that differ from their plan.

mod without_data;

use std::path::Path;

use lrlab_tests::{Ran, TINY, copy, results, run, runner};

const RUN: [&str; 4] = ["run", "tiny.toml", "--device", "cpu"];

fn write(folder: &Path, file: &str, changes: &[(&str, &str)]) {
    let text = changes.iter().fold(TINY.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    });
    std::fs::write(folder.join(file), text).unwrap();
}

fn good(ran: Ran) -> Ran {
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    ran
}

fn holds(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no {word:?} in\n{text}");
    }
}

#[test]
fn plans_show_lint_warnings() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "tiny.toml", &[("static = {}", "step = { step_size = \"3 epochs\", gamma = 0.1 }")]);
    let ran = good(run(folder, &["plan", "tiny.toml"]));
    holds(&ran.err, &["warning: schedule `static`: step.step_size: ", "the rate never steps (2 runs)"]);
    assert_eq!(ran.err.matches("the rate never steps").count(), 1, "{}", ran.err);
    let ran = good(run(folder, &["plan", "tiny.toml", "--set", "axes.epochs=[9]"]));
    assert!(!ran.err.contains("warning"), "{}", ran.err);
}

#[test]
fn large_plans_are_summarised() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let seeds = (0..101).map(|seed| seed.to_string()).collect::<Vec<_>>().join(", ");
    write(folder, "tiny.toml", &[("seed = [0, 1]", &format!("seed = [{seeds}]"))]);
    let ran = good(run(folder, &["plan", "tiny.toml"]));
    let lines: Vec<&str> = ran.out.lines().collect();
    holds(
        &ran.out,
        &[
            "schedule: static\n",
            "seed: 0, 1, 2,",
            ", … (101 values)\n",
            "101 missing; `lrlab plan tiny.toml --cells` lists the runs",
        ],
    );
    assert!(lines.len() < 10, "{}", ran.out);
    let ran = good(run(folder, &["plan", "tiny.toml", "--cells"]));
    assert_eq!(ran.out.lines().count(), 102, "{}", ran.out);
}

#[test]
fn status_and_gc_notice_changed_files() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "tiny.toml", &[]);
    good(run(folder, &RUN));
    assert_eq!(good(run(folder, &["status", "tiny.toml"])).err, "");
    write(folder, "tiny.toml", &[("seed = [0, 1]", "seed = [0, 1, 2]")]);
    let ran = good(run(folder, &["status", "tiny.toml"]));
    holds(&ran.err, &["note: tiny.toml has 1 cell that the last plan does not contain (3 in total)"]);
    write(folder, "tiny.toml", &[("lr = 0.01", "lr = 0.02")]);
    for (args, word) in [(["status", "tiny.toml"], "note: "), (["gc", "tiny.toml"], "warning: ")] {
        let ran = good(run(folder, &args));
        let words = "tiny.toml has changed since it was planned: 2 runs of the last plan are no longer among its 2 cells";
        holds(&ran.err, &[&format!("{word}{words}")]);
    }
    std::fs::write(folder.join("tiny.toml"), TINY.replace("batch_size", "bacth_size")).unwrap();
    let ran = good(run(folder, &["status", "tiny.toml"]));
    holds(&ran.err, &["note: tiny.toml has errors that it did not have when it was planned"]);
}

#[test]
fn two_files_with_one_name_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "tiny.toml", &[]);
    good(run(folder, &RUN));
    write(folder, "other.toml", &[("lr = 0.01", "lr = 0.02")]);
    let ran = good(run(folder, &["run", "other.toml", "--device", "cpu"]));
    holds(
        &ran.err,
        &["warning: ", "tiny.toml has the same name \"tiny\": ", "rename one of the experiments"],
    );
    let ran = good(run(folder, &["status", "tiny.toml"]));
    holds(&ran.err, &["note: the last plan of \"tiny\" was made from ", "other.toml, not from tiny.toml"]);
    let ran = good(run(folder, &["report", "tiny.toml"]));
    holds(
        &ran.err,
        &["warning: ", "other.toml has the same name \"tiny\": tiny.toml replaces its report", "give --to"],
    );
    let ran = good(run(folder, &["report", "tiny.toml", "--to", "elsewhere"]));
    assert!(!ran.err.contains("same name"), "{}", ran.err);
}

/// A report that leaves out runs of the last call says which options it needs to contain them.
#[test]
fn reports_without_the_overrides_of_the_last_run() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "tiny.toml", &[]);
    good(run(folder, &[&RUN[..], &["--set", "defaults.lr=0.05"]].concat()));
    let ran = good(run(folder, &["report", "tiny.toml"]));
    holds(&ran.err, &["note: 2 runs of the last plan, made with --set defaults.lr=0.05, are not selected"]);
    let ran = good(run(folder, &["report", "tiny.toml", "--set", "defaults.lr=0.05", "--seeds", "1"]));
    assert!(!ran.err.contains("not selected"), "{}", ran.err);
}

/// An unreadable plan is reported and does not stop the command.
#[test]
fn damaged_plans_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "tiny.toml", &[]);
    good(run(folder, &RUN));
    std::fs::write(folder.join("runs/tiny/plan.json"), "{ \"experiment\": ").unwrap();
    let ran = good(run(folder, &["plan", "tiny.toml"]));
    holds(&ran.err, &["note: ", "plan.json", "; its digests are not used for missing data"]);
    holds(&ran.out, &["tiny: 2 runs, 2 done"]);
}

/// A required digest only decides whether runs may be trained.
#[test]
fn a_required_digest_does_not_change_ids() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "tiny.toml", &[]);
    good(run(folder, &RUN));
    let plan = || -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(folder.join("runs/tiny/plan.json")).unwrap()).unwrap()
    };
    let (before, results_before) = (plan(), results(&folder.join("runs")));
    let digest = before["runs"][0]["dataset_digest"].as_str().unwrap().to_owned();
    let pin = |digest: &str| {
        write(
            folder,
            "tiny.toml",
            &[("[data.pictures]", &format!("[data.pictures]\npin_digest = \"{digest}\""))],
        );
    };
    pin(&digest);
    holds(&good(run(folder, &RUN)).out, &["2 of 2 runs are done (0 in this call)"]);
    let after = plan();
    for i in 0..2 {
        assert_eq!(after["runs"][i]["run_id"], before["runs"][i]["run_id"]);
        assert_eq!(after["runs"][i]["spec"]["data"]["pin_digest"], digest.as_str());
    }
    assert_eq!(results(&folder.join("runs")), results_before);
    // The digest of the data is checked before training.
    pin("0123");
    for args in [&RUN[..], &["plan", "tiny.toml"]] {
        let ran = run(folder, args);
        assert_eq!(ran.code, 2, "{}", ran.out);
        holds(&ran.err, &[&format!("the digest of the data is {digest}, expected 0123 (pin_digest)")]);
    }
    assert_eq!(plan(), after);
}

/// Of two experiments with the run, `redo` uses the one whose file is there.
#[test]
fn a_run_of_several_experiments_is_redone() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "tiny.toml", &[]);
    write(folder, "early.toml", &[("name = \"tiny\"", "name = \"early\"")]);
    good(run(folder, &RUN));
    good(run(folder, &["run", "early.toml", "--device", "cpu"]));
    std::fs::remove_file(folder.join("early.toml")).unwrap();
    let id = results(&folder.join("runs")).into_keys().next().unwrap();
    let ran = good(run(folder, &["redo", &id, "--device", "cpu"]));
    holds(&ran.err, &["note: early also has this run: `lrlab report` renews the reports"]);
    holds(&ran.out, &["report: ", "tiny"]);
}

/// The earlier result is set aside, the new one has its bits, and the experiment's plan is unchanged.
#[test]
fn one_run_is_redone() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "tiny.toml", &[]);
    good(run(folder, &RUN));
    let before = results(&folder.join("runs"));
    let id = before.keys().next().unwrap();
    // Nothing is set aside for a device that this program does not have, or that no result was made on.
    let aside = folder.join("runs/store").join(id).join("superseded");
    let ran = run(folder, &["redo", id, "--device", "cuda"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    holds(&ran.err, &["cuda"]);
    assert!(!aside.exists() && results(&folder.join("runs")) == before);
    let files: Vec<_> =
        before.keys().map(|id| folder.join("runs/store").join(id).join("result.json")).collect();
    let texts: Vec<String> = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    for (file, text) in files.iter().zip(&texts) {
        std::fs::write(file, text.replace("\"numerics\": \"cpu/", "\"numerics\": \"cpu/other/")).unwrap();
    }
    let ran = run(folder, &["redo", id, "--device", "cpu"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    holds(&ran.err, &["have the numerics class \"cpu/other/", "nothing was set aside"]);
    assert!(!aside.exists());
    files.iter().zip(&texts).for_each(|(file, text)| std::fs::write(file, text).unwrap());

    let ran = good(run(folder, &["redo", &id[..10], "--device", "cpu"]));
    holds(&ran.err, &["are now in `superseded` in the run's folder"]);
    let after = results(&folder.join("runs"));
    assert_eq!(after.len(), 2);
    assert_eq!(after[id]["history"], before[id]["history"]);
    assert_ne!(after[id]["timing"]["started"], before[id]["timing"]["started"]);
    assert!(folder.join("runs/store").join(id).join("superseded/1/result.json").is_file());
    let status = good(run(folder, &["status", "tiny.toml"]));
    assert_eq!(status.err, "");
    holds(&good(run(folder, &["plan", "tiny.toml"])).out, &["tiny: 2 runs, 2 done"]);

    let plan = || std::fs::read(folder.join("runs/tiny/plan.json")).unwrap();
    let whole = plan();
    // Killed in the middle: the plan is that of the experiment, and its next run trains the missing run.
    good(run(folder, &[&RUN[..], &["--set", "axes.epochs=[2]"]].concat()));
    let two = plan();
    assert_ne!(two, whole);
    let id = results(&folder.join("runs"))
        .into_iter()
        .find(|(_, result)| result["cell"]["epochs"] == 2)
        .unwrap()
        .0;
    let mut child = runner(folder).args(["redo", &id, "--device", "cpu"]).spawn().unwrap();
    // The earlier attempts are set aside, and the new one starts after planning.
    let run_dir = folder.join("runs/store").join(&id);
    while !(run_dir.join("superseded").exists() && run_dir.join("attempts").exists()) {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(plan(), two);
    let report = std::fs::read_to_string(folder.join("runs/tiny/report/report.md")).unwrap();
    holds(&report, &["of 2 runs"]);
    // Repeated, it resumes the interrupted attempt instead of setting it aside. The worker notices the end of its parent, and
    // may have finished before.
    while !good(run(folder, &["status", "tiny.toml"])).out.contains(" 0 running") {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let _ = std::fs::remove_file(run_dir.join("result.json"));
    let ran = good(run(folder, &["redo", &id, "--device", "cpu"]));
    assert!(!ran.err.contains("superseded"), "{}", ran.err);
    assert!(!run_dir.join("superseded/2").exists());

    // Notes are printed once; if the experiment was moved, the error names its file and a remedy.
    let folder = &folder.join("more");
    std::fs::create_dir(folder).unwrap();
    write(
        folder,
        "tiny.toml",
        &[
            ("seed = [0, 1]", "seed = [5]"),
            ("[defaults]", "[monitors.unused]\ncontroller = { plateau = {} }\n[defaults]"),
        ],
    );
    good(run(folder, &RUN));
    let id = results(&folder.join("runs")).into_keys().next().unwrap();
    let ran = good(run(folder, &["redo", &id, "--device", "cpu"]));
    assert_eq!(ran.err.matches("`unused` is defined but not used").count(), 1, "{}", ran.err);
    std::fs::rename(folder.join("tiny.toml"), folder.join("moved.toml")).unwrap();
    let ran = run(folder, &["redo", &id, "--device", "cpu"]);
    assert_eq!(ran.code, 2);
    holds(&ran.err, &["tiny.toml: the experiment that", "is no longer there", "`lrlab run FILE --out runs`"]);
    assert_eq!(results(&folder.join("runs")).len(), 1);
    good(run(folder, &["run", "moved.toml", "--device", "cpu"]));
    good(run(folder, &["redo", &id, "--device", "cpu"]));

    let ran = run(folder, &["redo", "0123456789abcdef"]);
    assert_eq!(ran.code, 2);
    holds(&ran.err, &["have no run 0123456789abcdef: `lrlab plan EXPERIMENT` lists the ids"]);
    // A damaged plan of another experiment does not matter.
    std::fs::create_dir(folder.join("runs/other")).unwrap();
    std::fs::write(folder.join("runs/other/plan.json"), "{").unwrap();
    let ran = good(run(folder, &["redo", &id, "--device", "cpu"]));
    holds(&ran.err, &["other/plan.json: damaged", "its runs are not found"]);
    let ran = run(folder, &["redo", &id, "--out", "typo"]);
    holds(&ran.err, &["there is no store", "typo: give its folder with --out"]);
    // The run is not among the selected ones.
    let two = ["--set", "axes.seed=[5, 6]"];
    let ran = run(folder, &[&["plan", "moved.toml", "--run", &id, "--filter", "seed=6"], &two[..]].concat());
    assert_eq!(ran.code, 2);
    holds(&ran.err, &["none of the runs of moved.toml that --filter and --seeds select has the id"]);
}

/// The model card beside the weights describes their use elsewhere.
#[test]
fn weights_have_a_card() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "tiny.toml", &[]);
    good(run(folder, &RUN));
    for id in results(&folder.join("runs")).keys() {
        let card = std::fs::read(folder.join("runs/store").join(id).join("model.json")).unwrap();
        let card: serde_json::Value = serde_json::from_slice(&card).unwrap();
        assert_eq!(card["run_id"], id.as_str());
        assert_eq!(card["classes"].as_array().unwrap().len(), 4);
        let std = card["input"]["pictures"]["normalisation"]["std"].as_array().unwrap();
        assert!(std.len() == 3 && std.iter().all(|x| (0.0..1.0).contains(&x.as_f64().unwrap())), "{card}");
        // The file of weights contains the same data.
        let bytes = std::fs::read(folder.join("runs/store").join(id).join("best.safetensors")).unwrap();
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        let inside: serde_json::Value =
            serde_json::from_str(&header.metadata().as_ref().unwrap()["lrlab"]).unwrap();
        for key in ["run_id", "classes", "input", "dataset"] {
            assert_eq!(inside[key], card[key]);
        }
        let tensors = candle_core::safetensors::load_buffer(&bytes, &candle_core::Device::Cpu).unwrap();
        assert!(!tensors.is_empty() && tensors.values().all(|tensor| tensor.elem_count() > 0));
    }
}
