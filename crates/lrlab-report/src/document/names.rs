//! Unknown names: those in a template that neither the template nor the report defines, and what is expected instead.

use lrlab_config::nearest;
use minijinja::{Environment, Template};

/// The marks that begin and end an expression, and those of a statement.
pub(super) type Delimiters = [(&'static str, &'static str); 2];

/// Returns each unknown name of a template with its line, as a message. A name that is set in a branch, or whose absence the
/// template provides for, is known when the template is rendered.
pub(super) fn unknown(
    env: &Environment<'_>,
    template: &Template<'_, '_>,
    delimiters: Delimiters,
) -> Vec<(usize, String)> {
    let known: Vec<&str> = env.globals().map(|(name, _)| name).collect();
    let text = template.source();
    let message = |name: String| {
        let places: Vec<Place<'_>> = places(text, &name, delimiters).collect();
        if known.contains(&name.as_str()) || places.iter().any(Place::is_conditional) {
            return None;
        }
        let line = places.iter().find(|place| !place.is_argument()).map_or(1, Place::line);
        let hint = nearest(&name, known.iter().copied())
            .map_or_else(|| expected(&known, ""), |near| format!("did you mean `{near}`?"));
        Some((line, format!("unknown name `{name}`: {hint}")))
    };
    let mut found: Vec<_> = template.undeclared_variables(false).into_iter().filter_map(message).collect();
    found.sort_unstable();
    found
}

/// "expected one of a, b", or `none` if nothing is known.
pub(super) fn expected<T: AsRef<str>>(known: &[T], none: &str) -> String {
    let names: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
    if names.is_empty() { none.to_owned() } else { format!("expected one of {}", names.join(", ")) }
}

/// A place of a name in an expression or a statement.
struct Place<'a> {
    before: &'a str,
    /// The part of the expression or statement before the name.
    inside: &'a str,
    after: &'a str,
}

impl Place<'_> {
    fn line(&self) -> usize {
        self.before.matches('\n').count() + 1
    }

    /// The name of an argument, as in `f(name=1)`, or of a variable that is set.
    fn is_argument(&self) -> bool {
        self.after.starts_with('=') && !self.after.starts_with("==")
    }

    /// Whether the name is set or tested here.
    fn is_conditional(&self) -> bool {
        let is_set = self.inside.starts_with("set ") && !self.inside.contains('=');
        let rest = self.after.strip_prefix('|').map(str::trim_start);
        is_set || self.after.starts_with("is ") || rest.is_some_and(|rest| rest.starts_with("default"))
    }
}

fn places<'a>(text: &'a str, name: &'a str, delimiters: Delimiters) -> impl Iterator<Item = Place<'a>> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '"' || c == '\'';
    text.match_indices(name).filter_map(move |(at, _)| {
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        let opened =
            delimiters.iter().filter_map(|(open, _)| Some(before.rfind(open)? + open.len())).max()?;
        let closed = delimiters.iter().filter_map(|(_, close)| before.rfind(close)).max();
        let is_whole = !before.ends_with(is_part) && !before.ends_with('.') && !after.starts_with(is_part);
        (is_whole && closed < Some(opened)).then(|| Place {
            before,
            inside: before[opened..].trim_start_matches(['-', '+']).trim_start(),
            after: after.trim_start(),
        })
    })
}
