//! The rows of each split and the notes on the content, for pictures and reviews.

use std::path::PathBuf;
use std::sync::Arc;

use super::about::About;
use crate::catalog::Part;
use crate::dataset::Duplicates;
use crate::digest::DatasetIdentity;
use crate::files::Located;
use crate::{DataConfig, Error, Validation, ValidationSplit, split};

/// Rows of each split, ascending.
pub(crate) struct Rows {
    pub(crate) train: Vec<u32>,
    pub(crate) validation: Vec<u32>,
    pub(crate) test: Vec<u32>,
}

/// Splits rows by true labels and contents.
///
/// # Errors
/// Returns an error if the settings or the data leave a split empty.
pub(crate) fn split_rows(
    config: &DataConfig,
    about: &About,
    train: (&[u32], &[u128]),
    test: &[u32],
) -> Result<Rows, Error> {
    let (classes, (labels, contents)) = (about.classes, train);
    let dataset = || config.source.name().to_owned();
    let all_test = (0..test.len() as u32).collect();
    let (seed, limit) = (config.split_seed, &config.limit);
    let limited = |train, validation| {
        let rows = Rows {
            train: split::limited(train, labels, classes, limit.train, seed, "limit train"),
            validation: split::limited(
                validation,
                labels,
                classes,
                limit.validation,
                seed,
                "limit validation",
            ),
            test: split::limited(all_test, test, classes, limit.test, seed, "limit test"),
        };
        let splits = [
            ("training", &rows.train, true),
            ("validation", &rows.validation, validates(config)),
            ("test", &rows.test, true),
        ];
        let empty = splits.into_iter().find(|(_, rows, needed)| *needed && rows.is_empty());
        match empty.map(|(split, ..)| split) {
            None => Ok(rows),
            Some(split) => {
                let (train, test) = (labels.len(), test.len());
                Err(Error::EmptySplit { dataset: dataset(), split, train, test })
            }
        }
    };
    if let Some(first) = about.held_out {
        let (train, validation) =
            ((0..first as u32).collect(), (first as u32..labels.len() as u32).collect());
        return match config.validation {
            None => limited(train, validation),
            Some(Validation::Split(ValidationSplit::Test)) => limited(train, Vec::new()),
            Some(Validation::Examples(examples)) => Err(Error::Setting {
                setting: "validation",
                value: examples.to_string(),
                expected: "no value, because this data set has its own validation split; reduce it with `limit.validation`",
            }),
        };
    }
    let wanted = match config.validation {
        None => config.source.default_validation(labels.len()),
        Some(Validation::Examples(examples)) => examples,
        Some(Validation::Split(ValidationSplit::Test)) => 0,
    };
    if wanted > 0 && wanted >= labels.len() {
        return Err(Error::TooFewExamples { dataset: dataset(), wanted, available: labels.len() });
    }
    let (train, validation) = split::hold_out(labels, contents, classes, wanted, seed);
    limited(train, validation)
}

/// Returns whether validation reads examples of its own.
pub(crate) fn validates(config: &DataConfig) -> bool {
    !matches!(config.validation, Some(Validation::Examples(0) | Validation::Split(ValidationSplit::Test)))
}

pub(crate) fn pick<T: Copy>(values: &[T], rows: &[u32]) -> Arc<[T]> {
    rows.iter().map(|&row| values[row as usize]).collect()
}

/// Returns the notes on the content, the duplicates and the split.
pub(crate) fn notes(
    config: &DataConfig,
    about: &About,
    identity: &DatasetIdentity,
    duplicates: Duplicates,
) -> Vec<String> {
    let name = &identity.name;
    let mut notes = identity.notes.clone();
    if config.validation == Some(Validation::TEST_SPLIT) {
        notes.push(format!(
            "{name}: LEAK: validation is the test split, so every choice by validation depends on the test examples"
        ));
    }
    let Duplicates { within_train, within_test, train_test } = duplicates;
    if within_train > 0 {
        let placed = match about.held_out {
            None => "equal examples are in the same split",
            Some(_) => "they are kept in the splits that the data set gives them",
        };
        notes.push(format!("{name}: duplicates within training and validation: {within_train}; {placed}"));
    }
    if within_test > 0 {
        notes.push(format!("{name}: duplicates within the test split: {within_test}; they are kept"));
    }
    if train_test > 0 {
        notes.push(format!(
            "{name}: test examples that also occur in training or validation: {train_test}; they are kept"
        ));
    }
    notes
}

/// Returns the files of a part.
pub(crate) fn places(located: Option<&Located>, part: Part) -> Vec<PathBuf> {
    located.map(|located| located.part(part)).unwrap_or_default()
}
