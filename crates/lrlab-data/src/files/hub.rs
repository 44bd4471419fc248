//! Files of the Hugging Face hub, from the local cache or over the network.
//!
//! A file is downloaded to a temporary folder, compared with the size and the digest that the hub announces, and moved to the
//! cache, which therefore never contains a partial file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hf_hub::progress::{DownloadEvent, ProgressEvent, ProgressHandler};
use hf_hub::{HFClient, HFClientSync, HFError};

use super::KnownFile;
use super::progress::{Fetched, Missing, Progress};
use super::staging::Staging;
use crate::{Cause, Error};

/// The access to the hub.
#[derive(Debug, Clone)]
pub(crate) struct Hub {
    /// The folder of the cache.
    pub(crate) cache: PathBuf,
    /// The address of the hub; `None` uses the environment.
    pub(crate) endpoint: Option<String>,
    /// Whether the network is disabled.
    pub(crate) offline: bool,
}

impl Hub {
    /// Reads `HF_HOME` and `HF_HUB_OFFLINE`. The client library reads `HF_ENDPOINT` and `HF_TOKEN`, but ignores
    /// `HF_HUB_OFFLINE`.
    pub(crate) fn from_env() -> Self {
        let set = |value: String| matches!(value.to_ascii_lowercase().as_str(), "1" | "on" | "yes" | "true");
        Self {
            cache: hf_hub::resolve_cache_dir(),
            endpoint: None,
            offline: std::env::var("HF_HUB_OFFLINE").is_ok_and(set),
        }
    }

    /// Returns `files` of the data set `repo` with their absolute paths. All are of one commit: if the revision moved since some
    /// of them were cached, they are downloaded again.
    pub(crate) fn files(
        &self,
        repo: &str,
        revision: &str,
        files: &[KnownFile],
        missing: Missing<'_>,
    ) -> Result<Vec<(KnownFile, PathBuf)>, Error> {
        const ATTEMPTS: usize = 3;
        for _ in 0..ATTEMPTS {
            let place =
                |file: &KnownFile| Ok((file.clone(), self.file(repo, revision, &file.path, missing)?));
            let placed: Vec<(KnownFile, PathBuf)> = files.iter().map(place).collect::<Result<_, Error>>()?;
            let mut snapshots = placed.iter().map(|(file, path)| snapshot(&file.path, path));
            let first = snapshots.next();
            if snapshots.all(|other| Some(other) == first) {
                return Ok(placed);
            }
        }
        Err(Error::Download {
            repo: repo.to_owned(),
            file: format!("the files of {revision}"),
            source: "the repository changed during the download; try again".into(),
        })
    }

    /// Returns the absolute path of `file` of the data set `repo`.
    pub(super) fn file(
        &self,
        repo: &str,
        revision: &str,
        file: &str,
        missing: Missing<'_>,
    ) -> Result<PathBuf, Error> {
        let failed = |source: Cause| Error::Download { repo: repo.to_owned(), file: file.to_owned(), source };
        // Absolute, because a worker may start in another folder.
        let cache = std::path::absolute(&self.cache).map_err(Error::io(&self.cache))?;
        let client = self.client(&cache).map_err(|e| failed(e.into()))?;
        let wanted = Wanted { repo, revision, file };
        match wanted.send(&client, true, None) {
            Ok(path) => return Ok(path),
            Err(HFError::LocalEntryNotFound { .. } | HFError::EntryNotFound { .. }) => {}
            Err(error) => return Err(failed(error.into())),
        }
        let (repo, file) = (repo.to_owned(), file.to_owned());
        match missing {
            Missing::Reject => Err(Error::NotCached { repo, file, cache }),
            Missing::Download(_) if self.offline => Err(Error::Offline { repo, file, cache }),
            Missing::Download(progress) => self.download(&client, &cache, &wanted, progress).map_err(failed),
        }
    }

    fn client(&self, cache: &Path) -> Result<HFClientSync, HFError> {
        let builder = HFClient::builder().cache_dir(cache);
        let builder = match &self.endpoint {
            Some(endpoint) => builder.endpoint(endpoint),
            None => builder,
        };
        builder.build_sync()
    }

    fn download(
        &self,
        client: &HFClientSync,
        cache: &Path,
        wanted: &Wanted<'_>,
        progress: &Progress,
    ) -> Result<PathBuf, Cause> {
        std::fs::create_dir_all(cache)?;
        let staging = Staging::create(cache)?;
        let announced = Arc::new(AtomicU64::new(0));
        let report = Report {
            fetched: Fetched {
                repo: wanted.repo.to_owned(),
                file: wanted.file.to_owned(),
                bytes: 0,
                total: 0,
            },
            announced: Arc::clone(&announced),
            progress: Arc::clone(progress),
        };
        let staged = wanted.send(&self.client(staging.path())?, false, Some(report))?;
        let blob = staged.canonicalize()?;
        check(&blob, announced.load(Ordering::Relaxed))?;
        let target = cache.join(blob.strip_prefix(staging.path().canonicalize()?)?);
        if let Some(folder) = target.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::rename(&blob, &target)?;
        Ok(wanted.send(client, false, None)?) // finds the content in the cache and adds the names
    }
}

/// Returns the folder of the commit in which the cache has `file` at `path`.
fn snapshot<'a>(file: &str, path: &'a Path) -> Option<&'a Path> {
    path.ancestors().nth(Path::new(file).components().count())
}

struct Wanted<'a> {
    repo: &'a str,
    revision: &'a str,
    file: &'a str,
}

impl Wanted<'_> {
    fn send(&self, client: &HFClientSync, local: bool, report: Option<Report>) -> Result<PathBuf, HFError> {
        let (owner, name) = hf_hub::split_id(self.repo);
        client
            .dataset(owner, name)
            .download_file()
            .filename(self.file)
            .revision(self.revision)
            .local_files_only(local)
            .maybe_progress(report)
            .send()
    }
}

/// Checks the size that the hub announced, and the digest if the hub names the file by its SHA-256.
fn check(blob: &Path, announced: u64) -> Result<(), Cause> {
    let size = blob.metadata()?.len();
    if announced != 0 && size != announced {
        return Err(format!("received {size} bytes, expected {announced}").into());
    }
    let name = blob.file_name().unwrap_or_default().to_string_lossy();
    if name.len() == 64 && name.bytes().all(|c| c.is_ascii_hexdigit()) {
        let found = crate::digest::of_file(blob)?;
        if found != name {
            return Err(format!("the sha256 of the content is {found}, expected {name}").into());
        }
    }
    Ok(())
}

/// Forwards the events of the client.
struct Report {
    fetched: Fetched,
    announced: Arc<AtomicU64>,
    progress: Progress,
}

impl ProgressHandler for Report {
    fn on_progress(&self, event: &ProgressEvent) {
        let (bytes, total) = match event {
            ProgressEvent::Download(DownloadEvent::Start { total_bytes, .. }) => {
                self.announced.store(*total_bytes, Ordering::Relaxed);
                (0, *total_bytes)
            }
            ProgressEvent::Download(DownloadEvent::Progress { files }) => match files.last() {
                Some(file) => (file.bytes_completed, file.total_bytes),
                None => return,
            },
            ProgressEvent::Download(DownloadEvent::AggregateProgress {
                bytes_completed,
                total_bytes,
                ..
            }) => (*bytes_completed, *total_bytes),
            _ => return,
        };
        (self.progress)(&Fetched { bytes, total, ..self.fetched.clone() });
    }
}
