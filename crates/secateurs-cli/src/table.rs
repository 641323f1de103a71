//! Tables on standard output: the first columns to the left, numbers to the right.

use std::io::{self, Write};

/// Rows of text under a header.
pub struct Table {
    header: Vec<&'static str>,
    /// How many columns, from the left, are text.
    text_columns: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(header: &[&'static str], text_columns: usize) -> Table {
        Table { header: header.to_vec(), text_columns, rows: Vec::new() }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let header: Vec<String> = self.header.iter().map(|h| (*h).to_owned()).collect();
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&header]).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..header.len()).map(width).collect();
        for row in [&header].into_iter().chain(&self.rows) {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let fill = " ".repeat(width - cell.chars().count());
                let gap = if column > 0 { "  " } else { "" };
                match column < self.text_columns {
                    true => line.extend([gap, cell, &fill]),
                    false => line.extend([gap, &fill, cell]),
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
