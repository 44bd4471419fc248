//! What the settings look like in a file.
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use lrlab_config::{
    AverageEvery, AveragingConfig, EarlyStoppingConfig, GainPolicy, Metric, OnDivergence, OptimizerConfig,
    SgdConfig, Stem, SwaConfig, TokenConfig, Validation,
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
