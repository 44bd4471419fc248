//! Unknown names: those in a template that neither the template nor the report defines, and what is expected instead.

use lrlab_config::nearest;
use minijinja::{Environment, Template};

/// The marks that begin and end an expression, those of a statement, and those of a comment.
pub(super) type Delimiters = [(&'static str, &'static str); 3];

/// Returns each unknown name of a template with its line, as a message. A name that is set in a branch, or whose absence the
/// template provides for, is known when the template is rendered.
pub(super) fn unknown(
    env: &Environment<'_>,
    template: &Template<'_, '_>,
    delimiters: Delimiters,
) -> Vec<(usize, String)> {
    let known: Vec<&str> = env.globals().map(|(name, _)| name).collect();
    let code = code(template.source(), delimiters);
    let message = |name: String| {
        let places: Vec<Place<'_>> = code.iter().flat_map(|tokens| places(tokens, &name)).collect();
        if known.contains(&name.as_str()) || places.iter().any(Place::is_conditional) {
            return None;
        }
        let line = places.iter().find(|place| !place.is_argument()).map_or(1, |place| place.line);
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
    line: usize,
    /// The tokens of the expression or statement before the name.
    before: &'a [Token<'a>],
    after: &'a [Token<'a>],
}

impl Place<'_> {
    /// The name of an argument, as in `f(name=1)`, or of a variable that is set.
    fn is_argument(&self) -> bool {
        matches!(self.after, [("=", _), (next, _), ..] if *next != "=")
    }

    /// Whether the name is set or tested here.
    fn is_conditional(&self) -> bool {
        let is_set = match self.before {
            [("set", _), targets @ ..] => targets.iter().all(|(token, _)| *token != "="),
            [("macro", _)] => true,
            _ => false,
        };
        let is_tested = match self.after_parentheses() {
            [("is", _), ("not", _), (test, _), ..] | [("is", _), (test, _), ..] => {
                matches!(*test, "defined" | "undefined")
            }
            [("|", _), (filter, _), ..] => matches!(*filter, "d" | "default"),
            _ => false,
        };
        is_set || is_tested
    }

    /// What follows the name and the parentheses around it. Those of a call are not skipped.
    fn after_parentheses(&self) -> &[Token<'_>] {
        let (mut before, mut after) = (self.before, self.after);
        while let ([outer @ .., ("(", _)], [(")", _), next @ ..]) = (before, after)
            && !outer.last().is_some_and(|(token, _)| is_callable(token))
        {
            (before, after) = (outer, next);
        }
        after
    }
}

/// Whether a parenthesis after the token begins the arguments of a call.
fn is_callable(token: &str) -> bool {
    let is_keyword = ["if", "elif", "else", "in", "and", "or", "not"].contains(&token);
    !is_keyword && token.ends_with(|c| is_part(c) || c == ')' || c == ']')
}

/// The places of a variable, without attributes, filters and tests of that name.
fn places<'a>(tokens: &'a [Token<'a>], name: &str) -> impl Iterator<Item = Place<'a>> {
    tokens.iter().enumerate().filter(move |(_, (token, _))| *token == name).filter_map(|(i, &(_, line))| {
        let (before, after) = (&tokens[..i], &tokens[i + 1..]);
        let is_variable = !matches!(before, [.., ("." | "|" | "is", _)]);
        is_variable.then_some(Place { line, before, after })
    })
}

/// A word, a string or a symbol of an expression or statement, and its line.
type Token<'a> = (&'a str, usize);

/// Returns the tokens of each expression and statement of a template. Comments and raw sections have none.
fn code(text: &str, delimiters: Delimiters) -> Vec<Vec<Token<'_>>> {
    let [_, statement, comment] = delimiters;
    let mut code = Vec::new();
    let mut at = 0;
    let first =
        |at: usize| delimiters.into_iter().filter_map(|marks| Some((text[at..].find(marks.0)?, marks))).min();
    while let Some((skipped, marks)) = first(at) {
        at += skipped + marks.0.len();
        if marks == comment {
            at += text[at..].find(marks.1).unwrap_or_default();
            continue;
        }
        let tokens = tokens(text, &mut at, marks.1);
        if marks == statement && matches!(tokens[..], [("raw", _), ..]) {
            let ends = |(_, rest): &(usize, &str)| trim_mark(rest).trim_start().starts_with("endraw");
            let mut statements =
                text[at..].match_indices(statement.0).map(|(i, open)| (i, &text[at + i + open.len()..]));
            at += statements.find(ends).map_or(text.len() - at, |(i, _)| i);
        } else {
            code.push(tokens);
        }
    }
    code
}

/// Reads the tokens from `at` up to `end`, to which `at` is moved.
fn tokens<'a>(text: &'a str, at: &mut usize, end: &str) -> Vec<Token<'a>> {
    let mut tokens = Vec::new();
    // An `end` between parentheses, brackets or braces is none.
    let mut depth = 0;
    *at = text.len() - trim_mark(&text[*at..]).len();
    while let Some(first) = text[*at..].chars().next() {
        let rest = &text[*at..];
        if depth == 0 && rest.starts_with(end) {
            break;
        }
        let len = match first {
            '"' | '\'' => string_len(rest, first),
            _ if is_part(first) => rest.find(|c| !is_part(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        match first {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if !first.is_whitespace() {
            tokens.push((&rest[..len], text[..*at].matches('\n').count() + 1));
        }
        *at += len;
    }
    tokens
}

/// The length of the string at the beginning of `text`, with its quotes.
fn string_len(text: &str, quote: char) -> usize {
    let mut escaped = false;
    let end = text[1..].find(|c| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

/// Removes the mark for white space at the beginning of an expression or statement.
fn trim_mark(text: &str) -> &str {
    text.strip_prefix(['-', '+']).unwrap_or(text)
}

fn is_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
