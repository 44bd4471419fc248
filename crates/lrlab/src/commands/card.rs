//! Writes what other programs need to use a trained network: `model.json`, next to the weights and as their metadata, and
//! `tokenizer.json` for text.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context;
use lrlab_data::{Dataset, Kind};
use lrlab_runs::{PlannedRun, write_atomic};
use lrlab_spec::RunSpec;
use serde_json::{Value, json};

const CARD: &str = "model.json";
const TOKENIZER: &str = "tokenizer.json";

/// Writes both files to the folder of a run. Their content depends only on the run, so all attempts write the same bytes.
pub(crate) fn write(folder: &Path, run: &PlannedRun, spec: &RunSpec, data: &Dataset) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec_pretty(&card(run, spec, data))?;
    text.push(b'\n');
    write_atomic(&folder.join(CARD), &text)?;
    if let Some(tokenizer) = &data.tokenizer {
        let bytes = std::fs::read(tokenizer).with_context(|| tokenizer.display().to_string())?;
        write_atomic(&folder.join(TOKENIZER), &bytes)?;
    }
    Ok(())
}

/// The card as the metadata of files of weights. The specification is in canonical form, so that equal runs have equal
/// files. All of it is one entry, because the order of several is not defined.
pub(crate) fn metadata(
    run: &PlannedRun,
    spec: &RunSpec,
    data: &Dataset,
) -> anyhow::Result<HashMap<String, String>> {
    let mut card = card(run, spec, data);
    card["spec"] = serde_json::from_str(&lrlab_spec::canonical(spec)?)?;
    Ok(HashMap::from([("lrlab".to_owned(), card.to_string())]))
}

fn card(run: &PlannedRun, spec: &RunSpec, data: &Dataset) -> Value {
    let input = match data.kind {
        Kind::Pictures { channels, height, width } => {
            let moments = data.normalisation().unwrap_or_default();
            let [mean, std] = [0, 1].map(|index| moments.iter().map(|pair| pair[index]).collect::<Vec<_>>());
            json!({ "pictures": {
                "channels": channels, "height": height, "width": width,
                "normalisation": { "mean": mean, "std": std },
            } })
        }
        Kind::Tokens { vocabulary, max_length } => json!({ "tokens": {
            "vocabulary": vocabulary, "max_length": max_length, "keep": spec.data.tokens.keep, "padding": 0,
            "tokenizer": data.tokenizer.as_ref().map(|_| TOKENIZER),
        } }),
    };
    let names: Vec<String> = if data.class_names.is_empty() {
        (0..data.classes).map(|class| class.to_string()).collect()
    } else {
        data.class_names.clone()
    };
    json!({
        "run_id": run.run_id,
        "weights": "best.safetensors",
        "classes": names,
        "input": input,
        "dataset": { "name": data.name, "digest": data.digest },
        "spec": run.spec,
    })
}

#[cfg(test)]
mod tests {
    use lrlab_data::{DataConfig, InMemory, Labelled, Source, SyntheticPictures, Validation};
    use lrlab_runs::RunId;

    use super::*;

    /// The mean and the standard deviation are those of the training pixels, scaled to [0, 1].
    #[test]
    fn the_card_has_the_normalisation_of_the_training_split() {
        let folder = tempfile::tempdir().unwrap();
        // The rows are equal, so that none can be held out.
        let config = DataConfig {
            validation: Some(Validation::Examples(0)),
            ..DataConfig::new(
                Source::SyntheticPictures(SyntheticPictures::default()),
                folder.path().join("cache"),
            )
        };
        let part = |n: usize| {
            let pixels = (0..n * 4).map(|i| if i % 2 == 0 { 0 } else { 255 }).collect();
            Labelled::new(pixels, (0..n as u32).map(|row| row % 2).collect())
        };
        let set = InMemory::new("checks", ["a", "b"], part(20), part(4));
        let data = Dataset::from_pictures([1, 2, 2], set, &config).unwrap();
        let spec = json!({ "data": {} });
        let run = PlannedRun {
            run_id: RunId::of("a", "b"),
            cell: [].into(),
            spec: spec.into(),
            dataset_digest: data.digest.clone(),
        };
        let text = "name = \"a\"\n[axes]\nmodel = [\"m\"]\nschedule = [\"s\"]\nseed = [0]\n[defaults]\nlr = 1\nepochs = 1\n\
            batch_size = 1\noptimizer = { adam = {} }\n[models.m]\nnetwork = { linear = {} }\ndata = \"d\"\n[data.d]\n\
            source = { synthetic_pictures = {} }\n[schedules.s]\nstatic = {}\n";
        let experiment = lrlab_spec::read(text, "a.toml", &[], &lrlab_spec::Catalog::default()).unwrap();
        let (_, spec) = experiment.cells(&[], None).unwrap().remove(0);
        write(folder.path(), &run, &spec, &data).unwrap();
        let card: Value = serde_json::from_slice(&std::fs::read(folder.path().join(CARD)).unwrap()).unwrap();
        assert_eq!(card["classes"], json!(["a", "b"]));
        assert_eq!(card["input"]["pictures"]["normalisation"], json!({ "mean": [0.5], "std": [0.5] }));
        assert_eq!(card["dataset"]["digest"], json!(data.digest));
        assert!(!folder.path().join(TOKENIZER).exists());
        let inside = metadata(&run, &spec, &data).unwrap();
        let mut inside: Value = serde_json::from_str(&inside["lrlab"]).unwrap();
        assert_eq!(inside["spec"]["data"]["pin_digest"], Value::Null);
        inside["spec"] = card["spec"].clone();
        assert_eq!(inside, card);
    }
}
