//! A run's identity: 128 bits of a BLAKE3 hash, written as 32 hexadecimal digits.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The identity of a run: a hash of its resolved specification and of the digest of its data.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(Arc<str>);

impl RunId {
    /// Hashes the canonical form of a specification (RFC 8785 JSON) together with the digest of its data set.
    #[must_use]
    pub fn of(canonical_spec: &str, dataset_digest: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("lrlab run id v1");
        hasher.update(&(canonical_spec.len() as u64).to_le_bytes());
        hasher.update(canonical_spec.as_bytes());
        hasher.update(dataset_digest.as_bytes());
        let hex = hasher.finalize().to_hex();
        Self(hex[..32].into())
    }

    /// Returns the 32 hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first eight digits, which usually identify a run within a grid.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..8]
    }
}

impl TryFrom<String> for RunId {
    type Error = crate::Error;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let valid = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if valid { Ok(Self(text.into())) } else { Err(crate::Error::BadId(text)) }
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_depends_on_both_parts() {
        let id = RunId::of("{}", "d");
        assert_eq!(id, RunId::of("{}", "d"));
        assert_ne!(id, RunId::of("{}", "e"));
        assert_ne!(id, RunId::of("{ }", "d"));
        assert_eq!(RunId::try_from(id.to_string()).unwrap(), id);
    }
}
