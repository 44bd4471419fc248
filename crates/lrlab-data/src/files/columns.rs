//! Data sets of the hub whose parquet files have a column of pictures or texts and a column of labels.

use crate::catalog::{HubFiles, KnownFile, Part, catalog};
use crate::{Error, HubPictures, HubTexts, Source};

/// The revision at which the hub stores the conversion of every data set to parquet.
const CONVERTED: &str = "refs/convert/parquet";

/// The columns to read; `None` finds a column by its usual names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Columns {
    /// The column of pictures or texts.
    pub(crate) features: Option<String>,
    pub(crate) labels: Option<String>,
}

impl Columns {
    /// The part of cache keys that identifies the columns; empty for the usual names.
    pub(crate) fn key(&self) -> String {
        match self {
            Self { features: None, labels: None } => String::new(),
            Self { features, labels } => format!(" {features:?} {labels:?}"),
        }
    }
}

/// The files of a `hub_pictures` or `hub_texts` source.
pub(super) struct Tables {
    pub(super) repo: String,
    pub(super) revision: String,
    pub(super) files: Vec<KnownFile>,
    pub(super) columns: Columns,
}

/// Describes the files of a `hub_pictures` or `hub_texts` source, with the help of the catalog; `None` for another source.
pub(super) fn tables(source: &Source) -> Result<Option<Tables>, Error> {
    let (repo, revision, features, label, train, test) = match source {
        Source::HubPictures(HubPictures { repo, revision, picture, label, train, test }) => {
            (repo, revision, picture, label, train, test)
        }
        Source::HubTexts(HubTexts { repo, revision, text, label, train, test }) => {
            (repo, revision, text, label, train, test)
        }
        _ => return Ok(None),
    };
    let listed = || catalog().map(|cards| cards.iter().filter_map(|card| card.hub.as_ref()));
    let card = listed()?.find(|hub| hub.id == *repo);
    let part = |part, missing, given: &[String]| -> Result<Vec<KnownFile>, Error> {
        let known: Vec<&KnownFile> =
            card.iter().flat_map(|hub| &hub.files).filter(|file| file.part == part).collect();
        if given.is_empty() && known.is_empty() {
            let listed = listed()?.map(|hub| hub.id.clone()).collect();
            return Err(Error::NotListed { repo: repo.clone(), missing, listed });
        }
        if given.is_empty() {
            return Ok(known.into_iter().cloned().collect());
        }
        let file = |path: &String| {
            let variants = known.iter().find(|file| file.path == *path).map(|file| file.variants.clone());
            KnownFile { path: path.clone(), part, variants: variants.unwrap_or_default() }
        };
        Ok(given.iter().map(file).collect())
    };
    let mut files = part(Part::Train, "train", train)?;
    files.extend(part(Part::Test, "test", test)?);
    let of_card = |of: fn(&HubFiles) -> Option<String>| card.and_then(of);
    let revision = revision.clone().or_else(|| of_card(|hub| Some(hub.revision.clone())));
    let columns = Columns {
        features: features
            .clone()
            .or_else(|| of_card(|hub| hub.picture.clone().or_else(|| hub.text.clone()))),
        labels: label.clone().or_else(|| of_card(|hub| hub.label.clone())),
    };
    Ok(Some(Tables {
        repo: repo.clone(),
        revision: revision.unwrap_or_else(|| CONVERTED.to_owned()),
        files,
        columns,
    }))
}
