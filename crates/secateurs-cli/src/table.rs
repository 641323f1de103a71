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

/// A count with thousands separated: `312,218`.
pub fn count(n: impl ToString) -> String {
    let digits = n.to_string();
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |d| ("-", d));
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return format!("{sign}{digits}");
    }
    let mut out = String::from(sign);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number of bytes: `1.6 MB`.
pub fn bytes(n: usize) -> String {
    let n = n as f64;
    match n {
        n if n >= 1e9 => format!("{:.2} GB", n / 1e9),
        n if n >= 1e6 => format!("{:.2} MB", n / 1e6),
        n if n >= 1e3 => format!("{:.1} kB", n / 1e3),
        n => format!("{n} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_separators_and_formulas_stay() {
        assert_eq!(count(312_218), "312,218");
        assert_eq!(count(-1234), "-1,234");
        assert_eq!(count(12), "12");
        assert_eq!(count("64*batch"), "64*batch");
    }
}
