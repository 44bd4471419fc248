//! The finished runs of a grid, as TensorBoard reads them.

use std::path::Path;
use std::process::Command;

use lrlab_tests::{TINY, results, run};
use serde_json::Value;

fn laid_out(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("runs/tiny/tensorboard")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn every_finished_run_has_a_folder_named_after_its_cell() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    std::fs::write(place.join("tiny.toml"), TINY).unwrap();
    let early = run(place, &["tensorboard", "tiny.toml"]);
    assert_eq!(early.code, 2);
    assert!(early.err.contains("tiny: no run is done yet"), "{}", early.err);

    assert_eq!(run(place, &["run", "tiny.toml", "--device", "cpu", "--seeds", "1"]).code, 0);
    let one = run(place, &["tensorboard", "tiny.toml"]);
    assert!(one.code == 0 && one.err.contains("note: 1 run not done and not exported"), "{}", one.err);
    assert_eq!(run(place, &["run", "tiny.toml", "--device", "cpu"]).code, 0);
    let both = run(place, &["tensorboard", "tiny.toml"]);
    assert!(both.code == 0 && !both.err.contains("not exported"), "{}", both.err);
    let lines: Vec<&str> = both.out.lines().collect();
    assert_eq!(lines, ["runs/tiny/tensorboard: 2 runs", "tensorboard --logdir runs/tiny/tensorboard"]);
    let names = laid_out(place);
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names[0].starts_with("events.out.tfevents."), "the tab HParams' own: {names:?}");
    assert_eq!(names[1..], ["linear-static-off-1_epoch-seed_0", "linear-static-off-1_epoch-seed_1"]);

    // Read by TensorBoard itself, if Python has it (`PYTHON` names another interpreter than `python3`).
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has_it = Command::new(&python).args(["-c", "import tensorboard"]).output();
    if !has_it.is_ok_and(|output| output.status.success()) {
        println!("skipped: {python} cannot import tensorboard");
        return;
    }
    let output = Command::new(&python).args(["-c", READER]).arg(place.join("runs/tiny/tensorboard")).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        read["hparams"],
        serde_json::json!(["batch_size", "epochs", "lr", "model", "schedule", "seed"])
    );
    let groups = read["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 2, "{read}");
    for (_, result) in results(&place.join("runs")) {
        let seed = result["cell"]["seed"].as_f64().unwrap();
        let group = groups.iter().find(|group| group["hparams"]["seed"] == seed).unwrap();
        assert_eq!((&group["hparams"]["model"], &group["hparams"]["lr"]), (&"linear".into(), &0.01.into()));
        for (tag, of, key) in
            [("best/test_accuracy", "best", "test_accuracy"), ("final/val_loss", "final", "val_loss")]
        {
            let (shown, exact) = (group["metrics"][tag].as_f64().unwrap(), result[of][key].as_f64().unwrap());
            assert!((shown - exact).abs() <= 1e-6 * exact.abs(), "{tag}: {shown} {exact}");
        }
        let curve = &read["curves"][format!("linear-static-off-1_epoch-seed_{seed}")];
        let (step, value) = (curve[0][0].as_u64().unwrap(), curve[0][1].as_f64().unwrap());
        assert_eq!(step, result["updates"]["made"].as_u64().unwrap());
        let exact = result["history"][0]["val_loss"].as_f64().unwrap();
        assert!((value - exact).abs() <= 1e-6 * exact.abs(), "{value} {exact}");
    }
}

/// The HParams tab as its backend computes it, and a curve.
const READER: &str = r#"
import json, sys
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment, list_session_groups
multiplexer = plugin_event_multiplexer.EventMultiplexer().AddRunsFromDirectory(sys.argv[1])
multiplexer.Reload()
provider = data_provider.MultiplexerDataProvider(multiplexer, sys.argv[1])
context = backend_context.Context(base_plugin.TBContext(data_provider=provider, multiplexer=multiplexer))
request = RequestContext()
tags = context.hparams_metadata(request, "")
experiment = context.experiment_from_metadata(request, "", True, tags, [])
ask = api_pb2.ListSessionGroupsRequest(start_index=0, slice_size=100,
    allowed_statuses=[api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE, api_pb2.STATUS_RUNNING, api_pb2.STATUS_UNKNOWN])
for metric in experiment.metric_infos:
    ask.col_params.add().metric.CopyFrom(metric.name)
groups = list_session_groups.Handler(request, backend_context=context, experiment_id="", request=ask).run().session_groups
plain = lambda value: getattr(value, value.WhichOneof("kind"))
known = ["batch_size", "epochs", "lr", "model", "schedule", "seed"]
print(json.dumps({
    "hparams": [name for name in known if name in {info.name for info in experiment.hparam_infos}],
    "groups": [{
        "hparams": {name: plain(value) for name, value in group.hparams.items()},
        "metrics": {metric.name.tag: metric.value for metric in group.metric_values},
    } for group in groups],
    "curves": {run: [(event.step, event.tensor_proto.float_val[0]) for event in multiplexer.Tensors(run, "val/loss")]
        for run in multiplexer.Runs() if run != "."},
}))
"#;
