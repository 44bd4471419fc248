//! The languages of documents: their delimiters and their escapes.

use minijinja::Value;

use super::names::Delimiters;
use crate::marked::marked;
use crate::table::{markdown_escape, tex_escape};

/// The language of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Markdown,
    Latex,
    Plain,
}

impl Format {
    pub(super) fn of(name: &str) -> Self {
        match name.rsplit('.').next() {
            Some("md") => Self::Markdown,
            Some("tex") => Self::Latex,
            _ => Self::Plain,
        }
    }

    pub(super) const fn delimiters(self) -> Delimiters {
        match self {
            Self::Latex => [("<<", ">>"), ("<%", "%>"), ("<#", "#>")],
            Self::Markdown | Self::Plain => [("{{", "}}"), ("{%", "%}"), ("{#", "#}")],
        }
    }

    pub(super) fn escape(self, text: &str) -> String {
        match self {
            Self::Markdown => markdown_escape(text),
            Self::Latex => tex_escape(text),
            Self::Plain => text.to_owned(),
        }
    }

    /// Escapes a text of the report, in which commands are between backticks.
    pub(super) fn with_code(self, text: &str) -> Value {
        let code = |part: &str| match self {
            Self::Latex => format!("\\texttt{{{}}}", tex_escape(part)),
            Self::Markdown | Self::Plain => format!("`{part}`"),
        };
        Value::from_safe_string(marked(text, |part| self.escape(part), code))
    }
}
