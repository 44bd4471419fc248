use lrlab_runs::{Fingerprint, Step, settle_penultimate, write_penultimate};
use lrlab_spec::RunSpec;
use serde_json::json;

use super::*;

const STATES: States<'static> =
    States { read: &|run| serde::Deserialize::deserialize(&*run.spec).ok(), all: false };

fn plan(experiment: &str, runs: &[&RunId]) -> Plan {
    let run = |id: &&RunId| PlannedRun {
        run_id: (*id).clone(),
        cell: [].into(),
        spec: serde_json::json!({}).into(),
        dataset_digest: String::new(),
    };
    Plan {
        experiment: experiment.to_owned(),
        description: String::new(),
        runs: runs.iter().map(run).collect(),
        ..Plan::default()
    }
}

fn age(path: &Path) {
    let before = std::time::SystemTime::now() - crate::stale::STALE_AFTER * 2;
    std::fs::File::open(path).unwrap().set_modified(before).unwrap();
}

#[test]
fn stale_temporary_files_of_unowned_runs_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = RunStore::new(folder.path());
    let ids: Vec<RunId> = (0..3).map(|n| RunId::of(&n.to_string(), "")).collect();
    let plan = plan("e", &ids.iter().collect::<Vec<_>>());
    store.write_plan(&plan).unwrap();
    // 0 is done, after an attempt that was killed; 1 is being worked on; 2 was left by a process that died.
    let claimed = |id, number| match Attempt::claim(&store.run_dir(id), number).unwrap() {
        Acquired::Attempt(attempt) => attempt,
        Acquired::Taken => unreachable!(),
    };
    claimed(&ids[0], 1).end(crate::Ending::Done).unwrap();
    claimed(&ids[2], 1).end(crate::Ending::Interrupted).unwrap();
    let held = claimed(&ids[1], 1);
    std::fs::write(store.run_dir(&ids[0]).join("result.json"), "{}").unwrap();
    let mut stale = Vec::new();
    let mut leave = |path: PathBuf, old: bool| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "12").unwrap();
        if old {
            age(&path);
            stale.push(path);
        }
    };
    let run = |n: usize, name: &str| store.run_dir(&ids[n]).join(name);
    leave(run(0, "attempts/1/best.safetensors"), true);
    leave(run(0, "attempts/1/epoch-0003.safetensors"), true);
    leave(run(2, "attempts/1/.progress.tmp"), true);
    leave(folder.path().join("bin/0123/.lrlab.7.tmp"), true);
    leave(folder.path().join("e/report/.abc.tmp"), true);
    // Recent, in use, or complete.
    leave(run(2, ".spec.7.tmp"), false);
    leave(run(2, "attempts/1/best.safetensors"), false);
    leave(run(1, "attempts/1/.progress.tmp"), false);
    age(&run(1, "attempts/1/.progress.tmp"));
    age(&run(2, "attempts/1/best.safetensors"));
    // A checkpoint is a folder; one of its files was written a moment ago.
    for (name, old) in [(".a.tmp", true), (".b.tmp", false)] {
        let checkpoint = run(2, "attempts/1/checkpoints").join(name);
        leave(checkpoint.join("state.json"), false);
        if old {
            age(&checkpoint.join("state.json"));
        }
        age(&checkpoint);
    }
    stale.push(run(2, "attempts/1/checkpoints/.a.tmp"));
    stale.sort();

    let found = garbage(&store, None, STATES).unwrap();
    let mut paths: Vec<_> = found.iter().map(|item| item.path.clone()).collect();
    paths.sort();
    assert_eq!(paths, stale);
    assert!(found.iter().all(|item| item.kind == Kind::Temporary && item.bytes >= 2));
    // A file that is modified between listing and removal is kept.
    std::fs::write(run(0, "attempts/1/best.safetensors"), "3").unwrap();
    assert_eq!(collect(&store, &found, STATES).unwrap(), stale.len() - 1);
    assert_eq!(garbage(&store, None, STATES).unwrap(), []);
    drop(held);
    assert_eq!(garbage(&store, None, STATES).unwrap().len(), 1, "the run no longer has an owner");
}

#[test]
fn only_unreferenced_and_unused_files_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = RunStore::new(folder.path());
    let ids: Vec<RunId> = (0..6).map(|n| RunId::of(&n.to_string(), "")).collect();
    for id in &ids {
        std::fs::create_dir_all(store.run_dir(id)).unwrap();
        std::fs::write(store.run_dir(id).join("result.json"), "{}").unwrap();
    }
    // The complete plan was 0 and 1, then a partial plan added 2, then a partial plan is 0 alone; 3 belongs to
    // another experiment; 4 has an owner; 5 is garbage.
    for (runs, only) in [(&[&ids[0], &ids[1]][..], true), (&[&ids[2]], false), (&[&ids[0]], false)] {
        let plan = plan("e", runs);
        store.write_plan(&plan).unwrap();
        add_referenced(&store, &plan, only).unwrap();
    }
    store.write_plan(&plan("f", &[&ids[3]])).unwrap();
    let Acquired::Attempt(held) = Attempt::claim(&store.run_dir(&ids[4]), 1).unwrap() else { unreachable!() };
    std::fs::create_dir_all(folder.path().join("bin/0123")).unwrap();
    // The runner may just have been copied.
    assert_eq!(garbage(&store, None, STATES).unwrap().len(), 1);
    age(&folder.path().join("bin/0123"));

    let found = garbage(&store, None, STATES).unwrap();
    let paths: Vec<_> = found.iter().map(|item| item.path.clone()).collect();
    assert_eq!(paths, [store.run_dir(&ids[5]), folder.path().join("bin/0123")]);
    assert!(found[0].done && found[0].bytes == 2);

    // A run that is referenced between listing and removal is kept.
    store.write_plan(&plan("g", &[&ids[5]])).unwrap();
    assert_eq!(collect(&store, &found, STATES).unwrap(), 1);
    assert!(store.is_done(&ids[5]));
    std::fs::remove_dir_all(folder.path().join("g")).unwrap();
    assert_eq!(collect(&store, &garbage(&store, None, STATES).unwrap(), STATES).unwrap(), 1);
    assert!(!store.run_dir(&ids[5]).exists());
    drop(held);
    // The whole experiment is 0 now.
    add_referenced(&store, &plan("e", &[&ids[0]]), true).unwrap();
    assert_eq!(collect(&store, &garbage(&store, None, STATES).unwrap(), STATES).unwrap(), 3);
    let left = folders(&folder.path().join("store")).unwrap();
    assert_eq!(left.len(), 2);
}

/// A run of `epochs` epochs at this rate.
fn planned(lr: f64, epochs: usize) -> PlannedRun {
    let spec = json!({
        "model": { "resnet": { "depth": 8 } },
        "data": {
            "source": { "synthetic_pictures": { "train": 640 } },
            "split_seed": 0, "validation": null, "limit": {}, "pin_digest": null, "augment": {}, "tokens": {},
        },
        "optimizer": { "sgd": {} }, "lr": lr, "schedule": { "static": {} },
        "lr_min": 0.0, "lr_max": null, "monitor": null, "early_stopping": null,
        "epochs": epochs, "batch_size": 32, "accumulate": 1, "clip_norm": null, "label_smoothing": 0.0,
        "select": "val_accuracy", "seed": 3,
    });
    let spec: RunSpec = serde_json::from_value(spec).unwrap();
    let spec = serde_json::to_value(&spec).unwrap();
    let run_id = RunId::of(&spec.to_string(), "d");
    PlannedRun { run_id, cell: [].into(), spec: spec.into(), dataset_digest: "d".to_owned() }
}

#[test]
fn the_runs_of_an_experiment_without_a_stored_plan_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = RunStore::new(folder.path());
    let ids: Vec<RunId> = (0..3).map(|n| RunId::of(&n.to_string(), "")).collect();
    for id in &ids {
        std::fs::create_dir_all(store.run_dir(id)).unwrap();
        std::fs::write(store.run_dir(id).join("result.json"), "{}").unwrap();
    }
    // The runs of `a` were imported, so that the store has only the plan of `b`.
    store.write_plan(&plan("b", &[&ids[1]])).unwrap();
    let found = garbage(&store, Some(&plan("a", &[&ids[0]])), STATES).unwrap();
    assert_eq!(found.iter().map(|item| item.path.clone()).collect::<Vec<_>>(), [store.run_dir(&ids[2])]);
}

#[test]
fn states_that_no_planned_run_continues_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = RunStore::new(folder.path());
    let write = |experiment: &str, runs: &[&PlannedRun]| {
        let runs = runs.iter().map(|run| (*run).clone()).collect();
        let plan = Plan { experiment: experiment.to_owned(), runs, ..Plan::default() };
        store.write_plan(&plan).unwrap();
        add_referenced(&store, &plan, true).unwrap();
        plan
    };
    let finish = |run: &PlannedRun, kept_for| {
        let run_dir = store.run_dir(&run.run_id);
        std::fs::create_dir_all(&run_dir).unwrap();
        std::fs::write(run_dir.join("spec.json"), serde_json::to_vec(run).unwrap()).unwrap();
        std::fs::write(run_dir.join("result.json"), "{}").unwrap();
        let fingerprint =
            Fingerprint { run_id: run.run_id.clone(), numerics: String::new(), build: String::new() };
        write_penultimate(&run_dir, 1, &fingerprint, Step { update: 1, epoch: 1 }, &[]).unwrap();
        settle_penultimate(&run_dir, Some(kept_for)).unwrap();
        run_dir.join("penultimate")
    };
    let (short, long, longer) = (planned(0.1, 2), planned(0.1, 4), planned(0.1, 6));
    let (other, alone) = (planned(0.2, 2), planned(0.3, 2));
    write("one", &[&short, &other, &alone, &long]);
    write("two", &[&short, &longer]);
    let states =
        [finish(&short, KeptFor::Plan), finish(&other, KeptFor::Plan), finish(&alone, KeptFor::Later)];
    let all = States { all: true, ..STATES };
    let found = |states| -> Vec<PathBuf> {
        let found = garbage(&store, None, states).unwrap();
        assert!(found.iter().all(|item| item.kind == Kind::State && item.bytes > 0));
        let mut found: Vec<_> = found.into_iter().map(|item| item.path).collect();
        found.sort();
        found
    };
    let sorted = |mut paths: Vec<PathBuf>| {
        paths.sort();
        paths
    };
    assert_eq!(
        found(STATES),
        [states[1].clone()],
        "two runs continue the first, and --keep all kept the last"
    );
    assert_eq!(found(all), sorted(vec![states[1].clone(), states[2].clone()]));

    // A run outside the last plan of its experiment may continue any state while its specification is damaged.
    let damaged = planned(0.4, 4);
    let third = write("three", &[&alone, &damaged]);
    store.write_plan(&Plan { runs: vec![alone.clone()], ..third }).unwrap();
    let run_dir = store.run_dir(&damaged.run_id);
    std::fs::create_dir_all(&run_dir).unwrap();
    std::fs::write(run_dir.join("spec.json"), "{").unwrap();
    assert!(found(all).is_empty());
    std::fs::write(run_dir.join("spec.json"), serde_json::to_vec(&damaged).unwrap()).unwrap();
    assert_eq!(found(STATES), [states[1].clone()]);
    write("three", &[&alone]);
    std::fs::remove_dir_all(run_dir).unwrap();

    // The longer run of one experiment is dropped; that of the other needs the state.
    let without = write("one", &[&short, &other, &alone]);
    assert_eq!(found(STATES), [states[1].clone()]);
    // A selection of the other one would drop it, but nothing else.
    let selected = Plan { runs: vec![short.clone()], ..store.plan("two").unwrap().unwrap() };
    let listed = garbage(&store, Some(&selected), STATES).unwrap();
    assert_eq!(listed.len(), 2);
    // It is needed again before it is removed.
    assert_eq!(collect(&store, &listed, STATES).unwrap(), 1);
    assert!(states[0].is_dir() && !states[1].exists() && states[2].is_dir());

    write("two", &[&short]);
    assert_eq!(found(STATES), [states[0].clone()]);
    // A run of a process is left alone.
    let Acquired::Attempt(held) = Attempt::claim(&store.run_dir(&short.run_id), 1).unwrap() else {
        unreachable!()
    };
    assert_eq!(found(all), [states[2].clone()]);
    drop(held);
    assert_eq!(collect(&store, &garbage(&store, None, all).unwrap(), all).unwrap(), 2);
    assert!(states.iter().all(|state| !state.exists()));
    assert!(without.runs.iter().all(|run| store.is_done(&run.run_id)));
}
