//! What a run leaves: the table, the JSON, the history; and where its files are.

use super::DemoError;
use crate::history::History;
use crate::progress::say;
use crate::report::Report;
use serde::Serialize;
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Where the run's files are, and whether they outlive it.
pub(crate) struct Home {
    pub(crate) path: PathBuf,
    directory: Option<TempDir>,
}

impl Home {
    pub(crate) fn make(prefix: &str) -> Result<Self, DemoError> {
        let made = tempfile::Builder::new().prefix(prefix).tempdir();
        let directory =
            made.map_err(|source| DemoError::System { what: "make a directory".into(), source })?;
        Ok(Self { path: directory.path().into(), directory: Some(directory) })
    }

    /// Leaves the files where they are.
    pub(crate) fn keep(&mut self) {
        if let Some(directory) = self.directory.take() {
            let _path = directory.keep();
        }
    }

    /// Whether they stay.
    pub(crate) const fn is_kept(&self) -> bool {
        self.directory.is_none()
    }
}

pub(crate) fn write_history(path: &Path, history: &History) -> Result<(), DemoError> {
    let write = || -> std::io::Result<()> {
        let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
        for seen in history.read() {
            serde_json::to_writer(&mut file, &seen)?;
            file.write_all(b"\n")?;
        }
        file.flush()
    };
    write()
        .map_err(|source| DemoError::System { what: format!("write {}", path.display()), source })
}

/// The table on stdout; the JSON into its file, or on stdout instead of the table.
pub(crate) fn print(report: &Report, json: Option<&Path>) -> Result<(), DemoError> {
    print_both(&report.table(), report, json)
}

/// The same of anything that is a text for people and a value.
pub(crate) fn print_both<T: Serialize>(
    table: &str,
    value: &T,
    json: Option<&Path>,
) -> Result<(), DemoError> {
    let json_text = || -> std::io::Result<String> {
        let mut text = serde_json::to_string_pretty(value)?;
        text.push('\n');
        Ok(text)
    };
    let write = || -> std::io::Result<()> {
        match json {
            Some(path) if path == Path::new("-") => {
                say(table);
                std::io::stdout().lock().write_all(json_text()?.as_bytes())
            }
            Some(path) => {
                std::fs::write(path, json_text()?)?;
                std::io::stdout().lock().write_all(table.as_bytes())
            }
            None => std::io::stdout().lock().write_all(table.as_bytes()),
        }
    };
    write().map_err(|source| DemoError::System { what: "write the report".into(), source })
}
