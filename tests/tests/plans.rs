//! Plans: what they doubt, how large ones are told, where files and plans part, and what remains without the data.

#![allow(clippy::unwrap_used, reason = "panics fail the test")]

use std::path::Path;

use lrlab_tests::{Ran, TINY, copy, results, run};

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
fn a_plan_tells_what_the_linter_finds() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "tiny.toml", &[("static = {}", "step = { step_size = \"3 epochs\", gamma = 0.1 }")]);
    let ran = good(run(folder, &["plan", "tiny.toml"]));
    holds(&ran.err, &["warning: schedule `static`: step.step_size: ", "no step is ever made (2 runs)"]);
    assert_eq!(ran.err.matches("no step is ever made").count(), 1, "{}", ran.err);
    let ran = good(run(folder, &["plan", "tiny.toml", "--set", "axes.epochs=[9]"]));
    assert!(!ran.err.contains("warning"), "{}", ran.err);
}

#[test]
fn a_large_plan_is_summarised() {
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
            "101 missing; --cells lists the runs",
        ],
    );
    assert!(lines.len() < 10, "{}", ran.out);
    let ran = good(run(folder, &["plan", "tiny.toml", "--cells"]));
    assert_eq!(ran.out.lines().count(), 102, "{}", ran.out);
}

#[test]
fn status_and_gc_notice_that_a_file_changed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "tiny.toml", &[]);
    good(run(folder, &RUN));
    assert_eq!(good(run(folder, &["status", "tiny.toml"])).err, "");
    write(folder, "tiny.toml", &[("seed = [0, 1]", "seed = [0, 1, 2]")]);
    let ran = good(run(folder, &["status", "tiny.toml"]));
    holds(&ran.err, &["note: 1 cell of the 3 of tiny.toml were not planned last"]);
    write(folder, "tiny.toml", &[("lr = 0.01", "lr = 0.02")]);
    for (args, word) in [(["status", "tiny.toml"], "note: "), (["gc", "tiny.toml"], "warning: ")] {
        let ran = good(run(folder, &args));
        let words = "tiny.toml has changed since it was planned: 2 runs of the last plan are no longer among its 2 cells";
        holds(&ran.err, &[&format!("{word}{words}")]);
    }
    std::fs::write(folder.join("tiny.toml"), TINY.replace("batch_size", "bacth_size")).unwrap();
    let ran = good(run(folder, &["status", "tiny.toml"]));
    holds(&ran.err, &["note: tiny.toml has mistakes that it did not have when it was planned"]);
}

#[test]
fn two_files_of_one_name() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "tiny.toml", &[]);
    good(run(folder, &RUN));
    write(folder, "other.toml", &[("lr = 0.01", "lr = 0.02")]);
    let ran = good(run(folder, &["run", "other.toml", "--device", "cpu"]));
    holds(&ran.err, &["warning: ", "tiny.toml has the name \"tiny\" too", "give one of them another name"]);
    let ran = good(run(folder, &["status", "tiny.toml"]));
    holds(&ran.err, &["note: the last plan of \"tiny\" was made from ", "other.toml, not from tiny.toml"]);
}

/// The earlier result is set aside, the new one has its bits, and the plan of the experiment stays.
/// A plan that cannot be read is no reason to refuse, but it is told.
#[test]
fn a_damaged_plan_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "tiny.toml", &[]);
    good(run(folder, &RUN));
    std::fs::write(folder.join("runs/tiny/plan.json"), "{ \"experiment\": ").unwrap();
    let ran = good(run(folder, &["plan", "tiny.toml"]));
    holds(&ran.err, &["note: ", "plan.json", "; its data digests are ignored"]);
    holds(&ran.out, &["tiny: 2 runs, 2 done"]);
}

#[test]
fn one_run_is_redone() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "tiny.toml", &[]);
    good(run(folder, &RUN));
    let before = results(&folder.join("runs"));
    let id = before.keys().next().unwrap();
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

    let ran = run(folder, &["redo", "0123456789abcdef"]);
    assert_eq!(ran.code, 2);
    holds(&ran.err, &["has a run 0123456789abcdef: `lrlab plan EXPERIMENT` lists the ids"]);
}

/// A store and its experiment, copied to a machine that has no data.
#[test]
fn without_the_data() {
    let here = tempfile::tempdir().unwrap();
    let reviews = here.path().join("aclImdb");
    for (part, class) in [("train", "neg"), ("train", "pos"), ("test", "neg"), ("test", "pos")] {
        let place = reviews.join(part).join(class);
        std::fs::create_dir_all(&place).unwrap();
        for i in 0..20 {
            std::fs::write(place.join(format!("{i}_1.txt")), format!("{class} film {i} of {part}")).unwrap();
        }
    }
    write(
        here.path(),
        "tiny.toml",
        &[
            ("network = { linear = {} }", "network = { bag_of_embeddings = { embedding = 4 } }"),
            ("synthetic_pictures = { train = 40, test = 10 }", "imdb = { folder = \"aclImdb\" }"),
        ],
    );
    good(run(here.path(), &RUN));

    let there = tempfile::tempdir().unwrap();
    let there = there.path();
    copy(&here.path().join("runs"), &there.join("runs"));
    std::fs::copy(here.path().join("tiny.toml"), there.join("tiny.toml")).unwrap();
    let note = "the data of imdb are not here, so their digest is that of the stored plan";
    let ran = good(run(there, &["plan", "tiny.toml"]));
    holds(&ran.out, &["tiny: 2 runs, 2 done"]);
    holds(&ran.err, &[note]);
    holds(&good(run(there, &["status", "tiny.toml", "--seeds", "1"])).err, &[note]);
    holds(&good(run(there, &["report", "tiny.toml"])).err, &[note]);
    assert!(there.join("runs/tiny/report/report.html").is_file());
    // What was never planned has no digest.
    let ran = run(there, &["plan", "tiny.toml", "--set", "data.pictures.split_seed=7"]);
    assert_eq!(ran.code, 2);
    holds(&ran.err, &["not found"]);
}

/// What a fresh installation offers in an empty folder.
#[test]
fn an_installed_program() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ran = good(run(folder, &["plan"]));
    holds(&ran.out, &["quickstart: 48 runs"]);
    let ran = good(run(folder, &["new", "deep/mine.toml"]));
    holds(&ran.out, &["`lrlab run deep/mine.toml` trains them"]);
    holds(&good(run(folder, &["plan", "deep/mine.toml"])).out, &["mine: 12 runs"]);
    let ran = run(folder, &["new", "deep/mine.toml"]);
    assert_eq!(ran.code, 2);
    holds(&ran.err, &["deep/mine.toml: the file already exists; choose another name"]);
    holds(&good(run(folder, &["completions", "bash"])).out, &["lr-find", "redo"]);
    good(run(folder, &["man", "--to", "man"]));
    for page in ["lrlab.1", "lrlab-run.1"] {
        let text = std::fs::read_to_string(folder.join("man").join(page)).unwrap();
        holds(&text, &[".TH"]);
    }
    let version = good(run(folder, &["--version"])).out;
    holds(&version, &["lrlab ", "\ncommit   ", "\nbuild    ", "\ncandle   0.", "\nfeatures hub"]);
    assert!(!version.contains("build    unknown"), "{version}");
}

/// What a run needs elsewhere lies beside its weights.
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
    }
}
