//! The schema of experiment files.

use lrlab_spec::schema;

use super::FOLDER;

/// Editors read the copy of the schema beside the experiments.
#[test]
fn the_schema_beside_the_experiments_is_current() {
    let text = std::fs::read_to_string(format!("{FOLDER}/schema.json")).unwrap();
    let expected = serde_json::to_string_pretty(&schema()).unwrap();
    assert!(text.trim_end() == expected, "`lrlab schema > experiments/schema.json` brings it up to date");
    for entry in std::fs::read_dir(FOLDER).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("#:schema ./schema.json\n"), "{} names no schema", path.display());
        }
    }
}

/// Every number without a bound and every string without a pattern in the schema accepts all values.
#[test]
fn the_schema_has_the_bounds_of_the_program() {
    let definitions = schema()["$defs"].clone();
    let at = |pointer: &str| definitions.pointer(pointer).cloned().unwrap_or_default();
    assert_eq!(at("/RunKeys/properties/lr/exclusiveMinimum"), 0);
    assert_eq!(at("/RunKeys/properties/epochs/minimum"), 1);
    assert_eq!(at("/RunKeys/properties/select/$ref"), "#/$defs/Metric");
    assert_eq!(at("/Limit/properties/train/anyOf/0/minimum"), 1);
    assert_eq!(at("/DataSpec/properties/validation/anyOf/0/anyOf/0/minimum"), 1);
    let mut free = Vec::new();
    for owner in ["RunKeys", "SgdConfig", "AdamConfig", "ResNetConfig", "LstmConfig", "TransformerConfig"]
        .into_iter()
        .chain(["BagOfEmbeddingsConfig", "EmaConfig", "DivergenceConfig", "EarlyStoppingConfig"])
    {
        let properties = definitions[owner]["properties"].as_object().unwrap();
        for (key, property) in properties {
            let property = property["anyOf"].get(0).unwrap_or(property);
            let number = property["type"] == "number" || property["type"][0] == "number";
            if number && property.get("minimum").or(property.get("exclusiveMinimum")).is_none() {
                free.push(format!("{owner}.{key}"));
            }
        }
    }
    assert_eq!(free, ["LstmConfig.forget_bias", "EarlyStoppingConfig.baseline"]);
}

/// Validators reject a schema with a null in place of a list or a table.
#[test]
fn the_schema_has_no_null() {
    fn nulls(path: &str, json: &serde_json::Value, found: &mut Vec<String>) {
        match json {
            serde_json::Value::Null if !path.ends_with("/default") => found.push(path.to_owned()),
            serde_json::Value::Object(entries) => {
                entries.iter().for_each(|(key, value)| nulls(&format!("{path}/{key}"), value, found));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| nulls(path, item, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    nulls("", &schema(), &mut found);
    assert_eq!(found, [""; 0]);
}

#[test]
fn the_schema_names_every_section() {
    let schema = schema();
    let sections = schema["properties"].as_object().unwrap();
    for key in [
        "name",
        "axes",
        "defaults",
        "models",
        "data",
        "schedules",
        "monitors",
        "exclude",
        "include",
        "set",
        "claims",
        "zip",
        "search",
    ] {
        assert!(sections.contains_key(key), "{key}");
    }
    let axes = &schema["$defs"]["Axes"]["properties"];
    for key in [
        "lr",
        "optimizer.sgd.momentum",
        "data.tokens.max_length",
        "early_stopping.patience",
        "model.resnet.depth",
        "clip_norm",
    ] {
        assert!(axes[key].is_object(), "{key}");
    }
}
