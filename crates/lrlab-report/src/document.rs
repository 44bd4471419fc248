//! User documents rendered with the report's numbers.
//!
//! A document is a [minijinja](https://docs.rs/minijinja) template named after its output: `paper.md.jinja` renders to
//! `paper.md`. LaTeX templates (`.tex.jinja`) delimit expressions by `<<` and `>>`, statements by `<%` and `%>` and comments
//! by `<#` and `#>`, because LaTeX uses braces and `%`; all other templates use Jinja's `{{ }}`, `{% %}` and `{# #}`. Values
//! are escaped for Markdown or LaTeX.
//!
//! The crate's README lists the names. Unknown names are errors before a template is rendered. Coordinates that match no arm, or several arms where one is required, are errors.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Template, UndefinedBehavior, Value};

use self::format::Format;
use self::functions::{
    Result, all_figures, claimed, coordinates, difference, estimate, invalid, known_axis, matching,
    mean_time, one_claim, one_figure, one_table, setting, time_left,
};
use self::names::unknown;
use crate::answer::{Sentence, contrasts};
use crate::{Error, Report};

mod format;
mod functions;
mod names;

/// A template and the name of its output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The name of the output: `paper.md`.
    pub name: String,
    /// The template's text.
    pub template: String,
}

impl Document {
    fn error(&self, error: &minijinja::Error) -> Error {
        Error::Document {
            place: format!("{}.jinja:{}", self.name, error.line().unwrap_or(1)),
            message: error.detail().map_or_else(|| error.kind().to_string(), str::to_owned),
        }
    }
}

/// Checks the syntax of a document's template, and the names in it.
///
/// # Errors
/// Returns [`Error::Document`], with document and line, if the template is invalid, or has a name that no report has.
pub fn parse(document: &Document) -> std::result::Result<(), Error> {
    with_template(&Arc::default(), document, |_| Ok(()))
}

/// Renders a document.
///
/// # Errors
/// Returns [`Error::Document`], with document and line, if the template is invalid or refers to something that the report
/// does not have.
pub fn render(report: &Arc<Report>, document: &Document) -> std::result::Result<String, Error> {
    with_template(report, document, |template| template.render(()))
}

/// Parses a template, checks its names, and uses it.
fn with_template<T>(
    report: &Arc<Report>,
    document: &Document,
    use_it: impl FnOnce(&Template<'_, '_>) -> Result<T>,
) -> std::result::Result<T, Error> {
    let format = Format::of(&document.name);
    let failed = |error| document.error(&error);
    let env = environment(report, format).map_err(failed)?;
    let template = env.template_from_named_str(&document.name, &document.template).map_err(failed)?;
    let unknown = unknown(&env, &template, format.delimiters());
    if let Some((line, _)) = unknown.first() {
        let place = format!("{}.jinja:{line}", document.name);
        let also = |(i, (line, message)): (usize, &(usize, String))| {
            if i == 0 { message.clone() } else { format!("line {line}: {message}") }
        };
        let message = unknown.iter().enumerate().map(also).collect::<Vec<_>>().join("; ");
        return Err(Error::Document { place, message });
    }
    use_it(&template).map_err(failed)
}

/// An environment with the syntax of a format's templates.
fn syntax<'a>(format: Format) -> Result<Environment<'a>> {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    // Errors then name what is undefined.
    env.set_debug(true);
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true);
    let [expression, statement, comment] = format.delimiters();
    syntax
        .variable_delimiters(expression.0, expression.1)
        .block_delimiters(statement.0, statement.1)
        .comment_delimiters(comment.0, comment.1);
    env.set_syntax(syntax.build()?);
    Ok(env)
}

/// Returns the text of a printed value: of a number its digits, of a list its values, separated by commas.
fn printed(value: &Value, format: Format) -> String {
    match value.get_attr("shown") {
        Ok(shown) if !shown.is_undefined() => return format.escape(&shown.to_string()),
        _ if value.is_safe() => return value.to_string(),
        _ => {}
    }
    match value.try_iter() {
        Ok(values) if value.kind() == ValueKind::Seq => {
            values.map(|value| printed(&value, format)).collect::<Vec<_>>().join(", ")
        }
        _ => format.escape(&value.to_string()),
    }
}

fn environment(report: &Arc<Report>, format: Format) -> Result<Environment<'static>> {
    let mut env = syntax(format)?;
    env.set_auto_escape_callback(|_| AutoEscape::Custom("document".into()));
    env.set_formatter(move |out, _, value| write(out, &printed(value, format)));
    let r = || Arc::clone(report);
    let it = r();
    env.add_function("estimate", move |metric: &str, place: Kwargs| estimate(&it, metric, &place));
    let it = r();
    env.add_function("difference", move |metric: &str, contrast: &str, place: Kwargs| {
        difference(&it, metric, contrast, &place)
    });
    let it = r();
    env.add_function("claim", move |id: &str| one_claim(&it, id));
    let it = r();
    env.add_function("claims", move || it.claims.iter().map(|claim| claimed(&it, claim)).collect::<Vec<_>>());
    let it = r();
    env.add_function("setting", move |key: &str, place: Kwargs| setting(&it, key, &place));
    let it = r();
    env.add_function("arms", move |place: Kwargs| -> Result<Vec<Value>> {
        Ok(matching(&it, &place)?.into_iter().map(|arm| coordinates(&it.arms[arm].cell)).collect())
    });
    let it = r();
    env.add_function("runs", move |place: Kwargs| -> Result<Vec<String>> {
        let done = |run: &&crate::Run| run.result().is_some();
        let of = |arm: usize| it.arms[arm].runs.iter().filter(done).map(|run| run.id.to_string());
        Ok(matching(&it, &place)?.into_iter().flat_map(of).collect())
    });
    let it = r();
    env.add_function("planned", move |place: Kwargs| -> Result<usize> {
        Ok(matching(&it, &place)?.into_iter().map(|arm| it.arms[arm].runs.len()).sum())
    });
    let it = r();
    env.add_function("remaining", move |place: Kwargs| time_left(&it, &place));
    let it = r();
    env.add_function("seconds", move |place: Kwargs| mean_time(&it, &place));
    let it = r();
    env.add_function("axis", move |axis: &str| known_axis(&it, axis));
    let it = r();
    env.add_function("table", move |name: &str, place: Kwargs| one_table(&it, name, &place, format));
    let it = r();
    env.add_function("figure", move |name: &str| one_figure(&it, name, format));
    let it = r();
    env.add_function("figures", move || all_figures(&it, format));
    env.add_global("experiment", report.experiment.as_str());
    env.add_global("description", report.description.as_str());
    let warnings = report.warnings.iter().map(|warning| format.with_code(warning));
    env.add_global("warnings", warnings.collect::<Vec<_>>());
    let sentences = contrasts(report).into_iter();
    let sentence = |it: Sentence| Value::from_pairs([("about", it.about), ("text", it.text)]);
    env.add_global("answer", sentences.map(sentence).collect::<Vec<_>>());
    let counts = &report.counts;
    let numbers = [
        ("planned", counts.planned),
        ("done", counts.done),
        ("failed", counts.failed),
        ("missing", counts.missing),
        ("diverged", counts.diverged),
        ("stopped", counts.stopped),
    ];
    env.add_global(
        "counts",
        numbers.into_iter().map(|(k, n)| (k, Value::from(n))).collect::<BTreeMap<_, _>>(),
    );
    let origin = &report.origin;
    let lists = [
        ("builds", &origin.builds),
        ("hosts", &origin.hosts),
        ("devices", &origin.devices),
        ("numerics", &origin.numerics),
        ("datasets", &origin.datasets),
        ("notes", &origin.notes),
    ];
    let parameters = ("parameters", Value::from(origin.parameters.clone()));
    let lists = lists.into_iter().map(|(k, v)| (k, Value::from(v.clone())));
    env.add_global("origin", lists.chain([parameters]).collect::<BTreeMap<_, _>>());
    Ok(env)
}

fn write(out: &mut minijinja::Output<'_>, text: &str) -> Result<()> {
    out.write_str(text).map_err(|_| invalid("failed to write the text".to_owned()))
}
