//! Reports of runs on record, and the documents of an experiment.

use lrlab_tests::{TINY, results, run};
use serde_json::json;

use super::{fails, place, read, succeeds};

/// Runs on record do not need the data: their digest is used, as long as nothing is trained.
#[test]
fn reports_of_runs_on_record_need_no_data() {
    let folder = place(true);
    let folder = folder.path();
    let text = TINY.replace(
        "source = { synthetic_pictures = { train = 40, test = 10 } }",
        "source = { cifar10 = { folder = \"nowhere\" } }",
    );
    std::fs::write(folder.join("cifar.toml"), &text).unwrap();
    let experiment = lrlab_spec::read(&text, "cifar.toml", &[], &lrlab_spec::Catalog::default()).unwrap();
    let mut record = results(&folder.join("runs")).into_values().next().unwrap();
    record["provenance"]["dataset_digest"] = "made up".into();
    let lines = experiment.cells(&[], None).unwrap().into_iter().map(|(cell, mut spec)| {
        record["run_id"] = lrlab_spec::run_id(&spec, "made up").unwrap().to_string().into();
        // The folder of the files on the machine that trained.
        if let lrlab_config::Source::Cifar10(files) = &mut spec.data.source {
            files.folder = Some("/elsewhere".into());
        }
        record["cell"] = json!(cell);
        record["spec"] = json!(spec);
        format!("{record}\n")
    });
    std::fs::write(folder.join("cifar.jsonl"), lines.collect::<String>()).unwrap();
    fails(folder, &["run", "cifar.toml", "--device", "cpu"], "nowhere/data_batch_1.bin: not found");
    let ran = succeeds(folder, &["report", "cifar.toml", "--out", "none"]);
    assert!(ran.err.contains("nowhere/data_batch_1.bin: not found") && ran.err.contains("count as not run"));
    assert!(ran.out.contains("0 of 2 runs done; 2 missing"), "{}", ran.out);
    let args = ["report", "cifar.toml", "--records", "cifar.jsonl", "--out", "empty"];
    succeeds(folder, &args);
    assert!(read(folder, "empty/tiny/report/report.md").contains("(digest made up…)"));
    assert!(!folder.join("empty/store").exists());
    let ran = succeeds(
        folder,
        &["run", "cifar.toml", "--records", "cifar.jsonl", "--out", "full", "--device", "cpu"],
    );
    assert!(ran.out.contains("2 of 2 runs are done (0 in this call)"), "{}", ran.out);
    // Runs that cannot be redone on this machine are not a difference.
    let ran = run(folder, &["verify", "--records", "cifar.jsonl", "--device", "cpu"]);
    assert!(ran.code == 2 && ran.out.matches("cannot be verified: failed to read its data: ").count() == 2);
}

/// `results/tiny/*.jsonl` beside `tiny.toml` are used without an option, and neither store nor data are needed.
#[test]
fn records_beside_an_experiment_are_used_by_default() {
    let (here, there) = (place(true), place(false));
    let (here, there) = (here.path(), there.path());
    succeeds(here, &["records", "export", "tiny.toml", "--to", "one.jsonl", "--seeds", "1"]);
    std::fs::create_dir_all(there.join("results/tiny")).unwrap();
    // A folder without records has no effect.
    std::fs::write(there.join("results/tiny/results.csv"), "").unwrap();
    let ran = succeeds(there, &["plan", "tiny.toml"]);
    assert!(ran.out.contains("2 missing") && !ran.err.contains("on record"), "{}{}", ran.out, ran.err);
    std::fs::copy(here.join("one.jsonl"), there.join("results/tiny/part.jsonl")).unwrap();

    let ran = succeeds(there, &["plan", "tiny.toml"]);
    assert!(
        ran.out.contains("1 done") && ran.err.contains("tiny: 1 of 2 runs are on record"),
        "{}{}",
        ran.out,
        ran.err
    );
    let ran = succeeds(there, &["report", "tiny.toml", "--no-records", "--out", "rusn"]);
    let words = "warning: rusn: no such folder, and no run is on record: all runs count as missing";
    assert!(ran.err.contains(words), "{}", ran.err);
    std::fs::remove_dir_all(there.join("rusn")).unwrap();
    let ran = succeeds(there, &["plan", "tiny.toml", "--no-records"]);
    assert!(ran.out.contains("2 missing"), "{}", ran.out);
    let ran = succeeds(there, &["verify", "tiny.toml", "--device", "cpu"]);
    assert!(
        ran.out.contains("1 of 1") && ran.err.contains("those on record in results/tiny"),
        "{}{}",
        ran.out,
        ran.err
    );
    let ran = succeeds(there, &["status", "tiny.toml"]);
    assert!(ran.out.contains("1 done"), "{}", ran.out);
    let ran = succeeds(there, &["report", "tiny.toml", "--to", "made"]);
    assert!(ran.err.contains("1 of 2 runs are on record"), "{}", ran.err);
    assert!(!there.join("runs/store").exists(), "a report leaves the store alone");
    let ran = succeeds(there, &["run", "tiny.toml", "--device", "cpu", "--threads", "1"]);
    assert!(ran.out.contains("2 of 2 runs are done (1 in this call)"), "{}", ran.out);
    let both = ["--records", "one.jsonl", "--no-records"];
    let ran = run(here, &[&["plan", "tiny.toml"][..], &both].concat());
    assert!(ran.code == 2 && ran.err.contains("cannot be used with '--no-records'"), "{}", ran.err);
}

/// Records are found beside the file that a link refers to, and empty files beside them do not matter.
#[cfg(unix)]
#[test]
fn records_beside_a_linked_experiment_are_found() {
    let folder = place(true);
    let folder = folder.path();
    succeeds(folder, &["records", "export", "tiny.toml", "--to", "results/tiny/runs.jsonl"]);
    std::fs::write(folder.join("results/tiny/all.jsonl"), "\n").unwrap();
    std::fs::create_dir(folder.join("links")).unwrap();
    std::os::unix::fs::symlink(folder.join("tiny.toml"), folder.join("links/tiny.toml")).unwrap();
    let ran = succeeds(folder, &["plan", "links/tiny.toml", "--out", "other"]);
    assert!(ran.out.contains("tiny: 2 runs, 2 done"), "{}", ran.out);
    let merge = ["records", "merge", "results/tiny", "--to", "results/tiny/all.jsonl"];
    assert_eq!(succeeds(folder, &merge).out, "2 runs in results/tiny/all.jsonl\n");
}

/// A link to an experiment has its documents beside the file that it refers to.
#[cfg(unix)]
#[test]
fn documents_of_a_linked_experiment_are_found() {
    let folder = place(false);
    let folder = folder.path();
    std::fs::write(folder.join("note.md.jinja"), "{{ counts.done }} runs\n").unwrap();
    std::fs::write(folder.join("tiny.toml"), format!("{TINY}[report]\ndocuments = [\"note.md.jinja\"]\n"))
        .unwrap();
    std::fs::create_dir(folder.join("links")).unwrap();
    std::os::unix::fs::symlink(folder.join("tiny.toml"), folder.join("links/tiny.toml")).unwrap();
    succeeds(folder, &["run", "links/tiny.toml", "--device", "cpu", "--threads", "1"]);
    assert_eq!(read(folder, "runs/tiny/report/note.md"), "2 runs\n");
    // One beside the link comes first.
    std::fs::write(folder.join("links/note.md.jinja"), "linked\n").unwrap();
    succeeds(folder, &["report", "links/tiny.toml"]);
    assert_eq!(read(folder, "runs/tiny/report/note.md"), "linked\n");
}

/// The numbers of an experiment's document come from the runs.
#[test]
fn reports_render_the_documents_of_the_experiment() {
    let folder = place(false);
    let folder = folder.path();
    let with = |documents: &str| format!("{TINY}[report]\ndocuments = {documents}\n");
    std::fs::create_dir(folder.join("paper")).unwrap();
    // A byte-order mark is not part of the text.
    let template = "\u{feff}{{ experiment }}: {{ estimate(\"final.val_accuracy\") }}\n";
    std::fs::write(folder.join("paper/paper.md.jinja"), template).unwrap();
    std::fs::write(folder.join("tiny.toml"), with("[\"paper/paper.md.jinja\"]")).unwrap();
    succeeds(folder, &["run", "tiny.toml", "--device", "cpu", "--threads", "1"]);
    let made = read(folder, "runs/tiny/report/paper.md");
    assert!(made.starts_with("tiny: ") && made.ends_with(" % (n = 2)\n"), "{made}");
    let ran = succeeds(folder, &["report", "tiny.toml", "--to", "made"]);
    assert!(ran.out.contains("document: made/paper.md\n"), "{}", ran.out);
    assert_eq!(read(folder, "made/paper.md"), made);

    std::fs::write(folder.join("paper/paper.md.jinja"), "one\n{{ estimate(\"final.val_acuracy\") }}\n")
        .unwrap();
    let ran = run(folder, &["report", "tiny.toml", "--to", "made"]);
    assert!(
        ran.code == 1 && ran.err.contains("paper.md.jinja:2: unknown metric \"final.val_acuracy\""),
        "{}",
        ran.err
    );
    assert!(!folder.join("made/paper.md").exists(), "the document of the report before is gone");
    assert!(read(folder, "made/report.md").contains("tiny"), "the rest of the report is written");
    for (documents, expected) in [
        ("[\"paper.md\"]", "`paper.md` does not end in `.jinja`"),
        ("[\"../paper.md.jinja\"]", "`../paper.md.jinja` leads out of the experiment's folder"),
        ("[\"page.HTML.jinja\"]", "`page.HTML.jinja` renders to a language without escapes"),
        ("[\"report.md.jinja\"]", "the report has its own file `report.md`"),
        ("[\"a/x.md.jinja\", \"b/x.md.jinja\"]", "two templates render to `x.md`"),
    ] {
        std::fs::write(folder.join("tiny.toml"), with(documents)).unwrap();
        fails(folder, &["report", "tiny.toml", "--to", "other"], expected);
    }
    std::fs::write(folder.join("tiny.toml"), with("[\"paper/none.md.jinja\"]")).unwrap();
    fails(folder, &["run", "tiny.toml", "--out", "other"], "paper/none.md.jinja");
    std::fs::write(folder.join("paper/none.md.jinja"), "{% for run in runs() %}\n").unwrap();
    fails(folder, &["run", "tiny.toml", "--out", "other"], "none.md.jinja:1: ");
    fails(folder, &["plan", "tiny.toml", "--out", "other"], "none.md.jinja:1: ");
    std::fs::write(folder.join("paper/none.md.jinja"), "\n{{ experimnt }}\n").unwrap();
    let expected = "none.md.jinja:2: unknown name `experimnt`: did you mean `experiment`?";
    fails(folder, &["run", "tiny.toml", "--out", "other"], expected);
    // One error has the mistakes of all documents.
    std::fs::write(folder.join("paper/more.md.jinja"), "{{ nothing }}\n").unwrap();
    let documents = with("[\"paper/none.md.jinja\", \"paper/more.md.jinja\"]");
    std::fs::write(folder.join("tiny.toml"), documents).unwrap();
    fails(folder, &["run", "tiny.toml", "--out", "other"], expected);
    fails(folder, &["run", "tiny.toml", "--out", "other"], "more.md.jinja:1: unknown name `nothing`");
}

/// A document describes the whole experiment, so that it may refer to runs that a selection leaves out.
#[test]
fn a_report_of_a_part_leaves_out_documents_about_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let experiment = TINY.replace("[\"static\"]", "[\"static\", \"late\"]")
        + "[schedules.late]\nstep = { step_size = \"50%\", gamma = 0.1 }\n\n"
        + "[report]\ndocuments = [\"late.md.jinja\", \"all.md.jinja\"]\n";
    std::fs::write(folder.join("tiny.toml"), experiment).unwrap();
    std::fs::write(folder.join("late.md.jinja"), "{{ estimate(\"final.val_loss\", schedule=\"late\") }}\n")
        .unwrap();
    std::fs::write(folder.join("all.md.jinja"), "{{ arms() | length }}\n").unwrap();
    succeeds(folder, &["report", "tiny.toml", "--to", "made"]);
    assert_eq!(
        (read(folder, "made/late.md"), read(folder, "made/all.md")),
        ("not run\n".into(), "2\n".into())
    );

    let ran = succeeds(folder, &["report", "tiny.toml", "--filter", "schedule=static", "--to", "made"]);
    let warning =
        "warning: late.md.jinja:1: no arm has schedule = late; this report of a part of the experiment";
    assert!(ran.err.contains(warning), "{}", ran.err);
    let covered = "This report covers only the runs that `--filter schedule=static` selects.";
    assert!(ran.err.contains(covered) && read(folder, "made/report.md").contains(covered), "{}", ran.err);
    assert!(!folder.join("made/late.md").exists(), "the document of the earlier report is gone");
    assert_eq!(read(folder, "made/all.md"), "1\n");

    let part = ["run", "tiny.toml", "--device", "cpu", "--threads", "1", "--filter", "schedule=static"];
    let ran = succeeds(folder, &part);
    assert!(ran.err.contains(warning) && !ran.err.contains("error"), "{}", ran.err);
    assert!(read(folder, "runs/tiny/report/report.md").contains(covered));
    assert_eq!(read(folder, "runs/tiny/report/all.md"), "1\n");
}

/// A grid of another experiment in the same store does not hide the runs on record.
#[test]
fn runs_on_record_are_verified_beside_other_experiments() {
    let here = place(true);
    let here = here.path();
    succeeds(here, &["records", "export", "tiny.toml", "--to", "results/tiny/runs.jsonl"]);
    std::fs::write(here.join("other.toml"), TINY.replace("\"tiny\"", "\"other\"").replace("0.01", "0.02"))
        .unwrap();
    let verify = ["verify", "tiny.toml", "--device", "cpu", "--out", "store"];
    succeeds(here, &["run", "other.toml", "--device", "cpu", "--out", "store"]);
    let ran = succeeds(here, &verify);
    let words = "note: store has no finished run of tiny.toml: those on record in results/tiny are verified";
    assert!(
        ran.err.contains(words) && ran.out.contains("2 of 2 runs are identical"),
        "{}{}",
        ran.out,
        ran.err
    );
}

/// Two files of one folder cannot have different results of a run.
#[test]
fn an_export_does_not_contradict_the_records_beside_it() {
    let here = place(true);
    let here = here.path();
    succeeds(here, &["records", "export", "tiny.toml", "--to", "results/tiny/first.jsonl"]);
    let first = here.join("results/tiny/first.jsonl");
    let text = read(here, "results/tiny/first.jsonl").replacen("\"val_loss\":", "\"val_loss\":1", 1);
    std::fs::write(&first, text).unwrap();
    let export = ["records", "export", "tiny.toml", "--to"];
    fails(here, &[&export[..], &["results/tiny/second.jsonl"]].concat(), ", or export to another folder");
    assert!(!here.join("results/tiny/second.jsonl").exists());
    succeeds(here, &[&export[..], &["elsewhere.jsonl"]].concat());
}
