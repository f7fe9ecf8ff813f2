//! What a bench shows: a table for people, or JSON with every run; and a picture if one is wanted.

use super::BenchError;
use super::machine::Machine;
use super::median::median;
use super::plot;
use super::series::Series;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

/// Wide enough for every row; a log has no width to ask for.
const WIDTH: u16 = 150;

/// How often, and how it is shown.
#[derive(Debug, Clone, clap::Args)]
pub struct Output {
    /// How often all is measured; medians are shown.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=99))]
    pub runs: u32,
    /// JSON instead of a table, with every run.
    #[arg(long)]
    pub json: bool,
    /// Draw throughput and latency of the last run, second by second.
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
}

/// The reports of all runs of a bench, and how the last one went over time.
#[derive(Debug)]
pub struct Measured<R> {
    /// The bench's name.
    pub bench: &'static str,
    /// A report a run, at least one.
    pub runs: Vec<R>,
    /// The last run.
    pub series: Vec<Series>,
}

impl<R: Serialize + DeserializeOwned> Measured<R> {
    /// Shows it. `table` says how people see a report.
    pub fn show(
        &self,
        output: &Output,
        table: impl FnOnce(&R) -> String,
    ) -> Result<(), BenchError> {
        let machine = Machine::this();
        let shape = |error| BenchError::Shape(format!("{error}"));
        let runs: Result<Vec<Value>, _> = self.runs.iter().map(serde_json::to_value).collect();
        let runs = runs.map_err(shape)?;
        let median = median(&runs);
        let title = format!("hansom bench {}: {}", self.bench, machine.line());
        let text = if output.json {
            let all = json!({
                "bench": self.bench, "machine": machine, "median": median, "runs": runs,
                "seconds": self.series,
            });
            serde_json::to_string_pretty(&all).map_err(shape)?
        } else {
            let report = serde_json::from_value(median).map_err(shape)?;
            let of = match self.runs.len() {
                1 => "one run".to_owned(),
                many => format!("medians of {many} runs"),
            };
            format!("{title}\n{of}\n{}", table(&report))
        };
        if let Some(path) = &output.plot {
            let picture = plot::svg(&title, &self.series);
            let what = format!("write {}", path.display());
            std::fs::write(path, picture).map_err(|source| BenchError::System { what, source })?;
        }
        say(&text)
    }
}

/// Data, on stdout. A reader who has seen enough is no failure.
fn say(text: &str) -> Result<(), BenchError> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(source) if source.kind() != ErrorKind::BrokenPipe => {
            Err(BenchError::System { what: "write to stdout".into(), source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A table with a line for each row.
pub fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(header)
        .add_rows(rows);
    table.to_string()
}
