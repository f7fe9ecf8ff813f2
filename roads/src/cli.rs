//! `hansom roads`: from flags to exit status.

mod bench;
mod check;
mod eta;
mod eval;
mod make;

use crate::build::BuildError;
use crate::file::FileError;
use crate::index::SnapError;
use crate::roads::{OFF_ROAD_MAX_M, Roads, Settings};
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use proto::Point;
use proto::units::Clock;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  A city from OpenStreetMap, and a drive in it
    hansom roads build porto_portugal.osm.pbf -o porto.roads
    hansom roads eta porto.roads 41.1496,-8.6110 41.1621,-8.6220

  A network from two tables, gzipped or not
    hansom roads build nodes.csv.gz edges.csv.gz -o manhattan.roads

  Is it right, is it fast, does it tell the truth?
    hansom roads check porto.roads
    hansom roads bench porto.roads
    hansom roads eval porto.roads --trips trips.csv.gz

  Nodes that know the roads
    hansom node --single --roads porto.roads";

/// Driving times on real streets: build, ask, check and measure.
#[derive(Debug, Subcommand)]
#[command(after_long_help = EXAMPLES)]
pub enum Command {
    /// Make a file of streets from a map.
    Build(make::Args),
    /// How long is the drive from one place to another?
    Eta(eta::Args),
    /// Compare random drives with Dijkstra's algorithm, to the millisecond.
    Check(check::Args),
    /// Measure queries, beside Dijkstra's algorithm in the same run.
    Bench(bench::Args),
    /// Compare estimates, by road and by straight line, with trips that were driven.
    Eval(eval::Args),
}

/// A file of streets, as every command but `build` takes it.
#[derive(Debug, clap::Args)]
struct City {
    /// A file of `hansom roads build`.
    #[arg(value_name = "CITY.roads")]
    roads: PathBuf,
    /// A place farther from any street than this is refused, in metres.
    #[arg(long, value_name = "METRES", default_value_t = OFF_ROAD_MAX_M)]
    off_road_max_m: u32,
    /// How long drives take, in percent of what the file says. A map knows speed limits and no
    /// traffic; `hansom roads eval` says what fits.
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(10..=1_000))]
    time_pct: u32,
}

impl City {
    fn open(&self) -> Result<Roads, Failure> {
        let Self { off_road_max_m, time_pct, .. } = *self;
        Ok(Roads::open(&self.roads, &Settings { off_road_max_m, time_pct })?)
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    OffRoad(#[from] SnapError),
    #[error("cannot write the answer: {0}")]
    Output(#[from] std::io::Error),
    #[error("cannot write the answer: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{0}")]
    Trips(eval::TripsError),
    #[error("{wrong} of {asked} drives are not as long as Dijkstra's algorithm says")]
    Wrong { wrong: u64, asked: u64 },
}

/// Runs a command: 0 done, 1 failed.
#[expect(clippy::print_stderr, reason = "a command's talk")]
pub fn run(command: Command, clock: &dyn Clock) -> ExitCode {
    let done = match command {
        Command::Build(args) => make::run(args, clock),
        Command::Eta(args) => eta::run(&args),
        Command::Check(args) => check::run(&args, clock),
        Command::Bench(args) => bench::run(&args, clock),
        Command::Eval(args) => eval::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("hansom roads: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Writes an answer: for people, or as JSON.
fn answer<T: serde::Serialize>(
    json: bool,
    value: &T,
    text: impl FnOnce() -> String,
) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, value)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{}", text())?;
    }
    Ok(())
}

/// A bar on stderr, if somebody looks.
fn bar(length: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    // The templates are constants and valid; a bar without style would do as well.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Latitude and longitude in degrees, with a comma between.
fn place(text: &str) -> Result<Point, String> {
    let (lat, lng) = text.split_once(',').ok_or("a place is LAT,LNG in degrees")?;
    let degrees = |text: &str| text.trim().parse::<f64>().map_err(|error| error.to_string());
    Point::from_degrees(degrees(lat)?, degrees(lng)?).map_err(|error| error.to_string())
}

/// The value that a share of all are below or at; `sorted` rises and is not empty.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() - 1) * percent / 100]
}
