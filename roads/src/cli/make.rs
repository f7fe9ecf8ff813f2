//! `hansom roads build`.

use super::{Failure, answer, bar};
use crate::build::{Plan, build};
use proto::units::Clock;
use std::path::PathBuf;

/// Flags of `hansom roads build`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One OpenStreetMap file (.osm.pbf, .osm or .osm.gz); or two tables (.csv or .csv.gz), in any
    /// order: nodes (columns node,lat,lon; node counts from 0) and directed edges (columns
    /// from,to,length_km,travel_time_s). What a file is, its content says.
    #[arg(required = true, num_args = 1..=2, value_name = "SOURCE")]
    sources: Vec<PathBuf>,
    /// Where to write the streets.
    #[arg(short, long, value_name = "CITY.roads")]
    output: PathBuf,
    /// One drives on the left there, so that turns to the right are the dear ones.
    #[arg(long)]
    left_hand: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args, clock: &dyn Clock) -> Result<(), Failure> {
    let began = clock.mono();
    let bar = bar(0, "{elapsed_precise} [{bar:40}] {bytes}/{total_bytes} {msg}");
    let Args { sources, output, left_hand, json } = args;
    let mut report = build(&Plan { sources, left_hand }, &output, &bar)?;
    bar.finish_and_clear();
    report.took_ms = clock.mono().since(began);
    report.peak_kb = peak_kb();
    answer(json, &report, || report.table().to_string())
}

/// The most memory this process has held, in kB, where the system tells.
fn peak_kb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().split(' ').next()?.parse().ok()
}
