//! The catalog of known data sets, from `datasets/*.toml`.

use std::path::PathBuf;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::{Error, Files, HubPictures, HubTexts, Source, SyntheticPictures, SyntheticReviews};

const ENTRIES: [(&str, &str); 10] = [
    ("cifar10", include_str!("../datasets/cifar10.toml")),
    ("imdb", include_str!("../datasets/imdb.toml")),
    ("cifar100", include_str!("../datasets/cifar100.toml")),
    ("mnist", include_str!("../datasets/mnist.toml")),
    ("fashion-mnist", include_str!("../datasets/fashion-mnist.toml")),
    ("ag-news", include_str!("../datasets/ag-news.toml")),
    ("sst2", include_str!("../datasets/sst2.toml")),
    ("yelp-polarity", include_str!("../datasets/yelp-polarity.toml")),
    ("synthetic-pictures", include_str!("../datasets/synthetic-pictures.toml")),
    ("synthetic-reviews", include_str!("../datasets/synthetic-reviews.toml")),
];

/// The description of a data set: a file of `datasets/`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// The name, as in [`Source::name`](crate::Source::name).
    pub name: String,
    /// The display name.
    pub title: String,
    /// The homepage.
    pub homepage: String,
    /// The terms of use, if stated.
    pub licence: String,
    /// The citation.
    pub citation: String,
    /// The names of the classes in the order of the labels; empty if the classes have no names.
    #[serde(default)]
    pub classes: Vec<String>,
    /// The files on the hub.
    pub hub: Option<HubFiles>,
    /// The files in a local folder.
    pub folder: Option<FolderFiles>,
    /// The settings of the generator.
    pub generator: Option<Generator>,
}

impl Card {
    /// Returns the source that reads this data set: from `folder` if it is given, otherwise from the hub. A generated set has
    /// the default settings.
    ///
    /// # Errors
    /// Returns [`Error::NoFolder`] if `folder` is given and the data set has no version in a folder.
    pub fn source(&self, folder: Option<PathBuf>) -> Result<Source, Error> {
        if folder.is_some() && self.folder.is_none() {
            return Err(Error::NoFolder { dataset: self.name.clone() });
        }
        let repo = |hub: &HubFiles| hub.id.clone();
        Ok(match (&self.hub, &self.generator) {
            (Some(_), _) if self.name == "cifar10" => Source::Cifar10(Files { folder }),
            (Some(hub), _) if hub.picture.is_some() => {
                Source::HubPictures(HubPictures { repo: repo(hub), ..HubPictures::default() })
            }
            (Some(hub), _) if hub.text.is_some() => {
                Source::HubTexts(HubTexts { repo: repo(hub), ..HubTexts::default() })
            }
            (_, Some(Generator { size: Some(_), .. })) => {
                Source::SyntheticPictures(SyntheticPictures::default())
            }
            (_, Some(_)) => Source::SyntheticReviews(SyntheticReviews::default()),
            _ => Source::Imdb(Files { folder }),
        })
    }
}

/// A data set on the Hugging Face hub.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubFiles {
    /// Repository.
    pub id: String,
    /// Branch, tag or commit.
    pub revision: String,
    /// The column of pictures of a set of pictures that `hub_pictures` reads.
    #[serde(default)]
    pub picture: Option<String>,
    /// The column of texts of a set of texts that `hub_texts` reads.
    #[serde(default)]
    pub text: Option<String>,
    /// The column of labels; `None` finds it by the usual names.
    #[serde(default)]
    pub label: Option<String>,
    /// Whether the description is based only on the documentation of the data set and was not checked against its files.
    #[serde(default)]
    pub unverified: bool,
    /// Its files.
    pub files: Vec<KnownFile>,
}

/// A data set in a local folder.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderFiles {
    /// Its files, or folders of one file per example.
    pub files: Vec<KnownFile>,
}

/// A file, or a folder of one file per example.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownFile {
    /// Path within the repository or folder.
    pub path: String,
    /// The part that its examples belong to.
    pub part: Part,
    /// The known variants of its content.
    #[serde(default)]
    pub variants: Vec<Variant>,
}

/// The part of a data set that a file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Training and validation.
    Train,
    /// Test.
    Test,
}

/// A known variant of the content of a file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// `original`, `jpeg-copy`, …
    pub name: String,
    /// SHA-256 of the bytes, in hexadecimal digits.
    pub sha256: String,
    /// A note for readers of results.
    pub note: Option<String>,
}

/// Default settings of a generator.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generator {
    /// The version, raised whenever the output changes.
    pub version: u32,
    /// Examples for training and validation together.
    pub train: usize,
    /// Examples of the test split.
    pub test: usize,
    /// Height and width of pictures.
    pub size: Option<usize>,
    /// Classes.
    pub classes: usize,
    /// Seed.
    pub seed: u64,
    /// Probability that a training label is the next class instead of the true one.
    pub label_noise: f64,
}

/// Returns all known data sets.
///
/// # Errors
/// Returns [`Error::Catalog`] if an embedded entry is malformed.
pub fn catalog() -> Result<&'static [Card], Error> {
    static CARDS: LazyLock<Result<Vec<Card>, (String, toml::de::Error)>> = LazyLock::new(|| {
        let card = |(name, text): (&str, &str)| toml::from_str(text).map_err(|e| (name.to_owned(), e));
        ENTRIES.into_iter().map(card).collect()
    });
    CARDS
        .as_ref()
        .map(Vec::as_slice)
        .map_err(|(name, source)| Error::Catalog { name: name.clone(), source: source.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic;

    #[test]
    fn every_entry_parses() {
        let cards = catalog().unwrap();
        for (card, (name, _)) in cards.iter().zip(ENTRIES) {
            assert_eq!(card.name, name);
            let source = card.source(None).unwrap();
            let repo = card.hub.as_ref().map(|hub| hub.id.as_str());
            assert!(source.name() == name || Some(source.name()) == repo, "{source:?}");
            let folder = card.source(Some("somewhere".into()));
            assert_eq!(folder.is_ok(), ["cifar10", "imdb"].contains(&name), "{folder:?}");
            let digests = card.hub.iter().flat_map(|hub| &hub.files);
            let digests = digests.chain(card.folder.iter().flat_map(|folder| &folder.files));
            for variant in digests.flat_map(|file| &file.variants) {
                let hex = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
                assert!(variant.sha256.len() == 64 && variant.sha256.bytes().all(hex), "{variant:?}");
            }
        }
    }

    #[test]
    fn the_catalog_describes_the_generators() {
        let generator = |name: &str| {
            catalog().unwrap().iter().find(|card| card.name == name).unwrap().generator.clone().unwrap()
        };
        let SyntheticPictures { train, test, size, classes, seed } = SyntheticPictures::default();
        let version = synthetic::VERSION;
        let expected = Generator {
            version,
            train,
            test,
            size: Some(size),
            classes,
            seed,
            label_noise: synthetic::pictures::LABEL_NOISE,
        };
        assert_eq!(generator("synthetic-pictures"), expected);
        let SyntheticReviews { train, test, seed } = SyntheticReviews::default();
        let label_noise = synthetic::reviews::LABEL_NOISE;
        let expected = Generator { version, train, test, size: None, classes: 2, seed, label_noise };
        assert_eq!(generator("synthetic-reviews"), expected);
    }
}
