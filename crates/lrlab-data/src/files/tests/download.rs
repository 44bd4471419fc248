//! Downloads from a local server that imitates the hub, and without a server.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::Error;
use crate::catalog::{KnownFile, Part};
use crate::digest;
use crate::files::hub::Hub;
use crate::files::{Fetched, Missing, Progress};

const REPO: &str = "owner/name";
const REVISION: &str = "refs/convert/parquet";
const FILE: &str = "plain_text/train/0000.parquet";
const OTHER: &str = "plain_text/test/0000.parquet";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const NEXT: &str = "89abcdef0123456789abcdef0123456789abcdef";

/// How the server misbehaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Sends half of the body.
    CutOff,
    /// Sends another body of the same length.
    Altered,
    /// Sends an error page instead of the body.
    Refused,
    /// Responds that the file does not exist.
    Missing,
    /// Serves the next commit.
    Moved,
}

/// Serves two files until the test ends; returns the address.
fn serve(content: &'static [u8], fault: Fault) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _ = answer(stream, content, fault);
            });
        }
    });
    address
}

fn answer(mut stream: TcpStream, content: &[u8], fault: Fault) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? <= 2 {
            break;
        }
    }
    let known = request.split(' ').nth(1).is_some_and(|path| {
        [FILE, OTHER].into_iter().any(|file| {
            let expected = format!("/datasets/{REPO}/resolve/{}/{file}", REVISION.replace('/', "%2F"));
            path.eq_ignore_ascii_case(&expected)
        })
    });
    if !known || fault == Fault::Missing {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nX-Error-Code: EntryNotFound\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    if fault == Fault::Refused && request.starts_with("GET") {
        return stream
            .write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\nConnection: close\r\n\r\nsorry");
    }
    let commit = if fault == Fault::Moved { NEXT } else { COMMIT };
    let head = format!(
        "HTTP/1.1 200 OK\r\nETag: \"{}\"\r\nX-Repo-Commit: {commit}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        sha256(content),
        content.len()
    );
    stream.write_all(head.as_bytes())?;
    if request.starts_with("GET") {
        let mut body = content.to_vec();
        match fault {
            Fault::CutOff => body.truncate(content.len() / 2),
            Fault::Altered => body[0] ^= 1,
            _ => {}
        }
        stream.write_all(&body)?;
    }
    Ok(())
}

fn sha256(content: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("content");
    std::fs::write(&path, content).unwrap();
    digest::of_file(&path).unwrap()
}

/// Every file below a folder with its size.
fn tree(folder: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(next) = open.pop() {
        let Ok(entries) = std::fs::read_dir(next) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                found.insert(name, path.metadata().unwrap().len());
            }
        }
    }
    found
}

fn progress() -> (Progress, Arc<Mutex<Vec<Fetched>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    (Arc::new(move |fetched: &Fetched| kept.lock().unwrap().push(fetched.clone())), seen)
}

static CONTENT: [u8; 100_000] = [7; 100_000];

fn fetch(cache: &Path, fault: Fault) -> Result<std::path::PathBuf, Error> {
    let hub = Hub { cache: cache.to_path_buf(), endpoint: Some(serve(&CONTENT, fault)), offline: false };
    hub.file(REPO, REVISION, FILE, Missing::Download(&progress().0))
}

#[test]
fn a_download_is_stored_in_the_cache() {
    let cache = tempfile::tempdir().unwrap();
    let endpoint = Some(serve(&CONTENT, Fault::None));
    let (progress, seen) = progress();
    let hub = Hub { cache: cache.path().to_path_buf(), endpoint, offline: false };
    let path = hub.file(REPO, REVISION, FILE, Missing::Download(&progress)).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), CONTENT);
    let folder = cache.path().join("datasets--owner--name");
    assert_eq!(path, folder.join("snapshots").join(COMMIT).join(FILE));
    assert_eq!(std::fs::read_to_string(folder.join("refs").join(REVISION)).unwrap().trim(), COMMIT);
    let last = seen.lock().unwrap().last().cloned().unwrap();
    assert_eq!((last.bytes, last.total), (100_000, 100_000));
    assert_eq!((last.repo.as_str(), last.file.as_str()), (REPO, FILE));

    // The second call reads the cache without using the network.
    let hub = Hub { endpoint: Some("http://127.0.0.1:1".to_owned()), offline: true, ..hub };
    assert_eq!(hub.file(REPO, REVISION, FILE, Missing::Download(&progress)).unwrap(), path);
    let left = tree(cache.path());
    assert!(left.keys().all(|name| !name.contains("incomplete") && !name.contains(".lrlab-")), "{left:?}");
}

#[test]
fn folders_of_killed_downloads_are_removed_and_those_of_others_kept() {
    let cache = tempfile::tempdir().unwrap();
    let folder = |name: &str| {
        let folder = cache.path().join(name);
        std::fs::create_dir_all(folder.join("part")).unwrap();
        folder
    };
    let (killed, running, starting, own) = (
        folder(".lrlab-killed"),
        folder(".lrlab-running"),
        folder(".lrlab-starting"),
        folder("datasets--mine"),
    );
    let lock = |folder: &Path| std::fs::File::create(folder.join(".lock")).unwrap();
    drop(lock(&killed));
    drop(lock(&own));
    let held = lock(&running);
    held.lock().unwrap();
    fetch(cache.path(), Fault::None).unwrap();
    assert!(!killed.exists());
    assert!(running.exists() && starting.exists() && own.exists());
    drop(held);
    // A download whose file is in the cache does not look for them.
    fetch(cache.path(), Fault::None).unwrap();
    assert!(running.exists());
}

/// A file that was cached before the revision moved is downloaded again.
#[test]
fn all_files_are_of_one_commit() {
    let cache = tempfile::tempdir().unwrap();
    assert!(fetch(cache.path(), Fault::None).unwrap().ends_with(Path::new(COMMIT).join(FILE)));
    let endpoint = Some(serve(&CONTENT, Fault::Moved));
    let hub = Hub { cache: cache.path().to_path_buf(), endpoint, offline: false };
    let known = |(path, part): (&str, Part)| KnownFile { path: path.to_owned(), part, variants: Vec::new() };
    let files = [(FILE, Part::Train), (OTHER, Part::Test)].map(known);
    let located = |missing| hub.files(REPO, REVISION, &files, missing);
    let error = located(Missing::Reject).unwrap_err();
    assert!(matches!(&error, Error::NotCached { file, .. } if file == OTHER), "{error}");
    let found = located(Missing::Download(&progress().0)).unwrap();
    for ((file, path), expected) in found.iter().zip(&files) {
        assert_eq!(file, expected);
        assert!(path.ends_with(Path::new(NEXT).join(&file.path)), "{}", path.display());
    }
}

#[test]
fn a_failed_download_leaves_no_files() {
    for fault in [Fault::CutOff, Fault::Altered, Fault::Refused, Fault::Missing] {
        let cache = tempfile::tempdir().unwrap();
        let error = fetch(cache.path(), fault).unwrap_err();
        assert!(
            matches!(&error, Error::Download { repo, file, .. } if repo == REPO && file == FILE),
            "{error}"
        );
        assert_eq!(tree(cache.path()), BTreeMap::new(), "{error}");
        // The next attempt succeeds.
        let path = fetch(cache.path(), Fault::None).unwrap();
        assert_eq!(std::fs::read(path).unwrap(), CONTENT);
    }
}

#[test]
fn a_missing_file_without_network_is_an_error() {
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub {
        cache: cache.path().to_path_buf(),
        endpoint: Some("http://127.0.0.1:1".to_owned()),
        offline: true,
    };
    let error = hub.file(REPO, REVISION, FILE, Missing::Download(&progress().0)).unwrap_err();
    assert!(matches!(&error, Error::Offline { file, .. } if file == FILE), "{error}");
    assert!(error.to_string().contains("HF_HUB_OFFLINE"), "{error}");
    let error = Hub { offline: false, ..hub }
        .file(REPO, REVISION, FILE, Missing::Download(&progress().0))
        .unwrap_err();
    assert!(matches!(&error, Error::Download { .. }), "{error}");
    assert_eq!(tree(cache.path()), BTreeMap::new());
}
