//! Specifications as data: parsing, serialization and errors.

use crate::common::{EVERY, parse};
use lrlab_schedulers::{ControllerSpec, Horizon, Lambdas, ScheduleSpec};
use serde_json::{Value, json};

const RUN: Horizon = Horizon { updates: 100, updates_per_epoch: 10 };

#[test]
fn specifications_round_trip_through_json_and_toml() {
    for text in EVERY {
        let spec = parse(text);
        let json = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<ScheduleSpec>(&json).unwrap(), spec, "{json}");
        let toml = toml::to_string(&spec).unwrap();
        assert_eq!(toml::from_str::<ScheduleSpec>(&toml).unwrap(), spec, "{toml}");
    }
}

#[test]
fn serialized_specifications_contain_defaults() {
    let check =
        |text: &str, expected: Value| assert_eq!(serde_json::to_value(parse(text)).unwrap(), expected);
    check("cosine", json!({ "cosine": { "t_max": "100%", "eta_min": 0.0, "every": "update" } }));
    check("step = { step_size = '30%' }", json!({ "step": { "step_size": "30%", "gamma": 0.1 } }));
    check(
        "exponential = { gamma = 0.9 }",
        json!({ "exponential": { "gamma": 0.9, "decay_rate": null, "every": "update" } }),
    );
    check(
        "warmup = { over = '5%', then = { static = {} } }",
        json!({ "warmup": { "over": "5%", "start_factor": 0.1, "clock": "after", "then": { "static": {} } } }),
    );
    let plateau = serde_json::to_value(ControllerSpec::parse("plateau").unwrap()).unwrap();
    let expected = json!({ "plateau": {
        "factor": 0.1, "patience": 10, "threshold": 1e-4, "threshold_mode": "rel", "mode": "min", "cooldown": 0,
        "min_gain": 0.0, "rule": "torch", "on_nan": "count_as_bad", "rewind": false,
    } });
    assert_eq!(plateau, expected);
}

#[test]
fn errors_name_the_keys() {
    let check = |text: &str, words: &str| {
        let error = ScheduleSpec::parse(text).and_then(|spec| spec.build(&RUN)).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    };
    check("cosine = { eta_min = -1 }", "cosine.eta_min: -1 is not a number from 0 to 1e30");
    check("cosine = { eta_min = nan }", "cosine.eta_min: NaN is not");
    check(
        "cosine = { t_max = '0 epochs' }",
        "cosine.t_max: \"0 epochs\" is not a valid length: expected more than 0",
    );
    check("cosine = { t_max = 50 }", "50 has no unit: write \"50 epochs\"");
    check("cosine = { t_max = 50 }", "line 1, column 20");
    check("cosine = { tmax = '50%' }", "unknown field `tmax`, expected one of `t_max`");
    check("cosin", "unknown variant `cosin`");
    check("", "");
    check("exponential", "exponential: expected exactly one of gamma and decay_rate, found 0");
    check("exponential = { gamma = 0.9, decay_rate = 0.1 }", "found 2");
    check("step", "missing field `step_size`");
    check(
        "warmup = { over = '5%', then = { step = { step_size = '0%' } } }",
        "warmup.then.step.step_size: \"0%\" is not a valid length: expected more than 0",
    );
    check("sequential = { schedulers = [], milestones = [] }", "sequential.schedulers: the list is empty");
    check(
        "sequential = { schedulers = [{ static = {} }, { cosine = { eta_min = -2 } }], milestones = ['50%'] }",
        "sequential.schedulers.1.cosine.eta_min: -2",
    );
    check(
        "sequential = { schedulers = [{ static = {} }, { static = {} }], milestones = [] }",
        "sequential.milestones: the number of entries is 0, expected 1: one fewer than schedulers",
    );
    check(
        "sequential = { schedulers = [{ static = {} }, { static = {} }, { static = {} }], milestones = ['5 epochs', '30%'] }",
        "sequential.milestones.1: 30% follows 5 epochs: the values must increase",
    );
    check(
        "multi_step = { milestones = ['50%', '2 epochs'] }",
        "multi_step.milestones.1: 2 epochs follows 50%",
    );
    check("cyclic = { base_lr = 1, max_lr = 0.5, step_size_up = '1 epoch' }", "cyclic.max_lr: 0.5 is not");
    for keys in ["base_lr = 1", "max_lr = 1", "base_lr = 1, max_lr = 2, base_factor = 0.5"] {
        check(
            &format!("cyclic = {{ {keys}, step_size_up = '1 epoch' }}"),
            "cyclic: expected both `base_lr` and `max_lr` without `base_factor`, or neither",
        );
    }
    check("cyclic = { base_factor = 2, step_size_up = '1 epoch' }", "cyclic.base_factor: 2 is not");
    check("swa = { swa_lr = -1, of = { static = {} } }", "swa.swa_lr: -1 is not a number from 0 to 1e30");
    check("swa = { swa_lr = 1, of = { cosine = { eta_min = -1 } } }", "swa.of.cosine.eta_min: -1 is not");
    check("one_cycle = { max_lr = 1, pct_start = 0.7, three_phase = true }", "one_cycle.pct_start: 0.7");
    check("cosine_warm_restarts = { t_0 = '1 epoch', t_mult = 0.5 }", "cosine_warm_restarts.t_mult: 0.5");
    let none = Horizon { updates: 0, updates_per_epoch: 10 };
    assert_eq!(parse("cosine").build(&none).unwrap_err().to_string(), "cosine: the run has no updates");
    let factor = ControllerSpec::parse("plateau = { factor = 1 }").unwrap().build().unwrap_err();
    assert_eq!(factor.to_string(), "plateau.factor: 1 is not a number above 0 and below 1");
}

/// `check` finds values outside their ranges but not lengths that do not increase.
#[test]
fn ranges_are_checked_without_a_run() {
    let error = parse("warmup = { over = '5%', then = { tanh = { lb = -1e9 } } }").check().unwrap_err();
    assert!(
        error.to_string().contains("warmup.then.tanh.lb: -1000000000 is not a number from -1e3 to 1e3"),
        "{error}"
    );
    assert!(parse("multi_step = { milestones = ['50%', '2 epochs'] }").check().is_ok());
}

#[test]
fn schema_describes_lengths() {
    let schema = serde_json::to_value(schemars::schema_for!(ScheduleSpec)).unwrap();
    assert!(schema["$defs"]["Span"]["pattern"].is_string());
    assert_eq!(schema["$defs"]["CosineSpec"]["properties"]["t_max"]["default"], "100%");
    assert_eq!(schema["$defs"]["CosineSpec"]["additionalProperties"], false);
}

/// `bind` sets the functions and versions of nested specifications.
#[test]
fn lambdas_are_looked_up_by_name() {
    let mut lambdas = Lambdas::default();
    lambdas.register("halves", Some("2".to_owned()), |at| 0.5_f64.powf(at.epoch.floor()));
    lambdas.register("nothing", None, |_| f64::NAN);
    let run = Horizon { updates: 40, updates_per_epoch: 10 };
    let text = "sequential = { schedulers = [{ static = {} }, { scale = { by = 2, of = { lambda = { name = 'halves' } } } }], milestones = ['50%'] }";
    let mut spec = ScheduleSpec::parse(text).unwrap();
    let unbound = spec.build(&run).unwrap_err().to_string();
    assert!(unbound.ends_with("the function \"halves\" is not registered in this program"), "{unbound}");
    spec.bind(&lambdas).unwrap();
    let built = spec.build(&run).unwrap();
    let rates = [0, 19, 20, 29, 30, 39].map(|update| built.lr(0.1, run.at(update)));
    assert_eq!(rates, [0.1, 0.1, 0.2, 0.2, 0.1, 0.1]);
    assert_eq!(spec.lambdas().iter().map(|spec| spec.version.as_deref()).collect::<Vec<_>>(), [Some("2")]);
    // The serialized specification contains the version.
    let json = serde_json::to_value(&spec).unwrap();
    assert_eq!(
        json.pointer("/sequential/schedulers/1/scale/of/lambda"),
        Some(&serde_json::json!({ "name": "halves", "version": "2" }))
    );
    let mut read: ScheduleSpec = serde_json::from_value(json).unwrap();
    assert_eq!(read, spec);
    read.bind(&lambdas).unwrap();
    lambdas.register("halves", Some("3".to_owned()), |_| 1.0);
    let error = read.bind(&lambdas).unwrap_err().to_string();
    assert_eq!(
        error,
        "sequential.scale.lambda.version: \"halves\" is registered with version \"3\", expected version \"2\""
    );
    let mut unknown = ScheduleSpec::parse("lambda = { name = 'half' }").unwrap();
    let error = unknown.bind(&lambdas).unwrap_err().to_string();
    assert_eq!(
        error,
        "lambda.name: \"half\" is not a registered function; registered functions: halves, nothing"
    );
    let mut nothing = ScheduleSpec::parse("lambda = { name = 'nothing' }").unwrap();
    nothing.bind(&lambdas).unwrap();
    assert_eq!(nothing.build(&run).unwrap().lr(0.1, run.at(3)), 0.0);
}
