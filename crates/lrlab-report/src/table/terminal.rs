//! The table at the end of a run of the grid.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table as Terminal};

use crate::{Report, tables};

/// The main table for a terminal, with a line above it that says how much of the grid is done.
#[must_use]
pub fn terminal_table(report: &Report) -> String {
    let table = tables::results(report);
    let mut terminal = Terminal::new();
    terminal.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    let heading = |c: &super::Column| {
        if c.detail.is_empty() { c.title.clone() } else { format!("{}\n{}", c.title, c.detail) }
    };
    terminal.set_header(table.columns.iter().map(heading));
    for row in &table.rows {
        terminal.add_row(
            row.cells
                .iter()
                .map(|cell| if cell.bold { format!("{} *", cell.value) } else { cell.value.to_string() }),
        );
    }
    for (i, column) in table.columns.iter().enumerate() {
        if let (true, Some(shown)) = (column.numeric, terminal.column_mut(i)) {
            shown.set_cell_alignment(CellAlignment::Right);
        }
    }
    let counts = tables::progress(&report.counts);
    format!("{}: {counts}\n{terminal}\nmean ± std over seeds; * best of its block\n", report.experiment)
}
