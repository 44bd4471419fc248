//! Errors and warnings with their positions, rendered in the style of rustc.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::tree::Place;

/// The severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// An error, with which nothing is started.
    Error,
    /// A warning.
    Warning,
}

/// An error or warning with its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The severity.
    pub severity: Severity,
    /// The file's name, or `command line` for an argument.
    pub origin: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// The byte range of the affected text in the file or the argument.
    pub span: Range<usize>,
    /// The message.
    pub message: String,
    /// What to do about it.
    pub suggestion: Option<String>,
    text: Arc<str>,
}

impl Mistake {
    fn render(&self, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let snippet = Snippet::source(&*self.text)
            .path(self.origin.as_str())
            .annotation(AnnotationKind::Primary.span(self.span.clone()));
        let mut group = level.primary_title(self.message.as_str()).element(snippet);
        if let Some(suggestion) = &self.suggestion {
            group = group.element(Level::HELP.message(suggestion.as_str()));
        }
        renderer.render(&[group])
    }
}

/// One line: `file:line:column: message; suggestion`.
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, line, column, message, .. } = self;
        write!(f, "{origin}:{line}:{column}: {message}")?;
        self.suggestion.as_ref().map_or(Ok(()), |suggestion| write!(f, "; {suggestion}"))
    }
}

/// All errors and warnings of an input, ordered by position.
///
/// `Display` gives plain text; [`Mistakes::render`] can use colours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// The errors and warnings by position, those of the file before those of the arguments.
    pub fn iter(&self) -> std::slice::Iter<'_, Mistake> {
        self.0.iter()
    }

    /// The number of errors and warnings.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Renders each with its line and a caret; with `color`, in ANSI colours.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        self.0.iter().map(|mistake| mistake.render(&renderer)).collect::<Vec<_>>().join("\n\n")
    }
}

impl<'a> IntoIterator for &'a Mistakes {
    type Item = &'a Mistake;
    type IntoIter = std::slice::Iter<'a, Mistake>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Mistakes {}

/// A source text: the file or an argument.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: Arc<str>,
}

/// The name of an argument's source.
pub(crate) const COMMAND_LINE: &str = "command line";

/// Collects errors and warnings while an input is read.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    pub(crate) sources: Vec<Source>,
    found: Vec<(Place, Mistake)>,
    /// Keys that were probably misspelt; their absence is not a second error.
    pub(crate) meant: Vec<String>,
}

impl Log {
    pub(crate) fn new(file_name: &str, text: &str) -> Self {
        let file = Source { name: file_name.to_owned(), text: text.into() };
        Self { sources: vec![file], found: Vec::new(), meant: Vec::new() }
    }

    /// Adds an argument as a separate source, whose text begins with `prefix`.
    pub(crate) fn argument(&mut self, prefix: &str, argument: &str) -> usize {
        let text = format!("{prefix}{argument}");
        self.sources.push(Source { name: COMMAND_LINE.to_owned(), text: text.into() });
        self.sources.len() - 1
    }

    pub(crate) fn error(
        &mut self,
        place: Place,
        message: impl Into<String>,
        suggestion: impl Into<Option<String>>,
    ) {
        self.push(Severity::Error, place, message.into(), suggestion.into());
    }

    pub(crate) fn warn(
        &mut self,
        place: Place,
        message: impl Into<String>,
        suggestion: impl Into<Option<String>>,
    ) {
        self.push(Severity::Warning, place, message.into(), suggestion.into());
    }

    pub(crate) fn push(
        &mut self,
        severity: Severity,
        place: Place,
        message: String,
        suggestion: Option<String>,
    ) {
        // A built-in value has no position: the mistake is that the file does not set the key.
        let place = if place.source.is_some() { place } else { Place::in_file(0, 0) };
        let source = &self.sources[place.source.unwrap_or(0)];
        let span = snap(&source.text, place.start, place.end);
        let (line, column) = position(&source.text, span.start);
        let mistake = Mistake {
            severity,
            origin: source.name.clone(),
            line,
            column,
            span,
            message,
            suggestion,
            text: source.text.clone(),
        };
        if !self.found.iter().any(|(_, known)| *known == mistake) {
            self.found.push((place, mistake));
        }
    }

    /// Returns whether there is an error at exactly this place.
    pub(crate) fn has_error_at(&self, place: Place) -> bool {
        self.found.iter().any(|(known, mistake)| *known == place && mistake.severity == Severity::Error)
    }

    /// Returns whether there is an error or warning at exactly this place.
    pub(crate) fn knows_of(&self, place: Place) -> bool {
        self.found.iter().any(|(known, _)| *known == place)
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.found.iter().any(|(_, mistake)| mistake.severity == Severity::Error)
    }

    /// `file:line` of a place, `--set …` of an argument, `default` of a built-in value.
    pub(crate) fn describe(&self, place: Place) -> String {
        match place.source {
            None => "default".to_owned(),
            Some(0) => {
                let file = &self.sources[0];
                format!("{}:{}", file.name, position(&file.text, place.start.min(file.text.len())).0)
            }
            Some(n) => self.sources[n].text.to_string(),
        }
    }

    /// Returns all errors and warnings by place.
    pub(crate) fn finish(&self) -> Mistakes {
        let mut found = self.found.clone();
        found.sort_by_key(|(place, mistake)| (*place, mistake.severity));
        Mistakes(found.into_iter().map(|(_, mistake)| mistake).collect())
    }
}

/// Clamps a span to `text` and to character boundaries.
fn snap(text: &str, start: usize, end: usize) -> Range<usize> {
    let floor = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = floor(start);
    start..floor(end.max(start)).max(start)
}

/// Line and column, counted from 1.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
