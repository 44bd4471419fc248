//! Compact SVG path data: tenths of a pixel, relative coordinates after the first point.

/// A builder for a `d` attribute.
#[derive(Default)]
pub(super) struct Path {
    data: String,
    /// The current point, in tenths; the start of the subpath if it is closed.
    at: (i64, i64),
    start: (i64, i64),
    /// Whether the last subpath is closed.
    closed: bool,
    /// Whether the last command was `l`, so that the next pair needs no command.
    lines: bool,
}

impl Path {
    /// A path through the given points.
    pub(super) fn through(corners: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let (mut path, mut first) = (Self::default(), true);
        for corner in corners {
            if first {
                path.start(corner);
            } else {
                path.line_to(corner);
            }
            first = false;
        }
        path
    }

    /// Starts a new subpath.
    pub(super) fn start(&mut self, (x, y): (f64, f64)) {
        let to = (tenths(x), tenths(y));
        let (command, from) = if self.closed { ('m', self.at) } else { ('M', (0, 0)) };
        self.data.push(command);
        self.number(to.0 - from.0, true);
        self.number(to.1 - from.1, false);
        (self.at, self.start) = (to, to);
        (self.lines, self.closed) = (false, false);
    }

    /// Draws a line from the current point.
    pub(super) fn line_to(&mut self, (x, y): (f64, f64)) {
        let to = (tenths(x), tenths(y));
        let (dx, dy) = (to.0 - self.at.0, to.1 - self.at.1);
        self.at = to;
        match (dx, dy) {
            (0, 0) => {}
            (_, 0) => self.command('h', dx),
            (0, _) => self.command('v', dy),
            _ => {
                if !self.lines {
                    self.data.push('l');
                }
                self.number(dx, !self.lines);
                self.number(dy, false);
                self.lines = true;
            }
        }
    }

    /// Closes the current subpath.
    pub(super) fn close(&mut self) {
        self.data.push('z');
        (self.at, self.lines, self.closed) = (self.start, false, true);
    }

    /// Appends commands verbatim. The caller must start a new subpath afterwards.
    pub(super) fn raw(&mut self, commands: &str) {
        self.data.push_str(commands);
        self.lines = false;
    }

    pub(super) fn data(&self) -> &str {
        &self.data
    }

    fn command(&mut self, command: char, by: i64) {
        self.data.push(command);
        self.number(by, true);
        self.lines = false;
    }

    fn number(&mut self, tenths: i64, first: bool) {
        if !first && tenths >= 0 {
            self.data.push(' ');
        }
        self.data.push_str(&decimal(tenths));
    }
}

/// Formats a coordinate with at most one decimal.
pub(super) fn short(x: f64) -> String {
    decimal(tenths(x))
}

fn tenths(x: f64) -> i64 {
    (x * 10.0).round() as i64
}

/// 123 as "12.3", 120 as "12", −3 as "-.3".
fn decimal(tenths: i64) -> String {
    let (sign, size) = (if tenths < 0 { "-" } else { "" }, tenths.unsigned_abs());
    match (size / 10, size % 10) {
        (whole, 0) => format!("{sign}{whole}"),
        (0, part) => format!("{sign}.{part}"),
        (whole, part) => format!("{sign}{whole}.{part}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_short() {
        let check = |corners: &[(f64, f64)], expected: &str| {
            assert_eq!(Path::through(corners.iter().copied()).data(), expected);
        };
        check(&[], "");
        check(&[(58.0, 26.04)], "M58 26");
        check(
            &[(66.0, 35.43), (90.89, 75.22), (115.78, 75.2), (115.78, 35.0)],
            "M66 35.4l24.9 39.8h24.9v-40.2",
        );
        check(&[(0.0, 0.0), (1.0, -0.3), (2.0, 0.0), (2.0, 0.0)], "M0 0l1-.3 1 .3");
        // A subpath after a closed one starts with a relative move.
        let mut two = Path::default();
        for at in [(10.0, 10.0), (20.5, 9.0)] {
            two.start(at);
            two.line_to((at.0 + 1.0, at.1 + 1.0));
            two.close();
        }
        assert_eq!(two.data(), "M10 10l1 1zm10.5-1l1 1z");
        // Rounding errors do not accumulate.
        let slope: Vec<(f64, f64)> = (0..=1000).map(|i| (f64::from(i) * 0.24, f64::from(i) * 0.1)).collect();
        let path = Path::through(slope);
        assert_eq!(path.at, (2400, 1000));
    }
}
