//! Lossless serialization of a history, including non-finite metrics: `#[serde(with = "exact_history")]`.
//!
//! Each entry is serialized like a recorded one, with an additional key for non-finite metrics: `"not_finite": {"val_loss":
//! "NaN"}`. Readers of plain [`EpochMetrics`] ignore it.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::EpochMetrics;

/// The prefixes of the names of custom metrics and of hyperparameters.
const CUSTOM: &str = "extra.";
const HYPER: &str = "hyperparameters.";

#[derive(Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    metrics: EpochMetrics,
    /// The non-finite values as strings, by metric.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    not_finite: BTreeMap<String, String>,
}

/// Serializes the entries.
///
/// # Errors
/// Returns the error of the serializer.
pub fn serialize<S: Serializer>(history: &[EpochMetrics], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(history.iter().map(|metrics| {
        let odd = |name: &'static str| {
            let value = metrics.get(name).flatten().filter(|value| !value.is_finite())?;
            Some((name.to_owned(), value.to_string()))
        };
        let own = [(CUSTOM, &metrics.extra), (HYPER, &metrics.hyperparameters)];
        let own = own.into_iter().flat_map(|(prefix, values)| {
            let odd = values.iter().filter(|(_, value)| !value.is_finite());
            odd.map(move |(name, value)| (format!("{prefix}{name}"), value.to_string()))
        });
        let not_finite = EpochMetrics::NAMES.into_iter().filter_map(odd).chain(own).collect();
        Entry { metrics: metrics.recorded(), not_finite }
    }))
}

/// Deserializes the output of [`serialize`], or a plain history.
///
/// # Errors
/// Returns the error of the deserializer, or an error if a key is not a metric or a string is not a number.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<EpochMetrics>, D::Error> {
    let entries = Vec::<Entry>::deserialize(deserializer)?;
    let exact = |Entry { mut metrics, not_finite }| {
        for (name, word) in not_finite {
            let value: f64 = word.parse().map_err(|_| D::Error::custom(format!("{name} is {word:?}")))?;
            if let Some(own) = name.strip_prefix(CUSTOM) {
                metrics.extra.insert(own.to_owned(), value);
                continue;
            }
            if let Some(own) = name.strip_prefix(HYPER) {
                metrics.hyperparameters.insert(own.to_owned(), value);
                continue;
            }
            let place = metrics.get_mut(&name);
            *place.ok_or_else(|| D::Error::custom(format!("{name:?} is not a metric")))? = Some(value);
        }
        Ok(metrics)
    };
    entries.into_iter().map(exact).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct State(#[serde(with = "crate::exact_history")] Vec<EpochMetrics>);

    #[test]
    fn non_finite_values_are_preserved() {
        let metrics = EpochMetrics {
            epoch: 3,
            lr: Some(0.1),
            val_loss: Some(f64::NAN),
            train_loss: Some(f64::INFINITY),
            ..EpochMetrics::default()
        };
        let mut metrics = metrics.with("top5", 0.9).with("perplexity", f64::INFINITY);
        metrics.hyperparameters = [("momentum".to_owned(), f64::NEG_INFINITY)].into();
        let text = serde_json::to_string(&State(vec![metrics.clone(), EpochMetrics::default()])).unwrap();
        let State(read) = serde_json::from_str(&text).unwrap();
        assert!(read[0].val_loss.is_some_and(f64::is_nan), "{text}");
        assert_eq!((read[0].train_loss, read[0].lr, read[0].val_ece), (Some(f64::INFINITY), Some(0.1), None));
        assert_eq!((&read[0].extra, &read[0].hyperparameters), (&metrics.extra, &metrics.hyperparameters));
        assert_eq!(read[1], EpochMetrics::default());
        assert!(
            !serde_json::to_string(&read[1]).unwrap().contains("extra"),
            "files without custom metrics do not change"
        );
        let plain: Vec<EpochMetrics> = serde_json::from_str(&text).unwrap();
        assert_eq!(plain[0], metrics.recorded());
        for text in [r#"[{"not_finite": {"speed": "NaN"}}]"#, r#"[{"not_finite": {"lr": "much"}}]"#] {
            assert!(serde_json::from_str::<State>(text).is_err_and(|error| error.is_data()), "{text}");
        }
    }
}
