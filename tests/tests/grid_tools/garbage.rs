//! Garbage collection, and what it shares with `status`.

use super::*;

#[test]
fn garbage_is_listed_before_it_is_removed() {
    let place = Place::new();
    assert_eq!(place.call("run", &[]).code, 0);
    // A selection of the experiment makes no garbage; a changed value does.
    assert_eq!(place.json("status", &[])["further"]["runs"], 0);
    assert_eq!(place.call("run", &["--seeds", "1"]).code, 0);
    let part = place.json("status", &[]);
    assert_eq!((&part["status"]["total"], &part["further"]["done"]), (&1.into(), &1.into()), "{part:#}");
    let ran = place.call("status", &[]);
    assert!(ran.out.contains("1 other run of the experiment (1 done)"), "{}", ran.out);
    assert_eq!(place.json("gc", &[])["garbage"], serde_json::json!([]));
    for args in [&["gc", "--out", "rusn"][..], &["gc", "tiny.toml", "--out", "rusn/deep", "--yes"]] {
        let nowhere = run(place.folder.path(), args);
        assert!(
            nowhere.code == 2 && nowhere.err.contains("no such folder: expected a store"),
            "{}",
            nowhere.err
        );
    }
    let other = run(place.folder.path(), &["gc", "--out", "."]);
    assert!(other.code == 2 && other.err.contains("not a store, it has no folder `store`"), "{}", other.err);
    let text = TINY.replace("lr = 0.01", "lr = 0.02");
    std::fs::write(&place.experiment, text).unwrap();
    let ran = place.call("run", &[]);
    let words = "note: 2 finished runs of earlier calls of tiny are not among its current ones: `lrlab gc` lists them";
    assert!(ran.code == 0 && ran.err.contains(words), "{}", ran.err);
    let shown = place.json("gc", &[]);
    assert_eq!((shown["garbage"].as_array().unwrap().len(), &shown["removed"]), (2, &0.into()), "{shown}");
    assert_eq!(place.results().len(), 4);
    assert_eq!(place.json("gc", &["--yes"])["removed"], 2);
    assert_eq!((place.results().len(), place.json("status", &[])["status"]["done"].as_u64()), (2, Some(2)));
}

/// A damaged list of an experiment's runs is rebuilt and removes nothing.
#[test]
fn a_damaged_list_of_runs_is_rebuilt() {
    let place = Place::new();
    assert_eq!(place.call("run", &[]).code, 0);
    std::fs::write(&place.experiment, TINY.replace("\"tiny\"", "\"other\"").replace("0.01", "0.02")).unwrap();
    assert_eq!(place.call("run", &[]).code, 0);
    std::fs::write(&place.experiment, TINY).unwrap();
    let list = place.out.join("tiny/named.json");
    let whole = std::fs::read(&list).unwrap();
    for damaged in [&whole[..whole.len() / 2], b""] {
        assert_eq!(place.call("run", &["--seeds", "1"]).code, 0);
        std::fs::write(&list, damaged).unwrap();
        for verb in ["gc", "status", "plan", "report"] {
            let ran = place.call(verb, &[]);
            assert_eq!(ran.code, 0, "{verb}: {}", ran.err);
            let printed = ran.err.matches("warning: runs/tiny/named.json: damaged (EOF").count();
            assert_eq!(printed == 1, matches!(verb, "gc" | "status"), "{verb}: {}", ran.err);
        }
        assert_eq!(place.json("gc", &["--yes"])["removed"], 0);
        assert_eq!(place.json("status", &[])["further"]["runs"], 1);
        let ran = place.call("run", &["--seeds", "1"]);
        assert!(ran.code == 0 && ran.err.contains("moved to runs/tiny/named.json.damaged"), "{}", ran.err);
        assert_eq!(std::fs::read(&list).unwrap(), whole);
        assert_eq!(std::fs::read(list.with_extension("json.damaged")).unwrap(), damaged);
        let again = place.call("run", &[]);
        assert!(again.code == 0 && !again.err.contains("damaged"), "{}", again.err);
        assert_eq!((place.json("gc", &["--yes"])["removed"].clone(), place.results().len()), (0.into(), 4));
    }
}

/// Every command that reads an experiment accepts the same selection.
#[test]
fn status_and_gc_accept_a_selection() {
    let place = Place::new();
    for rate in ["0.02", "0.03"] {
        assert_eq!(place.call("run", &["--set", &format!("defaults.lr={rate}")]).code, 0);
    }
    let ids = |rate: &str, more: &[&str]| -> Vec<String> {
        let set = format!("defaults.lr={rate}");
        let status = place.json("status", &[&["--set", &set], more].concat());
        let runs = status["runs"].as_array().unwrap();
        runs.iter().map(|run| run["run_id"].as_str().unwrap().to_owned()).collect()
    };
    let (second, third) = (ids("0.02", &[]), ids("0.03", &[]));
    assert_eq!((second.len(), third.len(), ids("0.04", &[]).len()), (2, 2, 2));
    assert_ne!(second, third);
    assert_eq!(ids("0.02", &["--seeds", "1"]), second[..1]);
    assert_eq!(ids("0.02", &["--filter", "seed=1"]), second[1..]);
    assert_eq!(ids("0.02", &["--run", &second[1][..9]]), second[1..]);
    let done = |rate: &str| {
        place.json("status", &["--set", &format!("defaults.lr={rate}")])["status"]["done"].clone()
    };
    assert_eq!((done("0.02"), done("0.03"), done("0.04")), (2.into(), 2.into(), 0.into()));
    let printed = place.call("status", &["--set", "defaults.lr=0.02", "--seeds", "1"]);
    assert!(
        printed.code == 0 && printed.out.contains("tiny: 1 run, 1 done"),
        "{}{}",
        printed.out,
        printed.err
    );
    assert!(
        printed.out.contains("earlier calls planned 3 other runs of the experiment (3 done)"),
        "{}",
        printed.out
    );

    // With a named experiment, gc keeps only its current runs that match the options, and removes nothing without
    // --yes.
    let gc = |more: &[&str]| {
        let ran = run(place.folder.path(), &[&["gc", "--json"], more].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        let found: Value = serde_json::from_str(&ran.out).unwrap();
        let name = |item: &Value| item["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        let mut names: Vec<String> = found["garbage"].as_array().unwrap().iter().map(name).collect();
        names.sort();
        names
    };
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(gc(&[]), [""; 0]);
    assert_eq!(gc(&["tiny.toml", "--set", "defaults.lr=0.03"]), sorted(second.clone()));
    let part = ["tiny.toml", "--set", "defaults.lr=0.03", "--filter", "seed=0"];
    assert_eq!(gc(&part), sorted([&second[..], &third[1..]].concat()));
    assert_eq!((gc(&["tiny.toml"]).len(), place.results().len()), (4, 4));
    let missing = run(place.folder.path(), &["gc", "--seeds", "1"]);
    assert!(missing.code == 2 && missing.err.contains("require an experiment file"), "{}", missing.err);
    assert_eq!(gc(&[&part[..3], &["--yes"]].concat()), sorted(second));
    assert_eq!(
        (place.results().len(), gc(&[]).len(), place.json("status", &[])["status"]["done"].clone()),
        (2, 0, 2.into())
    );

    // Selected runs are kept, with --run too; the output before the removal and the help say so.
    let one = ["gc", "tiny.toml", "--set", "defaults.lr=0.03", "--run", &third[0][..9]];
    let shown = run(place.folder.path(), &one);
    assert!(
        shown.out.contains(
            "tiny keeps 1 selected run; 1 other run of this experiment and 0 runs that belong to no experiment can be removed"
        ),
        "{}",
        shown.out
    );
    assert!(shown.out.contains(&third[1]) && !shown.out.contains(&third[0]), "{}", shown.out);
    assert!(shown.out.contains("1 item, ") && shown.out.contains("--yes removes them"), "{}", shown.out);
    assert_eq!(place.results().len(), 2);
    let help = run(place.folder.path(), &["gc", "--help"]).out;
    assert!(help.contains("Runs of EXPERIMENT to keep (its other runs are removed):\n      --set"), "{help}");
    let gone = run(place.folder.path(), &[&one[..], &["--yes"]].concat());
    assert!(gone.code == 0 && gone.out.contains("1 of 1 removed"), "{}{}", gone.out, gone.err);
    let left = place.results();
    assert!(left.len() == 1 && left[0].to_string_lossy().contains(&third[0]), "{left:?}");

    for command in ["status", "gc", "plan", "report", "lr-find"] {
        let ran = run(place.folder.path(), &[command, "tiny.toml", "--filter", "modle=linear"]);
        assert!(ran.code == 2 && ran.err.contains("did you mean `model`?"), "{command}: {}", ran.err);
        let ran = run(place.folder.path(), &[command, "tiny.toml", "--seeds", "3"]);
        assert!(ran.code == 2 && ran.err.contains("the experiment has 2 seeds"), "{command}: {}", ran.err);
        let ran = run(place.folder.path(), &[command, "tiny.toml", "--set", "defaults.lrr=1"]);
        assert!(ran.code == 2 && ran.err.contains("did you mean `lr`?"), "{command}: {}", ran.err);
    }
}
