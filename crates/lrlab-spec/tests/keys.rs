//! Keys of callbacks: their values, their origins in `--explain`, and their effect on ids.

#![allow(clippy::unwrap_used, reason = "panics fail the test")]

use lrlab_config::{
    AtRestart, AverageEvery, AveragingConfig, EmaConfig, GainPolicy, OnDivergence, SwaConfig,
};
use lrlab_schedulers::Span;
use lrlab_spec::{Catalog, RunSpec, read, run_id, run_id_of};

const TEXT: &str = r#"name = "keys"
[axes]
model = ["net"]
schedule = ["static"]
monitor = ["on"]
seed = [0]
[defaults]
lr = 0.1
epochs = 4
batch_size = 32
optimizer = { sgd = {} }
early_stopping = { patience = 2 }
# more
[models.net]
network = { linear = {} }
data = "pictures"
[data.pictures]
source = { synthetic_pictures = {} }
[schedules.static]
static = {}
[monitors.on]
controller = { plateau = {} }
"#;

fn experiment(more: &str) -> lrlab_spec::Experiment {
    read(&TEXT.replace("# more", more), "keys.toml", &[], &Catalog::default()).unwrap()
}

fn run(more: &str) -> RunSpec {
    experiment(more).cells(&[], None).unwrap().remove(0).1
}

#[test]
fn keys_have_values_and_defaults() {
    assert_eq!(run("").averaging, None);
    assert_eq!(run("averaging = \"off\"\ndivergence = \"off\""), run(""));
    assert_eq!(run("averaging = { ema = {} }").averaging, Some(AveragingConfig::Ema(EmaConfig::default())));
    let swa = SwaConfig { start: Span::Epochs(2.0), every: AverageEvery::Cycle };
    assert_eq!(
        run("averaging = { swa = { start = \"2 epochs\", every = \"cycle\" } }").averaging,
        Some(AveragingConfig::Swa(swa))
    );
    let guard = run("divergence = { explosion = 5, action = \"stop\" }").divergence.unwrap();
    assert_eq!((guard.explosion, guard.patience, guard.action), (Some(5.0), 1, OnDivergence::Stop));
    let rewind = run("divergence = { action = { rewind = { factor = 0.1 } } }").divergence.unwrap();
    assert!(rewind.action == OnDivergence::Rewind { factor: 0.1, limit: 3 });
    let plain = run("");
    assert_eq!(plain.early_stopping.unwrap().at_restart, AtRestart::Ignore);
    assert_eq!(plain.monitor.unwrap().at_restart, GainPolicy::Keep);
    assert_eq!(run("keep_top = 3").keep_top, 3);
    // Every written value reads back unchanged.
    for more in ["averaging = { lawa = { every = \"cycle\" } }", "averaging = { swa = {} }\ndivergence = {}"]
    {
        let json = serde_json::to_value(run(more)).unwrap();
        assert_eq!(serde_json::from_value::<RunSpec>(json).unwrap(), run(more));
    }
}

/// With their defaults, the keys keep the ids of earlier versions; the number of kept weights never enters the id.
#[test]
fn keys_enter_ids_unless_default() {
    let old = run_id(&run(""), "d").unwrap();
    let mut before = serde_json::to_value(run("")).unwrap();
    for key in ["averaging", "divergence", "keep_top"] {
        assert!(before.as_object_mut().unwrap().remove(key).is_some());
    }
    for (part, key) in
        [("early_stopping", "baseline"), ("early_stopping", "at_restart"), ("monitor", "at_restart")]
    {
        assert!(before[part].as_object_mut().unwrap().remove(key).is_some());
    }
    assert_eq!(run_id_of(&before, "d", &[]).unwrap(), old);
    assert_eq!(run_id(&run("keep_top = 3"), "d").unwrap(), old);
    assert_eq!(run("log_every = 50").log_every, 50);
    assert_eq!(run_id(&run("log_every = 50"), "d").unwrap(), old);
    let stopping = |rest: &str| TEXT.replace("patience = 2", &format!("patience = 2, {rest}"));
    let of = |text: &str| {
        let experiment = read(text, "keys.toml", &[], &Catalog::default()).unwrap();
        run_id(&experiment.cells(&[], None).unwrap().remove(0).1, "d").unwrap()
    };
    assert_eq!(of(&stopping("at_restart = \"ignore\"")), old);
    assert_eq!(of(&format!("{TEXT}at_restart = \"keep\"\n")), old);
    let mut all = vec![
        old,
        run_id(&run("averaging = { ema = {} }"), "d").unwrap(),
        run_id(&run("averaging = { ema = { decay = 0.99 } }"), "d").unwrap(),
        run_id(&run("averaging = { swa = {} }"), "d").unwrap(),
        run_id(&run("divergence = {}"), "d").unwrap(),
        of(&stopping("at_restart = \"begin_anew\"")),
        of(&stopping("baseline = 0.5")),
        of(&format!("{TEXT}at_restart = \"reset\"\n")),
    ];
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count);
}

#[test]
fn explanations_have_the_origin_of_keys() {
    let text = experiment("averaging = { swa = { start = \"50%\" } }").explain(&[], None).unwrap().join("\n");
    let origin = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("{key} ="))).unwrap_or(key);
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(origin("averaging.swa.start"), "averaging.swa.start = \"50%\" # keys.toml:13");
    assert_eq!(origin("averaging.swa.every"), "averaging.swa.every = \"1 epoch\" # default");
    assert_eq!(origin("divergence"), "divergence = none # default");
    assert_eq!(origin("early_stopping.at_restart"), "early_stopping.at_restart = \"ignore\" # default");
    assert_eq!(origin("keep_top"), "keep_top = 0 # default");
}
