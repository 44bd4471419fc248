//! Escapes text for all LaTeX engines: accented letters become commands and symbols become math. A letter without a command
//! is printed verbatim by Unicode engines and as its code point in brackets by others.

use std::fmt::Write;

/// Accents: the command, the accented letters, and their base letters.
const ACCENTS: [(&str, &str, &str); 14] = [
    ("`", "ÀÈÌÒÙàèìòùǸǹẀẁỲỳ", "AEIOUaeiouNnWwYy"),
    ("'", "ÁÉÍÓÚÝáéíóúýĆćĹĺŃńŔŕŚśŹźẂẃ", "AEIOUYaeiouyCcLlNnRrSsZzWw"),
    ("^", "ÂÊÎÔÛâêîôûĈĉĜĝĤĥĴĵŜŝŴŵŶŷ", "AEIOUaeiouCcGgHhJjSsWwYy"),
    ("~", "ÃÑÕãñõĨĩŨũẼẽỸỹ", "ANOanoIiUuEeYy"),
    ("\"", "ÄËÏÖÜäëïöüÿŸẄẅ", "AEIOUaeiouyYWw"),
    ("=", "ĀāĒēĪīŌōŪūȲȳ", "AaEeIiOoUuYy"),
    ("u", "ĂăĔĕĞğĬĭŎŏŬŭ", "AaEeGgIiOoUu"),
    (".", "ĊċĖėĠġİŻż", "CcEeGgIZz"),
    ("v", "ČčĎďĚěĽľŇňŘřŠšŤťŽžǍǎǏǐǑǒǓǔǦǧ", "CcDdEeLlNnRrSsTtZzAaIiOoUuGg"),
    ("H", "ŐőŰű", "OoUu"),
    ("r", "ÅåŮů", "AaUu"),
    ("c", "ÇçĢĶķĻļŅņŖŗŞşŢţ", "CcGKkLlNnRrSsTt"),
    ("k", "ĄąĘęĮįŲų", "AaEeIiUu"),
    ("d", "ẠạẸẹỊịỌọỤụ", "AaEeIiOoUu"),
];

/// Other letters and symbols with their commands; symbols between `$` are set in math mode.
const SIGNS: [(char, &str); 118] = [
    ('\\', "\\textbackslash{}"),
    ('~', "\\textasciitilde{}"),
    ('^', "\\textasciicircum{}"),
    ('<', "$<$"),
    ('>', "$>$"),
    ('|', "\\textbar{}"),
    ('`', "\\`{}"),
    ('\u{a0}', "~"),
    ('Æ', "\\AE{}"),
    ('æ', "\\ae{}"),
    ('Œ', "\\OE{}"),
    ('œ', "\\oe{}"),
    ('Ø', "\\O{}"),
    ('ø', "\\o{}"),
    ('Ł', "\\L{}"),
    ('ł', "\\l{}"),
    ('ß', "\\ss{}"),
    ('ı', "\\i{}"),
    ('Ð', "\\DH{}"),
    ('ð', "\\dh{}"),
    ('Þ', "\\TH{}"),
    ('þ', "\\th{}"),
    ('Đ', "\\DJ{}"),
    ('đ', "\\dj{}"),
    ('«', "\\guillemotleft{}"),
    ('»', "\\guillemotright{}"),
    ('„', "\\quotedblbase{}"),
    ('¡', "!`"),
    ('¿', "?`"),
    ('§', "\\S{}"),
    ('¶', "\\P{}"),
    ('©', "\\copyright{}"),
    ('£', "\\pounds{}"),
    ('®', "\\textregistered{}"),
    ('™', "\\texttrademark{}"),
    ('°', "$^\\circ$"),
    ('ª', "$^a$"),
    ('º', "$^o$"),
    ('¬', "$\\neg$"),
    ('µ', "$\\mu$"),
    ('¹', "$^1$"),
    ('²', "$^2$"),
    ('³', "$^3$"),
    ('ⁿ', "$^n$"),
    ('¼', "$1/4$"),
    ('½', "$1/2$"),
    ('¾', "$3/4$"),
    ('±', "$\\pm$"),
    ('∓', "$\\mp$"),
    ('−', "$-$"),
    ('×', "$\\times$"),
    ('÷', "$\\div$"),
    ('·', "$\\cdot$"),
    ('⋅', "$\\cdot$"),
    ('•', "$\\bullet$"),
    ('†', "$\\dagger$"),
    ('‐', "-"),
    ('‑', "-"),
    ('–', "--"),
    ('—', "---"),
    ('…', "\\ldots{}"),
    ('‘', "`"),
    ('’', "'"),
    ('“', "``"),
    ('”', "''"),
    ('≥', "$\\geq$"),
    ('≤', "$\\leq$"),
    ('≠', "$\\neq$"),
    ('≈', "$\\approx$"),
    ('≡', "$\\equiv$"),
    ('∝', "$\\propto$"),
    ('∞', "$\\infty$"),
    ('√', "$\\surd$"),
    ('∑', "$\\sum$"),
    ('∏', "$\\prod$"),
    ('∂', "$\\partial$"),
    ('∇', "$\\nabla$"),
    ('∈', "$\\in$"),
    ('←', "$\\leftarrow$"),
    ('→', "$\\to$"),
    ('↑', "$\\uparrow$"),
    ('↓', "$\\downarrow$"),
    ('⇒', "$\\Rightarrow$"),
    ('α', "$\\alpha$"),
    ('β', "$\\beta$"),
    ('γ', "$\\gamma$"),
    ('δ', "$\\delta$"),
    ('ε', "$\\varepsilon$"),
    ('ζ', "$\\zeta$"),
    ('η', "$\\eta$"),
    ('θ', "$\\theta$"),
    ('ι', "$\\iota$"),
    ('κ', "$\\kappa$"),
    ('λ', "$\\lambda$"),
    ('μ', "$\\mu$"),
    ('ν', "$\\nu$"),
    ('ξ', "$\\xi$"),
    ('π', "$\\pi$"),
    ('ρ', "$\\rho$"),
    ('σ', "$\\sigma$"),
    ('ς', "$\\varsigma$"),
    ('τ', "$\\tau$"),
    ('υ', "$\\upsilon$"),
    ('φ', "$\\varphi$"),
    ('χ', "$\\chi$"),
    ('ψ', "$\\psi$"),
    ('ω', "$\\omega$"),
    ('Γ', "$\\Gamma$"),
    ('Δ', "$\\Delta$"),
    ('Θ', "$\\Theta$"),
    ('Λ', "$\\Lambda$"),
    ('Ξ', "$\\Xi$"),
    ('Π', "$\\Pi$"),
    ('Σ', "$\\Sigma$"),
    ('Υ', "$\\Upsilon$"),
    ('Φ', "$\\Phi$"),
    ('Ψ', "$\\Psi$"),
    ('Ω', "$\\Omega$"),
];

/// Commands that the T1 encoding has and the default OT1 encoding lacks.
const T1: [&str; 10] = [
    "\\k{",
    "\\DH{}",
    "\\dh{}",
    "\\TH{}",
    "\\th{}",
    "\\DJ{}",
    "\\dj{}",
    "\\guillemotleft{}",
    "\\guillemotright{}",
    "\\quotedblbase{}",
];

/// Returns whether escaped text needs `\usepackage[T1]{fontenc}`.
pub(crate) fn needs_t1(latex: &str) -> bool {
    T1.iter().any(|command| latex.contains(command))
}

/// Escapes text for LaTeX. The result is ASCII except for letters without a command.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        match c {
            '{' | '}' | '_' | '%' | '&' | '#' | '$' => {
                out.push('\\');
                out.push(c);
            }
            // A quote before a word opens, a quote after a word closes.
            '"' if before.is_whitespace() || "([{/-–—".contains(before) => out.push_str("``"),
            '"' => out.push_str("''"),
            // Two in a row would form a ligature.
            '-' | '\'' | ',' if c == before => {
                out.push_str("{}");
                out.push(c);
            }
            c if c.is_whitespace() && c != '\u{a0}' => out.push(' '),
            c if c.is_control() => continue,
            c => letter(&mut out, c),
        }
        before = c;
    }
    out
}

fn letter(out: &mut String, c: char) {
    if let Some((_, command)) = SIGNS.iter().find(|(sign, _)| *sign == c) {
        out.push_str(command);
    } else if c.is_ascii() {
        out.push(c);
    } else if let Some((accent, base)) = accented(c) {
        // An accent replaces the dot.
        let base = match base {
            'i' | 'j' if !matches!(accent, "c" | "k" | "d") => format!("\\{base}"),
            base => base.to_string(),
        };
        let _ = write!(out, "\\{accent}{{{base}}}");
    } else {
        let _ = write!(out, "\\ifx\\Umathchar\\undefined[U+{:04X}]\\else {c}\\fi{{}}", u32::from(c));
    }
}

fn accented(c: char) -> Option<(&'static str, char)> {
    ACCENTS.iter().find_map(|(accent, letters, bases)| {
        let at = letters.chars().position(|letter| letter == c)?;
        Some((*accent, bases.chars().nth(at)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specials() {
        let check = |text, expected: &str| assert_eq!(escape(text), expected);
        check("val_acc 50% & #1 $x$ {y}", "val\\_acc 50\\% \\& \\#1 \\$x\\$ \\{y\\}");
        check("a\\b ~ ^", "a\\textbackslash{}b \\textasciitilde{} \\textasciicircum{}");
        check("0.81 ± 0.01", "0.81 $\\pm$ 0.01");
        check("−1 < 2 – … \n", "$-$1 $<$ 2 -- \\ldots{}  ");
        check("\u{0}\u{7}x", "x");
        check("\"so\" (\"it\") is", "``so'' (``it'') is");
        check("--lr ''x'' `y`", "-{}-lr '{}'x'{}' \\`{}y\\`{}");
    }

    #[test]
    fn letters() {
        let check = |text, expected: &str| assert_eq!(escape(text), expected);
        check("Škoda naïve Łódź", "\\v{S}koda na\\\"{\\i}ve \\L{}\\'{o}d\\'{z}");
        check("β₁", "$\\beta$\\ifx\\Umathchar\\undefined[U+2081]\\else ₁\\fi{}");
        check("Ж", "\\ifx\\Umathchar\\undefined[U+0416]\\else Ж\\fi{}");
        assert!(needs_t1(&escape("zażółć gęślą")) && !needs_t1(&escape("Škoda")));
        for (_, letters, bases) in ACCENTS {
            assert_eq!(letters.chars().count(), bases.chars().count(), "{letters}");
        }
    }
}
