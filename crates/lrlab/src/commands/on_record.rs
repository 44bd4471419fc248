//! Runs on record: finished ones that lie in files outside of the store.

use lrlab_runs::{Records, RunId};
use lrlab_spec::{DataSpec, RunSpec, SourceSpec};
use serde::Deserialize;

/// The digests of data sets as records state them, so that whoever has the records need not have the data.
pub(crate) struct Digests(Vec<(DataSpec, String)>);

impl Digests {
    /// A record that this version cannot read states none.
    pub(crate) fn of(records: &Records) -> Self {
        let mut all: Vec<(DataSpec, String)> = Vec::new();
        for record in records.iter() {
            let Ok(spec) = RunSpec::deserialize(&record.result.spec) else { continue };
            let stated = (content(&spec.data), record.result.provenance.dataset_digest.clone());
            if !stated.1.is_empty() && !all.contains(&stated) {
                all.push(stated);
            }
        }
        Self(all)
    }

    /// The digest of a data set; `None` where no record states one, or different ones are stated.
    pub(crate) fn get(&self, data: &DataSpec) -> Option<&str> {
        let wanted = content(data);
        let mut found = self.0.iter().filter(|(data, _)| *data == wanted).map(|(_, digest)| digest.as_str());
        found.next().filter(|_| found.next().is_none())
    }
}

/// Where files lie decides nothing: what is the same for two runs of one identity.
fn content(data: &DataSpec) -> DataSpec {
    let mut data = data.clone();
    if let SourceSpec::Cifar10(files) | SourceSpec::Imdb(files) = &mut data.source {
        files.folder = None;
    }
    data
}

/// Refuses what is no beginning of a run id; `file` is the experiment that could list the ids.
pub(crate) fn check_id(id: &str, file: &str) -> anyhow::Result<()> {
    let digits = id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    anyhow::ensure!(
        !id.is_empty() && id.len() <= 32 && digits,
        "--run {id:?} is no run id: expected up to 32 hexadecimal digits; `lrlab plan {file}` lists the ids"
    );
    Ok(())
}

/// The ids whose first digits differ least from those of `id`, at most three.
pub(crate) fn nearest<'a>(id: &str, ids: &'a [RunId]) -> Vec<&'a str> {
    let mut all: Vec<(usize, &str)> = ids
        .iter()
        .map(RunId::as_str)
        .map(|other| (id.bytes().zip(other.bytes()).filter(|(a, b)| a != b).count(), other))
        .collect();
    all.sort_unstable();
    all.into_iter().take(3).map(|(_, id)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_ids_come_first() {
        let ids: Vec<RunId> = ["0a", "1b", "1c", "2d"]
            .map(|digits| RunId::try_from(format!("{digits}{}", "0".repeat(30))).unwrap())
            .into();
        let near: Vec<&str> = nearest("1d", &ids).into_iter().map(|id| &id[..2]).collect();
        assert_eq!(near, ["1b", "1c", "2d"]);
        assert!(nearest("1d", &[]).is_empty());
    }
}
