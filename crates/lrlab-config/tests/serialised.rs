//! What the settings look like in a file.
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use lrlab_config::{
    AdamConfig, AverageEvery, AveragingConfig, EarlyStoppingConfig, GainPolicy, Metric, OnDivergence,
    OptimizerConfig, SgdConfig, Stem, SwaConfig, TokenConfig, Validation,
};
use lrlab_schedulers::Span;
use schemars::{JsonSchema, schema_for};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// `value` is written as `json` and read from it again.
#[expect(clippy::needless_pass_by_value, reason = "cases are made where they are checked")]
fn is<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: T, json: Value) {
    assert_eq!(serde_json::to_value(&value).unwrap(), json);
    assert_eq!(serde_json::from_value::<T>(json).unwrap(), value);
}

#[test]
fn variants_are_strings_or_tables() {
    is(Stem::ImageNet, json!("imagenet"));
    is(GainPolicy::ResetAtRestart, json!("reset"));
    is(Validation::TEST_SPLIT, json!("test"));
    is(Validation::Examples(500), json!(500));
    is(OnDivergence::Stop, json!("stop"));
    is(OnDivergence::Cut { factor: 0.25, limit: 2 }, json!({ "cut": { "factor": 0.25, "limit": 2 } }));
    is(AverageEvery::Cycle, json!("cycle"));
    is(AverageEvery::Length(Span::Epochs(2.0)), json!("2 epochs"));
}

#[test]
fn omitted_keys_have_defaults() {
    fn read<T: DeserializeOwned>(json: Value) -> T {
        serde_json::from_value(json).unwrap()
    }
    assert_eq!(read::<OnDivergence>(json!({ "rewind": {} })), OnDivergence::Rewind { factor: 0.5, limit: 3 });
    assert_eq!(
        read::<OptimizerConfig>(json!({ "sgd": { "nesterov": true } })),
        OptimizerConfig::Sgd(SgdConfig { nesterov: true, ..SgdConfig::default() })
    );
    assert_eq!(
        read::<AveragingConfig>(json!({ "swa": { "every": "cycle" } })),
        AveragingConfig::Swa(SwaConfig { start: Span::Fraction(0.75), every: AverageEvery::Cycle })
    );
    assert_eq!(read::<TokenConfig>(json!({})), TokenConfig::default());
}

/// AdamW has the weight decay of torch and candle by default, and Adam none. A given value is kept, and it is always
/// written, so that a stored specification does not depend on the default.
#[test]
fn the_weight_decay_of_adamw() {
    let read = |json: Value| serde_json::from_value::<OptimizerConfig>(json);
    let adam = |weight_decay, beta2| AdamConfig { weight_decay, beta2, ..AdamConfig::default() };
    for (json, expected) in [
        (json!({ "adamw": {} }), OptimizerConfig::AdamW(adam(AdamConfig::adamw().weight_decay, 0.999))),
        (json!({ "adamw": { "beta2": 0.95 } }), OptimizerConfig::AdamW(adam(0.01, 0.95))),
        (json!({ "adamw": { "weight_decay": 0.0 } }), OptimizerConfig::AdamW(adam(0.0, 0.999))),
        (json!({ "adamw": { "weight_decay": 0.3 } }), OptimizerConfig::AdamW(adam(0.3, 0.999))),
        (json!({ "adam": {} }), OptimizerConfig::Adam(adam(0.0, 0.999))),
    ] {
        assert_eq!(read(json).unwrap(), expected);
        let written = serde_json::to_value(&expected).unwrap();
        let (_, constants) = written.as_object().unwrap().iter().next().unwrap();
        assert!(constants["weight_decay"].is_number(), "{written}");
        assert_eq!(read(written).unwrap(), expected);
    }
    let error = read(json!({ "adamw": { "weight_dacay": 0.3 } })).unwrap_err().to_string();
    assert!(error.contains("unknown field `weight_dacay`"), "{error}");
    let schema = serde_json::to_value(schema_for!(OptimizerConfig)).unwrap();
    let default = |rule: &str| {
        let all = schema["oneOf"].as_array().unwrap();
        let constants = &all.iter().find(|one| one["required"][0] == rule).unwrap()["properties"][rule];
        let name = constants["$ref"].as_str().map(|name| name.trim_start_matches("#/$defs/"));
        let constants = name.map_or(constants, |name| &schema["$defs"][name]);
        constants["properties"]["weight_decay"]["default"].clone()
    };
    assert_eq!([default("adam"), default("adamw")], [json!(0.0), json!(0.01)]);
}

#[test]
fn mistakes_are_rejected_by_name() {
    fn error<T: DeserializeOwned + std::fmt::Debug>(json: Value) -> String {
        serde_json::from_value::<T>(json).unwrap_err().to_string()
    }
    let cases = [
        (
            error::<OnDivergence>(json!({ "rewind": { "factro": 0.1 } })),
            "unknown field `factro`, expected `factor` or `limit`",
        ),
        (error::<SgdConfig>(json!({ "beta": 0.1 })), "unknown field `beta`, expected one of `momentum`"),
        (error::<AverageEvery>(json!("30")), "30 has no unit: write \"30 epochs\""),
        (error::<AverageEvery>(json!("cycles")), "\"cycles\" is not a valid length"),
    ];
    for (found, expected) in cases {
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn the_schema_states_the_ranges() {
    let at = |schema: Value, pointer: &str| schema.pointer(pointer).cloned().unwrap_or_default();
    let schema = |pointer| at(schema_for!(SgdConfig).to_value(), pointer);
    assert_eq!(schema("/properties/momentum/minimum"), 0);
    assert_eq!(schema("/properties/momentum/exclusiveMaximum"), 1);
    let stopping = |pointer| at(schema_for!(EarlyStoppingConfig).to_value(), pointer);
    assert_eq!(stopping("/properties/start_epoch/minimum"), 1);
    assert_eq!(stopping("/properties/metric/$ref"), format!("#/$defs/{}", Metric::schema_name()));
    let names = stopping("/$defs/Metric/enum");
    assert_eq!(names, json!(Metric::names().collect::<Vec<_>>()));
    assert!(
        names.as_array().unwrap().contains(&json!("val_loss"))
            && !names.as_array().unwrap().contains(&json!("lr"))
    );
}
