//! Texts of a report in which commands and keys are between backticks.

/// Formats the text between backticks with `code`, and the rest with `plain`.
pub(crate) fn marked(text: &str, plain: impl Fn(&str) -> String, code: impl Fn(&str) -> String) -> String {
    let parts = text.split('`').enumerate();
    parts.map(|(i, part)| if i % 2 == 0 { plain(part) } else { code(part) }).collect()
}
