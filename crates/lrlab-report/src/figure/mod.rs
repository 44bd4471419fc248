//! Figures as values, which this crate draws as SVG and pgfplots: panels with axes, lines and bands; each line is labelled
//! at its end.

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
    /// The heading on a page; not drawn.
    pub title: String,
    /// The caption, with n.
    pub caption: String,
    /// Whether it is one of the paper's three figures.
    pub paper: bool,
    /// Panels, at most three in a row.
    pub panels: Vec<Panel>,
}

/// The scale of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Linear.
    Linear,
    /// Logarithmic.
    Log,
}

/// A pair of axes with lines.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// The title above the axes.
    pub title: String,
    /// Label of the horizontal axis; its ticks are integers.
    pub x_label: String,
    /// First and last value of the horizontal axis.
    pub x_range: (f64, f64),
    /// Label of the vertical axis.
    pub y_label: String,
    /// Scale of the vertical axis.
    pub y_scale: Scale,
    /// Bounds of the quantity: 0 and 100 for a percentage.
    pub y_bounds: (Option<f64>, Option<f64>),
    /// Lines in drawing order.
    pub lines: Vec<Line>,
    /// Vertical rules: position and label.
    pub rules: Vec<(f64, String)>,
}

/// The stroke style of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dash {
    /// A solid line.
    Solid,
    /// A dashed line.
    Dashed,
}

/// A line with the band around it.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The label at the line's end; empty if another line of the arm has it.
    pub label: String,
    /// Index into the palette, which also selects the mark.
    pub color: usize,
    /// The stroke style.
    pub dash: Dash,
    /// Points (x, y), in order of x.
    pub points: Vec<(f64, f64)>,
    /// The band as (x, lower, upper); empty if there is no spread.
    pub band: Vec<(f64, f64, f64)>,
    /// Whether the line is a single diverged run, drawn thin with a cross at its end.
    pub diverged: bool,
    /// Whether points have marks.
    pub marks: bool,
    /// Whether consecutive points are joined.
    pub joined: bool,
}

/// The palette of Okabe and Ito (2008), black first, without yellow, which has too little contrast on white.
pub(crate) const PALETTE: [&str; 7] =
    ["#1a1a1a", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
