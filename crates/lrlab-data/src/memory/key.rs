//! The digests of the content of streams, remembered under the keys that name them.

use std::path::PathBuf;

use sha2::Digest;

use super::{InMemory, label_hasher};
use crate::digest::hex;
use crate::{DataConfig, Error, cache};

impl InMemory<()> {
    /// Returns the file of the cache for the digest under the key; `None` without a key.
    fn entry(&self, config: &DataConfig, about: &str) -> Option<PathBuf> {
        let key = self.key.as_ref()?;
        let labels: Vec<String> = self
            .parts()
            .map(|(part, examples)| format!("{part} {}", hex(label_hasher(&examples.labels).finalize())))
            .collect();
        let text = format!("{about}\n{:?} {}\n{labels:?}\n{key:?}", self.name, self.classes.len());
        Some(config.cache.join("streams").join(blake3::hash(text.as_bytes()).to_hex().as_str()))
    }

    /// Returns the digest that is remembered under the key, if any.
    pub(super) fn remembered(&self, config: &DataConfig, about: &str) -> Option<String> {
        String::from_utf8(cache::load(&self.entry(config, about)?)?).ok()
    }

    /// Remembers a digest under the key, if there is one.
    ///
    /// # Errors
    /// Returns an error if another digest is remembered.
    pub(super) fn remember(&self, config: &DataConfig, about: &str, digest: &str) -> Result<(), Error> {
        let Some(entry) = self.entry(config, about) else { return Ok(()) };
        match self.remembered(config, about) {
            Some(before) if before != digest => {
                let problem = format!(
                    "the examples have the digest {digest}, but had {before} before; give other content another key"
                );
                Err(self.error(format!("key {:?}", self.key.as_deref().unwrap_or_default()), problem))
            }
            Some(_) => Ok(()),
            None => {
                cache::store(&entry, digest.as_bytes());
                Ok(())
            }
        }
    }
}
