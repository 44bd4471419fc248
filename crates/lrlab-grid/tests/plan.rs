//! Plans: ids, written files, and files that are not written again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed helper is a failed test"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use lrlab_grid::{record, resolve};
use lrlab_runs::{Cell, PlannedRun, RunId, RunStore};
use lrlab_spec::{RunSpec, run_id};
use serde::Deserialize;
use serde_json::json;

fn cell(lr: f64, seed: u64, pictures: usize) -> (Cell, RunSpec) {
    let spec = json!({
        "model": { "resnet": { "depth": 8 } },
        "data": {
            "source": { "synthetic_pictures": { "train": pictures } },
            "split_seed": 0, "validation": null, "limit": {}, "pin_digest": null, "augment": {}, "tokens": {},
        },
        "optimizer": { "sgd": {} },
        "lr": lr,
        "schedule": { "static": {} },
        "lr_min": 0.0, "lr_max": null, "monitor": null, "early_stopping": null,
        "epochs": 1, "batch_size": 32, "accumulate": 1, "clip_norm": null, "label_smoothing": 0.0,
        "select": "val_accuracy", "seed": seed,
    });
    let cell: Cell = serde_json::from_value(json!({ "lr": lr, "seed": seed, "dataset": pictures })).unwrap();
    (cell, serde_json::from_value(spec).unwrap())
}

fn changed(store: &RunStore, runs: &[PlannedRun]) -> BTreeMap<PathBuf, SystemTime> {
    let files = runs.iter().map(|run| store.run_dir(&run.run_id).join("spec.json"));
    files.filter_map(|path| Some((path.clone(), path.metadata().ok()?.modified().ok()?))).collect()
}

#[test]
fn every_cell_has_an_id_and_data_are_read_once() {
    let cells = vec![cell(0.1, 0, 640), cell(0.1, 1, 640), cell(0.1, 0, 320)];
    let specs: Vec<RunSpec> = cells.iter().map(|(_, spec)| spec.clone()).collect();
    let mut asked = 0;
    let plan = resolve(
        "e",
        cells.clone(),
        |_| {
            asked += 1;
            Ok(format!("digest {asked}"))
        },
        |_| None,
    )
    .unwrap();
    assert_eq!((plan.experiment.as_str(), plan.runs.len(), asked), ("e", 3, 2));
    for (run, (spec, digest)) in plan.runs.iter().zip(specs.iter().zip(["digest 1", "digest 1", "digest 2"]))
    {
        assert_eq!((&run.run_id, run.dataset_digest.as_str()), (&run_id(spec, digest).unwrap(), digest));
        assert_eq!(&RunSpec::deserialize(&*run.spec).unwrap(), spec);
    }
    assert_eq!(
        plan.runs.iter().map(|run| &run.cell).collect::<Vec<_>>(),
        cells.iter().map(|c| &c.0).collect::<Vec<_>>()
    );
}

#[test]
fn duplicate_runs_and_missing_data_are_rejected() {
    let mut twin = cell(0.1, 0, 640);
    twin.0.insert("name".to_owned(), json!("other"));
    let error = resolve("e", vec![cell(0.1, 0, 640), twin], |_| Ok(String::new()), |_| None).unwrap_err();
    assert_eq!(
        error.to_string().split(" are the same run").next(),
        Some("cells dataset=640 lr=0.1 seed=0 and dataset=640 lr=0.1 name=other seed=0")
    );
    let error = resolve("e", vec![cell(0.1, 0, 640)], |_| Err("no network".into()), |_| None).unwrap_err();
    assert_eq!(error.to_string(), "cell dataset=640 lr=0.1 seed=0: no network");
    // Every missing data set is reported once.
    let cells = vec![cell(0.1, 0, 640), cell(0.1, 1, 640), cell(0.1, 0, 320), cell(0.1, 0, 160)];
    let mut asked = 0;
    let error = resolve(
        "e",
        cells,
        |_| {
            asked += 1;
            if asked == 2 { Ok(String::new()) } else { Err(format!("no file {asked}").into()) }
        },
        |_| None,
    );
    assert_eq!(
        error.unwrap_err().to_string(),
        "cell dataset=640 lr=0.1 seed=0: no file 1\ncell dataset=160 lr=0.1 seed=0: no file 3"
    );
}

/// A plan shares the specifications that are in memory, if they are the runs'.
#[test]
fn known_specifications_are_shared() {
    let cells = vec![cell(0.1, 0, 640), cell(0.1, 1, 640), cell(0.1, 2, 640)];
    let plan = resolve("e", cells.clone(), |_| Ok("d".to_owned()), |_| None).unwrap();
    let [same, changed, unknown] = plan.runs.try_into().unwrap();
    let other: Arc<serde_json::Value> = Arc::new(json!({ "lr": 3 }));
    let known = |id: &RunId| match id {
        id if *id == same.run_id => Some(Arc::clone(&same.spec)),
        id if *id == changed.run_id => Some(Arc::clone(&other)),
        _ => None,
    };
    let again = resolve("e", cells, |_| Ok("d".to_owned()), known).unwrap();
    assert!(Arc::ptr_eq(&again.runs[0].spec, &same.spec));
    assert_eq!((&again.runs[1].spec, &again.runs[2].spec), (&changed.spec, &unknown.spec));
}

#[test]
fn written_files_read_back_and_are_not_rewritten() {
    let folder = tempfile::tempdir().unwrap();
    let store = RunStore::new(folder.path());
    let cells = || vec![cell(0.1, 0, 640), cell(0.1, 1, 640)];
    let plan = resolve("e", cells(), |_| Ok("d".to_owned()), |_| None).unwrap();
    record(&store, &plan).unwrap();
    assert_eq!(store.plan("e").unwrap().unwrap(), plan);
    let first = store.run_dir(&plan.runs[0].run_id);
    let read =
        || serde_json::from_slice::<PlannedRun>(&std::fs::read(first.join("spec.json")).unwrap()).unwrap();
    assert_eq!(read(), plan.runs[0]);

    // A second call writes nothing. A truncated file is written again; the folder of a finished run is unchanged.
    let before = changed(&store, &plan.runs);
    record(&store, &plan).unwrap();
    assert_eq!(changed(&store, &plan.runs), before);
    std::fs::write(first.join("spec.json"), "{").unwrap();
    record(&store, &plan).unwrap();
    assert_eq!(read(), plan.runs[0]);
    let second = store.run_dir(&plan.runs[1].run_id);
    std::fs::write(second.join("result.json"), "{}").unwrap();
    std::fs::remove_file(second.join("spec.json")).unwrap();
    record(&store, &plan).unwrap();
    assert!(!second.join("spec.json").exists());
}
