//! `report.html` and `report.md`, from templates in this crate.

mod content;
mod curves;
mod table;

use std::io;
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, HtmlEscape, Value};

use self::content::{Inline, page};
pub(crate) use self::table::Excerpt;
use crate::figure::{FOREST, Width};
use crate::marked::marked;
use crate::staged::Write;
use crate::table::markdown_escape;
use crate::{Error, Figure, Report, figure};

const HTML: &str = include_str!("templates/report.html");
const MARKDOWN: &str = include_str!("templates/report.md");

/// Adds a file, given its name and the function that writes it.
type Add<'a> = &'a mut dyn FnMut(&str, Write<'_>) -> Result<(), Error>;

/// Adds the self-contained page and the figure files.
pub(crate) fn html(
    report: &Report,
    tables: &Arc<[Excerpt]>,
    figures: &[Figure],
    open: bool,
    add: Add<'_>,
) -> Result<(), Error> {
    let mut env = environment()?;
    env.set_auto_escape_callback(|_| AutoEscape::Html);
    env.add_filter("code", |text: String| {
        let escape = |part: &str| HtmlEscape(part).to_string();
        let code = |part: &str| format!("<code>{}</code>", HtmlEscape(part));
        Value::from_safe_string(marked(&text, escape, code))
    });
    env.add_template("report.html", HTML)?;
    let drawn: Vec<String> = figures.iter().map(figure::panels).collect();
    for it in figures {
        let svg = figure::svg(it);
        add(&format!("figures/{}.svg", it.name), &mut |file| Ok(file.write_all(svg.as_bytes())?))?;
        let tex = figure::pgfplots(it);
        add(&format!("figures/{}.tex", it.name), &mut |file| Ok(file.write_all(tex.as_bytes())?))?;
    }
    if let Some(forest) = &figure::forest(report) {
        let svg = figure::forest_svg(forest, Width::Page, false);
        add(&format!("figures/{FOREST}.svg"), &mut |file| Ok(file.write_all(svg.as_bytes())?))?;
        let tex = figure::forest_pgfplots(forest);
        add(&format!("figures/{FOREST}.tex"), &mut |file| Ok(file.write_all(tex.as_bytes())?))?;
    }
    let curves = curves::json(report)?;
    let inline = Inline { drawn: &drawn, curves: curves.as_deref(), open };
    add("report.html", &mut |file| render(&env, "report.html", report, tables, figures, &inline, file))
}

/// The report as Markdown, with tables as text and figures by path.
pub(crate) fn markdown(
    report: &Report,
    tables: &Arc<[Excerpt]>,
    figures: &[Figure],
) -> Result<String, Error> {
    let mut env = environment()?;
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.add_filter("md", |text: String| markdown_escape(&text));
    env.add_filter("code", |text: String| marked(&text, markdown_escape, |code| format!("`{code}`")));
    env.add_template("report.md", MARKDOWN)?;
    let mut text = Vec::new();
    render(&env, "report.md", report, tables, figures, &Inline::default(), &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// An environment in which lines that contain only a block tag produce no output.
fn environment() -> Result<Environment<'static>, Error> {
    let mut env = Environment::new();
    env.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    Ok(env)
}

fn render(
    env: &Environment<'_>,
    name: &str,
    report: &Report,
    tables: &Arc<[Excerpt]>,
    figures: &[Figure],
    inline: &Inline<'_>,
    out: &mut dyn io::Write,
) -> Result<(), Error> {
    let page = minijinja::value::Serde(page(report, tables, figures, inline));
    env.get_template(name)?.render_captured_to(page, Clean(&mut *out))?;
    // Jinja strips the final newline.
    Ok(out.write_all(b"\n")?)
}

/// A writer that drops control characters other than newlines and tabs, which HTML does not allow.
struct Clean<W>(W);

impl<W: io::Write> io::Write for Clean<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Templates write complete UTF-8 strings.
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        let dropped = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
        text.split(dropped).try_for_each(|part| self.0.write_all(part.as_bytes()))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
