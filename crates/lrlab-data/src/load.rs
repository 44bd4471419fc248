//! From a configuration to a data set.

use std::sync::Arc;

use crate::dataset::Store;
use crate::digest::DatasetIdentity;
use crate::pictures::{Normalisation, PictureSplit};
use crate::synthetic;
use crate::tokens::{TokenSplit, tokenizer};
use crate::{DataConfig, Dataset, Duplicates, Error, Kind, Source, Split, split};

/// What content the configuration names, without decoding it.
///
/// # Errors
/// Files are missing or cannot be read, or the content is not the pinned one.
pub fn digest(config: &DataConfig) -> Result<DatasetIdentity, Error> {
    let identity = match &config.source {
        Source::SyntheticPictures(settings) => synthetic::identity(config.source.name(), settings),
        Source::SyntheticReviews(settings) => synthetic::identity(config.source.name(), settings),
        Source::Cifar10(_) => return Err(Error::HubDisabled { dataset: "cifar10" }),
        Source::Imdb(_) => return Err(Error::HubDisabled { dataset: "imdb" }),
    };
    match &config.pin_digest {
        Some(expected) if *expected != identity.digest => Err(Error::PinnedDigest {
            dataset: identity.name,
            expected: expected.clone(),
            found: identity.digest,
        }),
        _ => Ok(identity),
    }
}

/// Loads, splits and prepares a data set.
///
/// # Errors
/// Every fault of the files with its row, see [`Error`]; settings that leave a split without examples.
pub fn load(config: &DataConfig) -> Result<Dataset, Error> {
    let identity = digest(config)?;
    todo_load(config, identity)
}

fn todo_load(config: &DataConfig, identity: DatasetIdentity) -> Result<Dataset, Error> {
    match &config.source {
        Source::SyntheticPictures(settings) => {
            let (train, test) = synthetic::pictures::generate(settings);
            let contents: Vec<u128> = (0..train.labels.len() as u128).collect();
            let rows = rows(config, &train.labels, &contents, settings.classes, &test.labels, 5)?;
            let all = Arc::new(train.pictures);
            let test_pictures = Arc::new(test.pictures);
            let normalisation = Arc::new(Normalisation::of(&all, &rows.0));
            let part = |rows: &[u32], pictures: &Arc<_>, labels: &[u32]| Split {
                labels: rows.iter().map(|&row| labels[row as usize]).collect(),
                store: Store::Pictures(PictureSplit {
                    rows: rows.into(),
                    places: rows.into(),
                    pictures: Arc::clone(pictures),
                    normalisation: Arc::clone(&normalisation),
                }),
            };
            Ok(Dataset {
                name: identity.name,
                classes: settings.classes,
                kind: Kind::Pictures { channels: 3, height: settings.size, width: settings.size },
                digest: identity.digest,
                files: identity.files,
                notes: identity.notes,
                duplicates: Duplicates::default(),
                tokenizer: None,
                train: part(&rows.0, &all, &train.noisy),
                validation: part(&rows.1, &all, &train.labels),
                test: part(&rows.2, &test_pictures, &test.labels),
            })
        }
        Source::SyntheticReviews(settings) => {
            let (train, test) = synthetic::reviews::generate(settings);
            let contents: Vec<u128> = (0..train.labels.len() as u128).collect();
            let rows = rows(config, &train.labels, &contents, 2, &test.labels, 5)?;
            let pick = |rows: &[u32], texts: &'_ [String]| -> Vec<String> {
                rows.iter().map(|&row| texts[row as usize].clone()).collect()
            };
            let training = pick(&rows.0, &train.texts);
            let training: Vec<&str> = training.iter().map(String::as_str).collect();
            let tokenizer = tokenizer::train(&config.tokens, &training)?;
            let part = |rows: &[u32], texts: &[String], labels: &[u32]| -> Result<Split, Error> {
                let texts = pick(rows, texts);
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                Ok(Split {
                    labels: rows.iter().map(|&row| labels[row as usize]).collect(),
                    store: Store::Tokens(TokenSplit {
                        rows: rows.into(),
                        sequences: Arc::new(tokenizer::encode(&tokenizer, &config.tokens, &texts)?),
                    }),
                })
            };
            Ok(Dataset {
                name: identity.name,
                classes: 2,
                kind: Kind::Tokens {
                    vocabulary: tokenizer.get_vocab_size(true),
                    max_length: config.tokens.max_length,
                },
                digest: identity.digest,
                files: identity.files,
                notes: identity.notes,
                duplicates: Duplicates::default(),
                tokenizer: None,
                train: part(&rows.0, &train.texts, &train.noisy)?,
                validation: part(&rows.1, &train.texts, &train.labels)?,
                test: part(&rows.2, &test.texts, &test.labels)?,
            })
        }
        Source::Cifar10(_) => Err(Error::HubDisabled { dataset: "cifar10" }),
        Source::Imdb(_) => Err(Error::HubDisabled { dataset: "imdb" }),
    }
}

/// Rows of training, validation and test.
fn rows(
    config: &DataConfig,
    labels: &[u32],
    contents: &[u128],
    classes: usize,
    test: &[u32],
    share: usize,
) -> Result<(Vec<u32>, Vec<u32>, Vec<u32>), Error> {
    let wanted = config.validation.unwrap_or(labels.len() / share);
    if wanted >= labels.len() {
        return Err(Error::TooFewExamples {
            dataset: config.source.name().to_owned(),
            wanted,
            available: labels.len(),
        });
    }
    let seed = config.split_seed;
    let (train, validation) = split::hold_out(labels, contents, classes, wanted, seed);
    let limit = &config.limit;
    Ok((
        split::limited(train, labels, classes, limit.train, seed, "limit train"),
        split::limited(validation, labels, classes, limit.validation, seed, "limit validation"),
        split::limited((0..test.len() as u32).collect(), test, classes, limit.test, seed, "limit test"),
    ))
}
