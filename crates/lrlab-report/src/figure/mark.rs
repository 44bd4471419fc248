//! Marks at points: one shape per colour, so that lines are distinguishable in greyscale.

use super::path::{Path, short};

/// Adds a mark of the shape that belongs to `color` at (x, y).
pub(super) fn mark(out: &mut Path, color: usize, x: f64, y: f64, r: f64) {
    let corners: &[(f64, f64)] = match color % 5 {
        0 => {
            // A single arc cannot draw a full circle, so it ends just before its start.
            out.start((x + r, y));
            let r = short(r);
            out.raw(&format!("a{r} {r} 0 1 1 0-.1"));
            return out.close();
        }
        1 => &[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        2 => &[(0.0, -1.25), (1.15, 0.8), (-1.15, 0.8)],
        3 => &[(0.0, -1.3), (1.1, 0.0), (0.0, 1.3), (-1.1, 0.0)],
        _ => &[(0.0, 1.25), (1.15, -0.8), (-1.15, -0.8)],
    };
    for (i, (dx, dy)) in corners.iter().enumerate() {
        let at = (x + dx * r, y + dy * r);
        if i == 0 { out.start(at) } else { out.line_to(at) }
    }
    out.close();
}

/// Adds the cross at which a run diverged.
pub(super) fn cross(out: &mut Path, x: f64, y: f64) {
    out.start((x - 3.5, y - 3.5));
    out.raw("l7 7m0-7l-7 7");
}
