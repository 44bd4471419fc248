//! SVG primitives: paths, text, and the CSS classes that style them.

use std::fmt::Write;

use super::path::{Path, short};
use super::{Dash, Line, PALETTE};

/// The style sheet of figures. An SVG file contains it; a page contains it once for all of its figures.
///
/// Classes: `s0` … are the palette's strokes and `f0` … its fills; `l` is a line, `t` a thin line, `d` a dashed line, `b` a
/// band, `e` an error bar and `m` a hollow mark.
pub(crate) fn style() -> String {
    let mut out = "svg{font-family:Helvetica,Arial,'Liberation Sans',sans-serif}\n\
                   svg .paper,svg .hollow{fill:#fff}\n\
                   svg text{fill:#1a1a1a}\n\
                   svg .grid{fill:none;stroke:#e4e4e4;stroke-width:.8}\n\
                   svg .axis{fill:none;stroke:#1a1a1a;stroke-width:.9}\n\
                   svg .rule{stroke-dasharray:1.5 3}\n\
                   svg .l,svg .t,svg .e{fill:none;stroke-width:1.7;stroke-linejoin:round}\n\
                   svg .t{stroke-width:.8}\n\
                   svg .e{stroke-width:1.3}\n\
                   svg .d{stroke-dasharray:5 3}\n\
                   svg .m{stroke-width:1.2}\n\
                   svg .b{fill-opacity:.13}\n"
        .to_owned();
    for (i, color) in PALETTE.iter().enumerate() {
        let _ = writeln!(out, "svg .s{i}{{stroke:{color}}}svg .f{i}{{fill:{color}}}");
    }
    out
}

/// An SVG document. With a caption it contains its own style sheet and background; without one it uses the page's.
pub(super) fn document(
    (width, height): (f64, f64),
    title: &str,
    caption: Option<&str>,
    body: &str,
) -> String {
    let alone = caption.map_or_else(String::new, |caption| {
        format!(
            "<desc>{}</desc>\n<style>\n{}</style>\n<rect class=\"paper\" width=\"{width:.0}\" height=\"{height:.0}\"/>\n",
            escape(caption),
            style()
        )
    });
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" font-size=\"11\" role=\"img\">\n<title>{}</title>\n{alone}{body}</svg>\n",
        escape(title)
    )
}

/// Adds a path with these classes, unless it is empty.
pub(super) fn path(out: &mut String, class: &str, path: &Path) {
    if !path.data().is_empty() {
        let _ = writeln!(out, "<path class=\"{class}\" d=\"{}\"/>", path.data());
    }
}

/// The classes of a line's marks: filled on solid lines, hollow on dashed lines.
pub(super) fn fill(line: &Line) -> String {
    match line.dash {
        Dash::Solid => format!("f{}", index(line)),
        Dash::Dashed => format!("hollow m s{}", index(line)),
    }
}

/// The classes of a line.
pub(super) fn stroke(line: &Line) -> String {
    let width = if line.diverged { "t" } else { "l" };
    let dash = if line.dash == Dash::Dashed { " d" } else { "" };
    format!("{width}{dash} s{}", index(line))
}

/// The palette index of a line.
pub(super) const fn index(line: &Line) -> usize {
    line.color % PALETTE.len()
}

/// The approximate width of text in a sans-serif font.
pub(super) fn text_width(words: &str, size: f64) -> f64 {
    words.chars().count() as f64 * size * 0.54
}

/// The alignment of text relative to its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// The default font size, which text elements omit.
pub(super) const SIZE: f64 = 11.0;

/// Adds several texts with a common anchor.
pub(super) fn texts(out: &mut String, anchor: Anchor, words: impl IntoIterator<Item = (f64, f64, String)>) {
    let name = match anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    let _ = writeln!(out, "<g text-anchor=\"{name}\">");
    for (x, y, words) in words {
        text(out, x, y, Anchor::Start, SIZE, &words);
    }
    out.push_str("</g>\n");
}

/// Adds text with its baseline at `y`.
pub(super) fn text(out: &mut String, x: f64, y: f64, anchor: Anchor, size: f64, words: &str) {
    let anchor = match anchor {
        Anchor::Start => "",
        Anchor::Middle => " text-anchor=\"middle\"",
        Anchor::End => " text-anchor=\"end\"",
    };
    let size = if size == SIZE { String::new() } else { format!(" font-size=\"{size}\"") };
    let (x, y, words) = (short(x), short(y), escape(words));
    let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\"{anchor}{size}>{words}</text>");
}

/// Truncates text to `width`.
pub(super) fn shortened(words: &str, width: f64, size: f64) -> String {
    if text_width(words, size) <= width {
        return words.to_owned();
    }
    let length = (width / text_width("x", size)) as usize;
    words.chars().take(length.saturating_sub(1)).chain(['…']).collect()
}

/// Escapes XML's special characters and drops control characters, which XML 1.0 does not allow.
pub(super) fn escape(words: &str) -> String {
    let mut out = String::with_capacity(words.len());
    for c in words.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}
