//! What was measured: a table for people, and the same figures as JSON for the charts.

use std::{fmt, fs, io, path::PathBuf};

use serde::{Deserialize, Serialize};

/// The figures of one measurement, and whether they are what was aimed at.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    name: String,
    title: String,
    columns: Vec<String>,
    rows: Vec<Vec<Cell>>,
    notes: Vec<String>,
    targets: Vec<Target>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Cell {
    Number(f64),
    Text(String),
}

#[derive(Debug, Serialize, Deserialize)]
struct Target {
    what: String,
    met: bool,
}

impl Report {
    /// An empty table. The name is that on the command line.
    pub(crate) fn new<const N: usize>(name: &str, title: &str, columns: [&str; N]) -> Self {
        Self {
            name: name.into(),
            title: title.into(),
            columns: columns.map(String::from).into(),
            rows: Vec::new(),
            notes: Vec::new(),
            targets: Vec::new(),
        }
    }

    /// # Panics
    ///
    /// If it is longer or shorter than the table is wide.
    pub(crate) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        assert_eq!(N, self.columns.len(), "a cell for each column of `{}`", self.name);
        self.rows.push(cells.into());
    }

    /// A line below the table: what it does not say by itself.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// What was aimed at. A target that is missed fails a run with `--check`.
    pub(crate) fn target(&mut self, what: impl Into<String>, met: bool) {
        self.targets.push(Target { what: what.into(), met });
    }

    pub(crate) fn meets_its_targets(&self) -> bool {
        self.targets.iter().all(|target| target.met)
    }

    /// Keeps the figures for the charts.
    pub(crate) fn store(&self) -> io::Result<()> {
        let path = stored_at(&self.name);
        fs::create_dir_all(path.parent().expect("a file in the folder of all reports"))?;
        fs::write(path, serde_json::to_vec_pretty(self)?)
    }

    /// The report that was stored last under this name.
    pub(crate) fn stored(name: &str) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(stored_at(name))?)?)
    }

    /// The cells of a column, from the top.
    pub(crate) fn column(&self, name: &str) -> impl Iterator<Item = &Cell> {
        let at = self.columns.iter().position(|column| column == name);
        let at = at.unwrap_or_else(|| panic!("`{}` has no column `{name}`", self.name));
        self.rows.iter().map(move |row| &row[at])
    }

    fn is_numeric(&self, column: usize) -> bool {
        self.rows.iter().all(|row| matches!(row[column], Cell::Number(_)))
    }
}

/// `target/speed/NAME.json`, wherever Cargo has its target folder.
fn stored_at(name: &str) -> PathBuf {
    let tmp = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    tmp.with_file_name("speed").join(name).with_extension("json")
}

impl Cell {
    pub(crate) fn number(&self) -> f64 {
        match self {
            Self::Number(number) => *number,
            Self::Text(text) => panic!("`{text}` is no number"),
        }
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<usize> for Cell {
    fn from(number: usize) -> Self {
        Self::Number(number as f64)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// Numbers to three digits: no figure here is known any better.
impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) if number.fract() == 0.0 => write!(f, "{number}"),
            Self::Number(number) => {
                let before_the_point = number.abs().log10().floor() as i32 + 1;
                let after = (3 - before_the_point.max(0)).max(0) as usize;
                write!(f, "{number:.after$}")
            }
        }
    }
}

/// Markdown, aligned so that it reads on a terminal too.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = self.rows.iter().map(|row| row.iter().map(Cell::to_string).collect());
        let rows: Vec<Vec<String>> = cells.collect();
        let widths = self.columns.iter().enumerate().map(|(at, column)| {
            let cells = rows.iter().map(|row| &row[at]);
            cells.chain([column]).map(|cell| cell.chars().count()).max().unwrap_or(0)
        });
        let widths: Vec<usize> = widths.collect();
        let line = |f: &mut fmt::Formatter<'_>, cells: &[String]| {
            for (at, (cell, width)) in cells.iter().zip(&widths).enumerate() {
                match self.is_numeric(at) {
                    true => write!(f, "| {cell:>width$} ")?,
                    false => write!(f, "| {cell:<width$} ")?,
                }
            }
            writeln!(f, "|")
        };

        writeln!(f, "### {}\n", self.title)?;
        line(f, &self.columns)?;
        for (at, width) in widths.iter().enumerate() {
            let colon = if self.is_numeric(at) { ":" } else { "-" };
            write!(f, "|-{}{colon}", "-".repeat(*width))?;
        }
        writeln!(f, "|")?;
        for row in &rows {
            line(f, row)?;
        }
        writeln!(f)?;
        for note in &self.notes {
            writeln!(f, "- {note}")?;
        }
        for Target { what, met } in &self.targets {
            writeln!(f, "- target {}: {what}", if *met { "met" } else { "MISSED" })?;
        }
        Ok(())
    }
}
