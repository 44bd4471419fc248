//! How lines and words look, as attributes and text of SVG.

use std::fmt::Write;

use super::{Dash, Line, PALETTE};

/// The paint of a line's marks as attributes: full on solid lines, hollow on dashed ones.
pub(super) fn fill(line: &Line) -> String {
    let (i, colour) = (index(line), PALETTE[index(line)]);
    match line.dash {
        Dash::Solid => format!("class=\"f{i}\" fill=\"{colour}\""),
        Dash::Dashed => {
            format!("class=\"hollow s{i}\" fill=\"#ffffff\" stroke=\"{colour}\" stroke-width=\"1.2\"")
        }
    }
}

/// The stroke of a line as attributes.
pub(super) fn stroke(line: &Line) -> String {
    let width = if line.diverged { 0.8 } else { 1.7 };
    let dash = if line.dash == Dash::Dashed { " stroke-dasharray=\"5 3\"" } else { "" };
    format!(
        "class=\"s{}\" stroke=\"{}\" stroke-width=\"{width}\" stroke-linejoin=\"round\"{dash}",
        index(line),
        PALETTE[index(line)]
    )
}

/// Which colour of the palette a line has.
pub(super) const fn index(line: &Line) -> usize {
    line.color % PALETTE.len()
}

/// About how wide words are in a sans-serif face.
pub(super) fn text_width(words: &str, size: f64) -> f64 {
    words.chars().count() as f64 * size * 0.54
}

/// Adds words in ink, their baseline at `y`.
pub(super) fn text(out: &mut String, x: f64, y: f64, anchor: &str, size: f64, words: &str) {
    let _ = writeln!(
        out,
        "<text class=\"ink\" x=\"{x:.2}\" y=\"{y:.2}\" text-anchor=\"{anchor}\" font-size=\"{size}\" \
         fill=\"#1a1a1a\">{}</text>",
        escape(words)
    );
}

/// Words cut so that they are no wider than `width`.
pub(super) fn shortened(words: &str, width: f64, size: f64) -> String {
    if text_width(words, size) <= width {
        return words.to_owned();
    }
    let room = (width / text_width("x", size)) as usize;
    words.chars().take(room.saturating_sub(1)).chain(['…']).collect()
}

/// XML's special characters; control characters, which XML 1.0 does not have, are dropped.
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
