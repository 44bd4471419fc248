//! The example with kills and resumes, and the operations of `VarMapHost`.

#![cfg(feature = "host")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]

#[path = "../examples/mlp.rs"]
#[allow(dead_code, reason = "its `main` is for the command line")]
mod mlp;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use candle_core::{DType, Device, Tensor};
use candle_nn::{Init, Optimizer as _, VarBuilder, VarMap};
use lrlab_callbacks::{Action, Averaging, Callback, Callbacks, Context, Error, Hook, Host, Phase, Session};
use lrlab_kernels::{Params, Role};
use lrlab_optim::{
    Adam, AdamConfig, CandleOptimizer, Group, Groups, Optimizer, OptimizerConfig, SgdConfig, VarMapHost,
};
use lrlab_schedulers::{Horizon, ScheduleSpec};

const FOLDER: &str = "LRLAB_TEST_FOLDER";
const UPDATE: &str = "LRLAB_TEST_UPDATE";

/// Ends the process, without unwinding, at an update.
struct Kill(u64);

impl Callback for Kill {
    fn name(&self) -> &'static str {
        "kill"
    }

    fn on(&mut self, _: Phase, context: &Context<'_>) -> Result<Vec<Action>, Error> {
        if context.update == self.0 && matches!(context.hook, Hook::UpdateEnd { .. }) {
            std::process::abort();
        }
        Ok(Vec::new())
    }
}

/// The child process of the test below.
#[test]
#[ignore = "the child process of `a_killed_run_continues_with_the_same_bits`"]
fn train_until_killed() {
    let (Ok(folder), Ok(update)) = (std::env::var(FOLDER), std::env::var(UPDATE)) else { return };
    mlp::train(Path::new(&folder), Callbacks::default().with(Kill(update.parse().unwrap()))).unwrap();
}

/// Trains in a process that ends at `update`.
fn killed(folder: &Path, update: u64) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--ignored", "--exact", "train_until_killed"])
        .env(FOLDER, folder)
        .env(UPDATE, update.to_string());
    assert!(!child.output().unwrap().status.success(), "it was not killed at update {update}");
}

/// Returns every file below a folder, except event files, which contain the time.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_file() && name != "session.json" {
            all.insert(name, std::fs::read(&path).unwrap());
        } else if name.starts_with("checkpoint-") {
            all.extend(files(&path).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        }
    }
    all
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}

/// Two copies of a run continue from the same checkpoint, because the initial weights are random. One of them is killed twice,
/// within an epoch and at its last update. Weights, snapshots, moments and logs are equal.
#[test]
fn a_killed_run_continues_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let (at_once, often) = (folder.path().join("at-once"), folder.path().join("often"));
    std::fs::create_dir_all(&at_once).unwrap();
    killed(&at_once, 30);
    assert!(at_once.join("checkpoint-0000000024/run.safetensors").is_file());
    copy(&at_once, &often);
    let (_, session) = mlp::train(&at_once, Callbacks::default()).unwrap();
    killed(&often, 53);
    killed(&often, 72);
    let (_, again) = mlp::train(&often, Callbacks::default()).unwrap();
    assert_eq!(session.progress(), again.progress());
    let (one, other) = (files(&at_once), files(&often));
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for (name, bytes) in &one {
        assert!(other[name] == *bytes, "{name} differs");
    }
    let kept = one.keys().filter(|name| name.starts_with("epoch-")).count();
    assert_eq!(kept, 3, "the best three epochs: {:?}", one.keys());
    let rows = String::from_utf8(one["metrics.csv"].clone()).unwrap().lines().count() as u64;
    assert_eq!(rows, session.epoch() + 1);
    let best = session.history().iter().filter_map(|epoch| epoch.val_loss).fold(f64::INFINITY, f64::min);
    assert!(best < 0.2, "it learns: {best}");
}

#[test]
fn the_documentation_states_the_length_of_the_example() {
    let text = include_str!("../examples/mlp.rs");
    let job = text.split("pub(crate) fn ").find(|part| part.starts_with("train(")).unwrap();
    let lines = job.lines().filter(|line| !line.trim().is_empty()).count();
    assert!(lines < 45);
    let named = format!("ours {lines}");
    assert!(include_str!("../src/side_by_side.md").contains(&named), "{named}");
}

fn map(values: &[(&str, &[f32])]) -> VarMap {
    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
    for (name, values) in values {
        vb.get_with_hints(values.len(), name, Init::Const(0.0)).unwrap();
        let value = Tensor::new(*values, &Device::Cpu).unwrap();
        map.data().lock().unwrap()[*name].set(&value).unwrap();
    }
    map
}

fn host(map: &VarMap) -> VarMapHost {
    VarMapHost::new(map, |params| Adam::decoupled(AdamConfig::adamw(), params)).unwrap()
}

fn value(host: &VarMapHost) -> f32 {
    host.params().get("w").unwrap().var.get(0).unwrap().to_scalar().unwrap()
}

#[test]
fn snapshots_and_averages_in_memory_and_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    for on_disk in [false, true] {
        let map = map(&[("w", &[1.0])]);
        let mut host = host(&map);
        if on_disk {
            host = host.in_folder(folder.path()).unwrap();
        }
        let set =
            |x: f32| map.data().lock().unwrap()["w"].set(&Tensor::new(&[x], &Device::Cpu).unwrap()).unwrap();
        host.save("best").unwrap();
        set(3.0);
        host.average(Averaging::Uniform).unwrap();
        set(5.0);
        host.average(Averaging::Uniform).unwrap();
        host.average(Averaging::Apply).unwrap();
        assert_eq!(value(&host), 4.0);
        host.restore("best").unwrap();
        assert_eq!(value(&host), 1.0);

        // A rewind discards the averages since the snapshot, and a restore does not.
        host.average(Averaging::Uniform).unwrap();
        host.save("sane").unwrap();
        set(f32::INFINITY);
        host.average(Averaging::Uniform).unwrap();
        host.rewind("sane").unwrap();
        set(7.0);
        host.average(Averaging::Uniform).unwrap();
        host.restore("best").unwrap();
        host.average(Averaging::Apply).unwrap();
        assert_eq!(value(&host), 4.0, "of 3, 5, 1 and 7");
        host.rewind("best").unwrap();
        host.average(Averaging::Apply).unwrap();
        assert_eq!(value(&host), 1.0, "the average is empty, as at the time of the snapshot");

        // An average of the weights of a snapshot belongs to it, whichever is first.
        set(2.0);
        host.save("epoch").unwrap();
        host.average(Averaging::Uniform).unwrap();
        set(100.0);
        host.average(Averaging::Uniform).unwrap();
        host.rewind("epoch").unwrap();
        host.average(Averaging::Apply).unwrap();
        assert_eq!(value(&host), 2.0);

        host.discard("best").unwrap();
        let error = host.restore("best").unwrap_err().to_string();
        assert!(error.starts_with("the host failed to restore \"best\": "), "{error}");
    }
}

/// A callback may change the decay from update to update.
#[test]
fn the_rule_of_an_average_may_change_but_not_its_kind() {
    let map = map(&[("w", &[0.0])]);
    let mut host = host(&map);
    let set =
        |x: f32| map.data().lock().unwrap()["w"].set(&Tensor::new(&[x], &Device::Cpu).unwrap()).unwrap();
    let mut expected = 0.0;
    for (i, decay) in [0.1, 0.5, 0.75].into_iter().enumerate() {
        let x = 4.0 * i as f32;
        set(x);
        host.average(Averaging::Exponential { decay }).unwrap();
        let decay = if i == 0 { 0.0 } else { decay as f32 };
        expected = decay * expected + (1.0 - decay) * x;
    }
    let error = host.average(Averaging::Uniform).unwrap_err().to_string();
    assert!(
        error.contains("averaged by Exponential { decay: 0.75 }, and a callback requests Uniform"),
        "{error}"
    );
    host.average(Averaging::Apply).unwrap();
    assert_eq!(value(&host), expected);

    // The last two of three.
    let mut host = self::host(&map);
    for (x, k) in [(1.0, 3), (2.0, 3), (6.0, 2)] {
        set(x);
        host.average(Averaging::Latest { k }).unwrap();
    }
    host.average(Averaging::Apply).unwrap();
    assert_eq!(value(&host), 4.0);
}

/// A resume restores the snapshots of the checkpoint and leaves other files of the folder alone.
#[test]
fn files_of_others_in_the_folder_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let map = map(&[("w", &[1.0])]);
    let start = || host(&map).in_folder(folder.path()).unwrap();
    let session = serde_json::json!({ "count": { "update": 7 } });
    let mut first = start();
    first.save("best").unwrap();
    first.checkpoint(&session).unwrap();
    first.save("later").unwrap();
    map.save(folder.path().join("final.safetensors")).unwrap();
    std::fs::write(folder.path().join("broken.safetensors"), "mine").unwrap();
    let kept = std::fs::read(folder.path().join("final.safetensors")).unwrap();

    assert_eq!(start().resume().unwrap(), Some(session.clone()));
    let mut names: Vec<_> = files(folder.path()).into_keys().filter(|name| !name.contains('/')).collect();
    names.sort();
    assert_eq!(names, ["best.safetensors", "broken.safetensors", "final.safetensors"]);
    assert_eq!(std::fs::read(folder.path().join("final.safetensors")).unwrap(), kept);

    map.save(folder.path().join("best.safetensors")).unwrap();
    let error = start().resume().unwrap_err().to_string();
    assert!(error.contains("best.safetensors: is not a snapshot, but the checkpoint has one"), "{error}");
}

/// With its optimizer, its snapshots and its functions.
#[test]
fn hosts_are_send() {
    fn is_send<T: Send>() {}
    is_send::<VarMapHost>();
}

/// A loss may have any shape with one value. Others are an error before the step.
#[test]
fn a_loss_with_dimensions_is_one_value() {
    let map = map(&[("w", &[1.0, 2.0])]);
    let w = map.data().lock().unwrap()["w"].clone();
    let mut host = host(&map);
    let run = Horizon { updates: 4, updates_per_epoch: 4 };
    let schedule = ScheduleSpec::parse("static").unwrap().build(&run).unwrap();
    let mut session = Session::new(Callbacks::default(), schedule, 0.1, run);
    let loss = w.sqr().unwrap().sum_keepdim(0).unwrap();
    assert_eq!(loss.dims(), [1]);
    assert_eq!(host.update(&mut session, &loss).unwrap(), 5.0);
    let before = value(&host);
    let error = host.update(&mut session, &w.sqr().unwrap()).unwrap_err().to_string();
    assert!(error.contains("the loss has the shape [2], expected one value"), "{error}");
    assert_eq!((value(&host), session.update()), (before, 1));
}

#[test]
fn errors_name_the_missing_setting() {
    let check = |error: String, words: &str| assert!(error.contains(words), "{error}");
    let empty = VarMapHost::new(&VarMap::new(), |params| Adam::new(AdamConfig::default(), params));
    check(empty.err().unwrap().to_string(), "the VarMap has no variables; build the network before");
    let map = map(&[("w", &[1.0]), ("norm.running_mean", &[1.0])]);
    let mut host = host(&map);
    check(host.trial(&mut [0.1].into_iter()).unwrap_err().to_string(), "call `VarMapHost::trial_with`");
    check(host.recompute_norm_statistics().unwrap_err().to_string(), "call `VarMapHost::recompute_with`");
    check(host.checkpoint(&serde_json::Value::Null).unwrap_err().to_string(), "call `VarMapHost::in_folder`");
    check(host.average(Averaging::Apply).unwrap_err().to_string(), "no weights were averaged yet");
}

/// Both optimizers have the same defaults.
#[test]
fn candle_optimizer_equals_adamw_of_candle() {
    let ours = map(&[("w", &[1.0, -2.0])]);
    let theirs = map(&[("w", &[1.0, -2.0])]);
    let vars = theirs.data().lock().unwrap().values().cloned().collect();
    let config = OptimizerConfig::AdamW(AdamConfig::adamw());
    let mut optimizer =
        CandleOptimizer::of_params(&Params::of_var_map(&ours).unwrap(), &config, 0.1).unwrap();
    let mut candle =
        candle_nn::AdamW::new(vars, candle_nn::ParamsAdamW { lr: 0.1, ..Default::default() }).unwrap();
    for _ in 0..5 {
        let loss = |map: &VarMap| map.data().lock().unwrap()["w"].sqr().unwrap().sum_all().unwrap();
        optimizer.backward_step(&loss(&ours)).unwrap();
        candle.backward_step(&loss(&theirs)).unwrap();
    }
    let values = |map: &VarMap| map.data().lock().unwrap()["w"].to_vec1::<f32>().unwrap();
    for (a, b) in values(&ours).into_iter().zip(values(&theirs)) {
        assert!((a - b).abs() < 1e-6, "{a}, not {b}");
    }
}

#[test]
fn groups_have_separate_rates_decays_and_schedules() {
    let mut params = Params::new(Device::Cpu, DType::F32);
    for name in ["body.w", "head.w", "head.b"] {
        params.create(name, &Tensor::ones(1, DType::F32, &Device::Cpu).unwrap(), Role::Weight).unwrap();
    }
    let sgd = OptimizerConfig::Sgd(SgdConfig { momentum: 0.0, weight_decay: 0.5, ..SgdConfig::default() });
    let scheduled = Group { schedule: Some("bias".into()), weight_decay: Some(0.0), ..Group::default() };
    let groups = [("*.b", scheduled), ("head.*", Group { lr_scale: 2.0, ..Group::default() })];
    let mut optimizer = Groups::new(&sgd, &params, &groups).unwrap();
    let loss = params.iter().fold(Tensor::new(0f32, &Device::Cpu).unwrap(), |sum, (_, param)| {
        (sum + param.var.sum_all().unwrap()).unwrap()
    });
    let grads = loss.backward().unwrap();
    let rates = |name: Option<&str>| Ok(if name == Some("bias") { 0.03 } else { 0.01 });
    optimizer.step_groups(&rates, &grads).unwrap();
    for (name, moved) in [("body.w", 0.01 * 1.5), ("head.w", 0.02 * 1.5), ("head.b", 0.03)] {
        let now: f32 = params.get(name).unwrap().var.get(0).unwrap().to_scalar().unwrap();
        assert!((1.0 - f64::from(now) - moved).abs() < 1e-6, "{name}: {now}");
    }
    let error = optimizer.step(0.1, &grads).unwrap_err().to_string();
    assert!(error.contains("a group has the schedule \"bias\"; use `step_groups`"), "{error}");
    let state = optimizer.state().unwrap();
    assert_eq!(state.keys().map(String::as_str).collect::<Vec<_>>(), ["0/steps", "1/steps", "2/steps"]);
    optimizer.restore(&state).unwrap();
    let odd = BTreeMap::from([("9/steps".to_owned(), state["0/steps"].clone())]);
    let error = optimizer.restore(&odd).unwrap_err().to_string();
    assert!(error.contains("belongs to none of the 3 groups"), "{error}");
    let error = Groups::new(&sgd, &params, &[("tail.*", Group::default())]).err().unwrap().to_string();
    assert!(
        error.contains(
            "the pattern \"tail.*\" matches no remaining parameter; the parameters are body.w, head.b, head.w"
        ),
        "{error}"
    );
}
