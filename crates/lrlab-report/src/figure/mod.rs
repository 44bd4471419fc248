//! A figure as a value, drawn by this crate as SVG: panels with axes, lines and bands, each line named at its end.

mod all;
mod axis;
mod curves;
mod forest;
mod mark;
mod paint;
mod path;
mod pgfplots;
mod profiles;
mod svg;

pub use all::figures;
pub(crate) use curves::undrawn;
pub(crate) use forest::{FOREST, Width, svg as forest_svg};
pub use forest::{Forest, ForestGroup, ForestPoint, ForestRow, forest};
pub(crate) use paint::style;
pub(crate) use pgfplots::{forest_pgfplots, pgfplots};
pub(crate) use svg::{panels, svg};

/// Panels side by side.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// File name without extension.
    pub name: String,
    /// Heading, for pages; not drawn.
    pub title: String,
    /// What is drawn, with n.
    pub caption: String,
    /// Whether it is one of the paper's three.
    pub paper: bool,
    /// Panels, at most three in a row.
    pub panels: Vec<Panel>,
}

/// How an axis runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// By powers of ten.
    Log,
}

/// One pair of axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// Above the axes.
    pub title: String,
    /// Label of the horizontal axis; its ticks are whole numbers.
    pub x_label: String,
    /// First and last value of the horizontal axis.
    pub x_range: (f64, f64),
    /// Label of the vertical axis.
    pub y_label: String,
    /// How the vertical axis runs.
    pub y_scale: Scale,
    /// Bounds that no value of the quantity passes: 0 and 100 for a percentage.
    pub y_bounds: (Option<f64>, Option<f64>),
    /// Lines, the first at the back.
    pub lines: Vec<Line>,
    /// Vertical rules with a word each.
    pub rules: Vec<(f64, String)>,
}

/// Strokes that stay apart without colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dash {
    /// Unbroken.
    Solid,
    /// Broken.
    Dashed,
}

/// A line with the band around it.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Name at its end; empty where another line of the arm has it.
    pub label: String,
    /// Index into the palette; decides the mark too.
    pub color: usize,
    /// Stroke.
    pub dash: Dash,
    /// Points, by x.
    pub points: Vec<(f64, f64)>,
    /// Lower and upper edge at each x; empty where there is no spread.
    pub band: Vec<(f64, f64, f64)>,
    /// Whether it is a single run that diverged: drawn thin and ended by a cross.
    pub diverged: bool,
    /// Whether points get marks.
    pub marks: bool,
    /// Whether points are joined: nothing is drawn where nothing is known.
    pub joined: bool,
}

/// Okabe and Ito's palette, ink first; yellow is left out, it does not stand out from white.
pub(crate) const PALETTE: [&str; 7] =
    ["#1a1a1a", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
