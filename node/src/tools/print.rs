//! How commands print: data on stdout, talk on stderr. Whoever has seen enough closes the pipe
//! (`hansom ring | head -1`). That is no failure, and `println!` would panic.

use comfy_table::{Table, presets};
use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;

/// Data could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to stdout: {0}")]
pub(crate) struct Unwritten(io::Error);

impl Unwritten {
    /// Whether the reader has gone, who then has what he wanted.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.kind() == ErrorKind::BrokenPipe
    }
}

/// Prints data, a line or several.
pub(crate) fn data(text: impl Display) -> Result<(), Unwritten> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(Unwritten)
}

/// Prints talk. If nobody listens, nobody misses it.
pub(crate) fn talk(text: impl Display) {
    let _unheard = writeln!(io::stderr(), "{text}");
}

/// Ends a command with what it found, or with why it found nothing.
pub(crate) fn finish(command: &str, done: Result<impl Display, impl Display>) -> ExitCode {
    let trouble = match done {
        Ok(text) => match data(text) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(unwritten) if unwritten.is_closed() => return ExitCode::SUCCESS,
            Err(unwritten) => unwritten.to_string(),
        },
        Err(error) => error.to_string(),
    };
    talk(format_args!("{command}: {trouble}"));
    ExitCode::FAILURE
}

/// A table of one thing: a field a line, without those it does not have.
pub(crate) fn record(fields: impl IntoIterator<Item = (&'static str, Option<String>)>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED);
    for (name, value) in fields {
        if let Some(value) = value {
            table.add_row([name.to_owned(), value]);
        }
    }
    table.to_string()
}

/// A table of many: a thing a line.
pub(crate) fn list<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_header(header).add_rows(rows);
    table.to_string()
}
