//! The report from end to end: user files in the same folder, diverged runs, similar names, tables for scripts, and
//! learning rates.

use std::path::Path;

use lrlab_tests::{Ran, TINY, runner};
use serde_json::Value;

const EXPERIMENT: &str = r#"name = "looks"
description = "Two networks of one name but for a sign, and a rate that kills."

[axes]
model = ["net_1", "net-1"]
schedule = ["fixed", "wild", "steps"]
monitor = ["off", "on"]
epochs = [3]
seed = [0, 1]

[defaults]
lr = 0.02
batch_size = 16
optimizer = { sgd = {} }

[models.net_1]
network = { lstm = { embedding = 8, hidden = 8 } }
data = "reviews"
[models.net-1]
network = { lstm = { embedding = 8, hidden = 12 } }
data = "reviews"

[data.reviews]
source = { synthetic_reviews = { train = 96, test = 32 } }
tokens = { vocabulary = 200, max_length = 16 }

[schedules.fixed]
static = {}
[schedules.wild]
scale = { by = 1e30, of = { static = {} } }
[schedules.steps]
multi_step = { milestones = ["7 updates"], gamma = 0.5 }
[monitors.on]
controller = { plateau = { factor = 0.5, patience = 0, threshold = 10.0 } }
"#;

/// Calls the runner in the user's folder.
fn call(folder: &Path, args: &[&str]) -> Ran {
    Ran::of(&runner(folder).args(args).output().unwrap())
}

fn column(csv: &str, name: &str) -> Vec<String> {
    let mut lines = csv.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let at = lines.next().unwrap().iter().position(|c| c == name).unwrap();
    lines.map(|line| line[at].clone()).collect()
}

#[test]
fn reports_show_diverged_runs_and_keep_user_files() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("looks.toml"), EXPERIMENT).unwrap();
    let ran = call(folder.path(), &["run", "looks.toml", "--device", "cpu", "--jobs", "2", "--threads", "1"]);
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);

    // The user's tables and figures.
    let mine = ["paper/tables/mine.csv", "paper/tables/mine.tex", "paper/figures/mine.svg"];
    for name in mine {
        std::fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
        std::fs::write(folder.path().join(name), "mine").unwrap();
    }
    for _ in 0..2 {
        let ran = call(folder.path(), &["report", "looks.toml", "--to", "paper"]);
        assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
        for name in mine {
            assert_eq!(std::fs::read_to_string(folder.path().join(name)).unwrap(), "mine", "{name}");
        }
    }
    std::fs::create_dir(folder.path().join("web")).unwrap();
    std::fs::write(folder.path().join("web/manifest.json"), "{}").unwrap();
    let refused = call(folder.path(), &["report", "looks.toml", "--to", "web"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(refused.err.contains("manifest.json would be overwritten"), "{}", refused.err);
    assert_eq!(std::fs::read_dir(folder.path().join("web")).unwrap().count(), 1);

    // Diverged runs are done, and counted.
    for verb in ["status", "plan"] {
        let ran = call(folder.path(), &[verb, "looks.toml"]);
        assert!(ran.out.contains("24 done (8 of them diverged)"), "{}", ran.out);
    }

    // They have no metrics.
    let read = |name: &str| std::fs::read_to_string(folder.path().join("paper").join(name)).unwrap();
    let results = read("tables/results.csv");
    let rows = column(&results, "schedule").into_iter().zip(column(&results, "runs_diverged")).zip(
        column(&results, "best_test_accuracy_n").into_iter().zip(column(&results, "final_val_loss_mean")),
    );
    let mut wild = 0;
    for ((schedule, diverged), (n, loss)) in rows {
        let expected = if schedule == "wild" { ["2", "0"] } else { ["0", "2"] };
        assert_eq!([diverged.as_str(), n.as_str()], expected, "{results}");
        assert_eq!(loss.is_empty(), schedule == "wild", "{results}");
        wild += usize::from(schedule == "wild");
    }
    assert_eq!(wild, 4);
    for name in ["seconds_mean", "updates_mean", "runs", "runs_planned"] {
        let values = column(&read("tables/cost.csv"), name);
        assert!(values.iter().all(|x| x.is_empty() || x.parse::<f64>().is_ok()), "{name}: {values:?}");
    }

    // Each network has a figure with its name.
    let page = read("report.md");
    for model in ["net_1", "net-1"] {
        let title = format!("Validation loss by epoch: {model}").replace('_', "\\_");
        let figures: Vec<&str> =
            page.lines().filter(|line| line.starts_with(&format!("![{title}"))).collect();
        let [line] = figures[..] else { panic!("{model}: {figures:?}") };
        let file = line.rsplit(['(', ')']).nth(1).unwrap();
        assert!(read(file).contains(&format!("<title>Validation loss by epoch: {model}")), "{file}");
    }

    // The rate of every update is known, so the lines have steps within epochs.
    let rates = page.lines().filter(|line| line.starts_with("![Learning rate"));
    let mut drawn = 0;
    for line in rates {
        let svg = read(line.rsplit(['(', ')']).nth(1).unwrap());
        let paths: Vec<[&str; 2]> = svg
            .split("<path class=\"")
            .skip(1)
            .map(|rest| [0, 2].map(|i| rest.split('"').nth(i).unwrap()))
            .collect();
        let marked = |class: &str| class.split(' ').any(|word| word.starts_with('f') || word == "hollow");
        assert!(!paths.iter().any(|[class, _]| marked(class)), "a rate is not known");
        let line = |class: &str| class.starts_with("l ") || class.starts_with("t ");
        drawn += paths.iter().filter(|[class, d]| line(class) && d.contains('v')).count();
    }
    assert!(drawn >= 6, "{drawn} lines with steps");
    let results = lrlab_tests::results(&folder.path().join("runs"));
    for result in results.values().filter(|result| result["outcome"] == "completed") {
        let per_epoch = result["updates"]["per_epoch"].as_u64().unwrap();
        assert_eq!(result["updates"]["made"], Value::from(3 * per_epoch));
    }
}

#[test]
fn several_experiments_share_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    std::fs::write(place.join("tiny.toml"), TINY).unwrap();
    let other = TINY.replace("\"tiny\"", "\"small\"").replace("lr = 0.01", "lr = 0.02");
    std::fs::write(place.join("small.toml"), &other).unwrap();
    for file in ["tiny.toml", "small.toml"] {
        assert_eq!(call(place, &["run", file, "--device", "cpu"]).code, 0, "{file}");
    }
    let ran = call(place, &["report", "tiny.toml", "small.toml"]);
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    assert!(ran.out.contains("report: runs/tiny+small/report/report.html"), "{}", ran.out);
    let read = |name: &str| std::fs::read_to_string(place.join("runs/tiny+small/report").join(name)).unwrap();
    assert_eq!(column(&read("tables/results.csv"), "experiment"), ["tiny", "small"]);
    assert_eq!(column(&read("tables/differences.csv"), "contrast"), ["experiment vs tiny"]);
    let page = read("report.html");
    assert!(page.contains("4 of 4 runs done") && page.contains("of small in a separate store"), "{page}");

    // Without claims there is nothing to check.
    for (args, files) in
        [(&["tiny.toml"][..], "tiny.toml"), (&["tiny.toml", "small.toml"], "tiny.toml, small.toml")]
    {
        let ran = call(place, &[&["report", "--check"], args].concat());
        let warning = format!("warning: --check has nothing to check: there are no [[claims]] in {files}\n");
        assert!(ran.code == 0 && ran.err.contains(&warning), "{}", ran.err);
        assert!(!call(place, &[&["report"], args].concat()).err.contains("claims"));
    }

    let check = |args: &[&str], expected: &str| {
        let ran = call(place, &[&["report"], args].concat());
        assert!(ran.code == 2 && ran.err.contains(expected), "{} {}", ran.code, ran.err);
    };
    check(&["tiny.toml", "tiny.toml"], "two experiments are named \"tiny\": expected different names");
    check(&["tiny.toml", "none.toml"], "none.toml");
    check(&["tiny.toml", "small.toml", "--run", "ab"], "cannot be used with");
}

/// Without data and records, all runs count as not run, and the page shows the command that starts them.
#[test]
fn reports_need_no_data() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    let source = "source = { cifar10 = { folder = \"nowhere\" } }";
    let text = TINY.replace("source = { synthetic_pictures = { train = 40, test = 10 } }", source);
    let claim = "[[claims]]\nid = \"half\"\ntext = \"Half is right\"\nmetric = \"final.val_accuracy\"\n\
                 where = { schedule = \"static\" }\ncompare = \">\"\nvalue = 0.5\n";
    std::fs::write(place.join("tiny.toml"), format!("{text}{claim}")).unwrap();
    let ran = call(place, &["report", "tiny.toml", "--check"]);
    assert_eq!(ran.code, 4, "{}\n{}", ran.out, ran.err);
    assert!(ran.err.contains("nowhere") && ran.err.contains("its runs count as not run"), "{}", ran.err);
    assert!(ran.out.contains("half: not run"), "{}", ran.out);
    let page = std::fs::read_to_string(place.join("runs/tiny/report/report.html")).unwrap();
    assert!(
        page.contains("The data of 2 of 2 runs is not available on this machine")
            && page.contains("tiny.toml"),
        "{page}"
    );
    assert!(!page.contains("id=\"run-"), "a run without its data has no id");
}
