//! Marks at points: one shape per colour, so that lines stay apart in grey too.

use std::fmt::Write;

/// Adds a mark of the shape that belongs to `color` at (x, y).
pub(super) fn mark(out: &mut String, color: usize, x: f64, y: f64, r: f64, style: &str) {
    let points = |corners: &[(f64, f64)]| {
        corners
            .iter()
            .map(|(dx, dy)| format!("{:.2},{:.2}", x + dx * r, y + dy * r))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let polygon = |corners: &[(f64, f64)]| format!("<polygon points=\"{}\" {style}/>", points(corners));
    let shape = match color % 5 {
        0 => format!("<circle cx=\"{x:.2}\" cy=\"{y:.2}\" r=\"{r:.2}\" {style}/>"),
        1 => polygon(&[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]),
        2 => polygon(&[(0.0, -1.25), (1.15, 0.8), (-1.15, 0.8)]),
        3 => polygon(&[(0.0, -1.3), (1.1, 0.0), (0.0, 1.3), (-1.1, 0.0)]),
        _ => polygon(&[(0.0, 1.25), (1.15, -0.8), (-1.15, -0.8)]),
    };
    let _ = writeln!(out, "{shape}");
}

/// Adds the cross at which a run diverged.
pub(super) fn cross(out: &mut String, x: f64, y: f64, style: &str) {
    let _ = writeln!(
        out,
        "<path d=\"M{:.2} {:.2}l7 7m0 -7l-7 7\" fill=\"none\" {style} stroke-width=\"1.6\"/>",
        x - 3.5,
        y - 3.5
    );
}
