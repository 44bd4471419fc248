//! Parsing of specifications.

use serde::de::DeserializeOwned;

use crate::{Error, Problem};

/// Parses `name = { … }`; a name without parameters has the defaults.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    let trimmed = text.trim();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let completed = if !trimmed.is_empty() && trimmed.chars().all(is_name) {
        format!("{trimmed} = {{}}")
    } else {
        text.into()
    };
    toml::from_str(&completed)
        .map_err(|error| Error::new("", Problem::Syntax { message: error.to_string().trim_end().to_owned() }))
}
