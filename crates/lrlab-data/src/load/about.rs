//! The classes and the shape of a data set, before its rows are read.

use crate::catalog::catalog;
use crate::files::{Columns, Located, cifar10, cifar10::Format, imdb};
use crate::{Error, Source};

/// The common properties of the examples of a data set.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) classes: usize,
    /// The names of the classes; empty if they have none.
    pub(crate) names: Vec<String>,
    /// Channels, height and width; zeros for text.
    pub(crate) shape: [usize; 3],
    pub(crate) columns: Columns,
    /// The first training row of the data set's own validation split, if it has one.
    pub(crate) held_out: Option<usize>,
}

impl About {
    pub(crate) fn format(&self) -> Format {
        Format { shape: self.shape, classes: self.classes, columns: self.columns.clone() }
    }
}

/// Determines the properties of the examples of `source`, for a data set of the hub from its files.
pub(super) fn about(source: &Source, located: Option<&Located>) -> Result<About, Error> {
    let (classes, shape) = match source {
        Source::Cifar10(_) => (cifar10::CLASSES, [3, cifar10::SIDE, cifar10::SIDE]),
        Source::SyntheticPictures(settings) => (settings.classes, [3, settings.size, settings.size]),
        Source::Imdb(_) | Source::SyntheticReviews(_) => (imdb::CLASSES, [0; 3]),
        Source::HubPictures(_) | Source::HubTexts(_) => return of_tables(source, located),
        Source::Custom(custom) => return Err(Error::custom(custom)),
    };
    let card = catalog()?.iter().find(|card| card.name == source.name());
    let names = card.map(|card| card.classes.clone()).filter(|names| names.len() == classes);
    Ok(About {
        classes,
        names: names.unwrap_or_default(),
        shape,
        columns: Columns::default(),
        held_out: None,
    })
}

/// Checks the columns of a data set of the hub without reading its rows.
#[cfg(feature = "hub")]
pub(super) fn check_columns(source: &Source, located: Option<&Located>) -> Result<(), Error> {
    use crate::files::table::{LABELS, PICTURES, TEXTS, Table};
    let features = match source {
        Source::HubPictures(_) => &PICTURES,
        Source::HubTexts(_) => &TEXTS,
        _ => return Ok(()),
    };
    for (located, (_, path)) in located.iter().flat_map(|it| it.files.iter().map(move |file| (it, file))) {
        let (table, columns) = (Table::open(path)?, &located.columns);
        table.check(&LABELS, columns.labels.as_deref())?;
        table.check(features, columns.features.as_deref())?;
    }
    Ok(())
}

/// Reads the names or the labels of the classes from parquet files, and the shape from the first picture.
#[cfg(feature = "hub")]
fn of_tables(source: &Source, located: Option<&Located>) -> Result<About, Error> {
    use crate::files::table::Table;
    /// An upper bound on the number of classes; a larger label is an error.
    const MOST_CLASSES: usize = 1 << 20;
    let Some(located) = located else {
        return Ok(About {
            classes: 0,
            names: Vec::new(),
            shape: [0; 3],
            columns: Columns::default(),
            held_out: None,
        });
    };
    let (columns, mut names, mut classes) = (located.columns.clone(), Vec::new(), 0);
    for (_, path) in &located.files {
        let table = Table::open(path)?;
        if names.is_empty() {
            names = table.class_names(columns.labels.as_deref())?;
        }
        let labels = table.labels(columns.labels.as_deref(), MOST_CLASSES)?;
        classes = labels.into_iter().max().map_or(classes, |label| classes.max(label as usize + 1));
    }
    if names.is_empty() {
        let repo = source.name();
        let known = catalog()?.iter().find(|card| card.hub.as_ref().is_some_and(|hub| hub.id == repo));
        names = known.map(|card| card.classes.clone()).unwrap_or_default();
    }
    // Names of too few classes belong to other labels.
    if names.len() < classes {
        names.clear();
    }
    let classes = classes.max(names.len());
    if classes == 1 {
        return Err(Error::OneClass { dataset: source.name().to_owned() });
    }
    let shape = match source {
        Source::HubPictures(_) => {
            cifar10::first_shape(located.files.iter().map(|(_, path)| &**path), &columns)?
        }
        _ => [0; 3],
    };
    Ok(About { classes, names, shape, columns, held_out: None })
}

#[cfg(not(feature = "hub"))]
fn of_tables(source: &Source, _: Option<&Located>) -> Result<About, Error> {
    Err(Error::HubDisabled { dataset: source.name().to_owned() })
}
