//! Markdown tables.

use std::{fmt, time::Duration};

/// A heading, a table, and what one has to know to read it.
pub(crate) struct Table {
    title: &'static str,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    note: String,
}

impl Table {
    pub(crate) fn new<const N: usize>(title: &'static str, columns: [&str; N]) -> Self {
        let columns = columns.map(str::to_owned).into();
        Self { title, columns, rows: Vec::new(), note: String::new() }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        assert_eq!(cells.len(), self.columns.len(), "a cell for each column");
        self.rows.push(cells.into());
    }

    /// What is printed below the table.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    fn is_numeric(&self, column: usize) -> bool {
        let digit = |cell: &str| cell.starts_with(|c: char| c.is_ascii_digit() || "×>".contains(c));
        self.rows.iter().all(|row| digit(&row[column]))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## {}\n", self.title)?;
        writeln!(f, "| {} |", self.columns.join(" | "))?;
        let aligned = |nth| if self.is_numeric(nth) { "---:" } else { "---" };
        let rules: Vec<_> = (0..self.columns.len()).map(aligned).collect();
        writeln!(f, "| {} |", rules.join(" | "))?;
        for row in &self.rows {
            writeln!(f, "| {} |", row.join(" | "))?;
        }
        if !self.note.is_empty() {
            writeln!(f, "\n{}", self.note)?;
        }
        Ok(())
    }
}

/// A time with three digits, which is more than these measurements are worth.
pub(crate) fn time(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds >= 1.0 => format!("{seconds:.1} s"),
        seconds => format!("{:.0} ms", seconds * 1e3),
    }
}
