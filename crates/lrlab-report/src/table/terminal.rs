//! The results table that the terminal shows after a grid run.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table as Terminal};

use crate::{Report, tables};

/// The main results for a terminal, below a line with the progress of the grid.
#[must_use]
pub fn terminal_table(report: &Report) -> String {
    let table = tables::brief(report);
    let mut terminal = Terminal::new();
    terminal.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    let heading = |(_, c): (usize, &super::Column)| {
        if c.detail.is_empty() { c.title.clone() } else { format!("{}\n{}", c.title, c.detail) }
    };
    terminal.set_header(table.shown().map(heading));
    for row in &table.rows {
        let show = |cell: &super::TableCell| format!("{}{}", cell.value, if cell.bold { " *" } else { "" });
        terminal.add_row(table.shown().map(|(i, _)| show(&row.cells[i])));
    }
    for (i, (_, column)) in table.shown().enumerate() {
        if let (true, Some(shown)) = (column.numeric, terminal.column_mut(i)) {
            shown.set_cell_alignment(CellAlignment::Right);
        }
    }
    let counts = tables::progress(&report.counts);
    format!("{}: {counts}\n{terminal}\nmean ± std over seeds; *: best of its block\n", report.experiment)
}
