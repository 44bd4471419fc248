//! Turns finished runs into statistics, tables, figures and an HTML page.
//!
//! [`summarise`] reads the results of a [`Plan`] from a [`RunStore`] and returns a [`Report`]: the arms of the grid with
//! their runs, paired comparisons, and the verdicts on the experiment's claims. [`write()`] renders the report as
//! Markdown, a self-contained HTML page, CSV and LaTeX tables, SVG and pgfplots figures, and a manifest that maps every
//! number to its runs. Equal inputs give byte-identical files.
//!
//! Incomplete data is always marked: a cell shows how many of its planned runs it contains, diverged runs are counted, and
//! comparisons with too few seeds to be significant are labelled.

#![allow(clippy::disallowed_methods, reason = "statistics and figures do not affect the bits of a run")]

mod answer;
mod arm;
mod claim;
mod compare;
mod contrast;
mod document;
mod error;
mod figure;
mod label;
mod manifest;
mod marked;
mod metric;
mod owned;
mod page;
mod profile;
mod rates;
mod report;
mod ro_crate;
mod search;
mod staged;
pub mod stats;
mod store;
mod table;
mod tables;
mod together;
mod write;

pub use answer::{Sentence, answer};
pub use arm::{Arm, Estimate, Run};
pub use claim::{ClaimVerdict, Expect, Judged, Measured, Scope, Verdict};
pub use compare::{Comparison, Finding, Paired};
pub use contrast::{Contrast, Reason};
pub use document::{Document, parse, render};
pub use error::Error;
pub use figure::{
    Dash, Figure, Forest, ForestGroup, ForestPoint, ForestRow, Line, Panel, Scale, figures, forest,
};
pub use metric::{At, Metric, Unit};
pub use profile::{Method, Profile, profile};
pub use report::{Counts, Origin, Report, check, summarise};
pub use search::{ArmSearch, TrialReport, TrialRun};
pub use store::State;
pub use table::{Claimed, Column, Difference, Link, Row, Table, TableCell, Value, terminal_table};
pub use tables::tables;
pub use together::summarise_together;
pub use write::{Written, write, write_open};

#[doc(no_inline)]
pub use lrlab_runs::{Plan, RunStore};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
