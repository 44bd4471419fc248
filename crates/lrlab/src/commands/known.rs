//! Finds the digests of data sets, even on machines that do not have the data.

use std::cell::OnceCell;
use std::path::Path;

use lrlab_data::Source;
use lrlab_runs::{Records, RunStore};
use lrlab_spec::{DataSpec, Experiment};

use super::on_record::Digests;
use crate::Registry;
use crate::progress::{eprint_line, with_causes};

/// The known digests of data sets, which need not be available on this machine.
#[derive(Default)]
pub(super) struct Known<'a> {
    /// From runs on record; they take precedence over the data.
    pub(super) recorded: Digests,
    /// The runs on record, whose specifications the plan shares.
    pub(super) records: Option<&'a Records>,
    /// From the store, for data that are not on this machine.
    pub(super) stored: Option<Stored<'a>>,
    /// What else to do about data that are not on this machine.
    pub(super) missing: MissingData,
    /// Whether notes about the data are not printed.
    pub(super) quiet: bool,
}

/// The digests in a store: those of the stored plan, then those of the results.
pub(super) struct Stored<'a> {
    planned: Digests,
    store: &'a RunStore,
    results: OnceCell<Digests>,
}

/// What to do about data that are not on this machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum MissingData {
    /// They are downloaded.
    #[default]
    Download,
    /// They are downloaded if the store does not know their digest.
    DownloadUnknown,
    /// They have an empty digest if the store does not know it.
    Ignore,
}

impl<'a> Stored<'a> {
    /// An unreadable plan is reported as a note and has no digests.
    pub(super) fn of(experiment: &Experiment, store: &'a RunStore) -> Self {
        let planned = match store.plan(&experiment.name) {
            Ok(stored) => stored.as_ref().map(Digests::planned).unwrap_or_default(),
            Err(error) => {
                eprint_line(&format!("note: {error}; its digests are not used for missing data"));
                Digests::default()
            }
        };
        Self { planned, store, results: OnceCell::new() }
    }

    /// Returns a digest, and where it comes from.
    fn get(&self, data: &DataSpec) -> Option<(&str, &'static str)> {
        let planned = self.planned.get(data).map(|digest| (digest, "in the stored plan"));
        planned.or_else(|| {
            let results = self.results.get_or_init(|| Digests::of_results(self.store));
            results.get(data).map(|digest| (digest, "of the runs in the store"))
        })
    }
}

impl<'a> Known<'a> {
    /// Knows what is in records.
    pub(super) fn recorded(records: &'a Records) -> Self {
        Self { recorded: Digests::of(records), records: Some(records), ..Self::default() }
    }

    /// Returns the digest of a data set, and notes about it: from the runs on record, the files on this machine, and, as
    /// [`MissingData`] says, the network and the store.
    pub(super) fn digest(
        &self,
        data: &DataSpec,
        registry: &Registry,
        cache: &Path,
    ) -> anyhow::Result<(String, Vec<String>)> {
        // A digest that is not the required one is of other data.
        let required = |digest: &str| data.pin_digest.as_deref().is_none_or(|pin| pin == digest);
        if let Some(digest) = self.recorded.get(data).filter(|digest| required(digest)) {
            return Ok((digest.to_owned(), Vec::new()));
        }
        let mut found = registry.identify_local(data, cache);
        // A loader of a registered data set that uses the network has already done so.
        let can_download = !matches!(data.source, Source::Custom(_));
        if self.missing == MissingData::Download
            && can_download
            && found.as_ref().is_err_and(|error| is_missing(error, data))
        {
            found = registry.identify(data, cache);
        }
        let Err(error) = found else { return found };
        let missing = is_missing(&error, data);
        let stored = self.stored.as_ref().filter(|_| missing).and_then(|stored| stored.get(data));
        if let Some((digest, place)) = stored.filter(|(digest, _)| required(digest)) {
            let name = data.source.name();
            let note = format!(
                "the data of {name} are not available, so the digest {place} is used ({})",
                with_causes(&error)
            );
            return Ok((digest.to_owned(), vec![note]));
        }
        match self.missing {
            MissingData::Ignore => {
                let note = format!("{}; its runs count as not run", with_causes(&error));
                Ok((String::new(), vec![note]))
            }
            MissingData::DownloadUnknown if missing && can_download => registry.identify(data, cache),
            _ => Err(error),
        }
    }
}

/// Whether an error means that data are missing on this machine. Every error of a registered data set's loader counts as
/// missing data, and so does a data set that this program does not register.
fn is_missing(error: &anyhow::Error, data: &DataSpec) -> bool {
    match error.downcast_ref::<lrlab_data::Error>() {
        Some(error) => error.is_missing() || matches!(error, lrlab_data::Error::Custom { .. }),
        None => matches!(data.source, Source::Custom(_)),
    }
}
