//! `hansom roads eval`: estimates beside trips that taxis drove.

use super::{City, Failure, answer, bar, percentile};
use crate::geometry::metres;
use crate::roads::Roads;
use crate::source::SourceError;
use crate::table::Table as Rows;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::ProgressBar;
use proto::Point;
use serde::Serialize;
use std::path::PathBuf;

/// Flags of `hansom roads eval`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    city: City,
    /// A table (.csv or .csv.gz) with a column POLYLINE, the fixes of a trip as JSON
    /// `[[lng, lat], ...]`, as in the taxi data of Porto.
    #[arg(long)]
    trips: PathBuf,
    /// The time from fix to fix, in seconds.
    #[arg(long, default_value_t = 15)]
    every_s: u32,
    /// Trips shorter than this are passed over, in seconds.
    #[arg(long, default_value_t = 60)]
    at_least_s: u32,
    /// What the straight-line estimate assumes as speed along the road, in centimetres a second (a
    /// node's --speed-cms).
    #[arg(long, default_value_t = 600)]
    speed_cms: u32,
    /// And as length of the road over that of the straight line, in percent (a node's
    /// --detour-pct).
    #[arg(long, default_value_t = 130)]
    detour_pct: u32,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
}

/// Why trips cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum TripsError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("trip {row}: {source}")]
    Polyline { row: usize, source: serde_json::Error },
    #[error("only {usable} of {read} trips can be used: too few to fit and to judge")]
    TooFew { usable: usize, read: usize },
}

/// A trip that was driven, and what would have been said of it.
#[derive(Debug, Clone)]
struct Trip {
    fixes: Vec<Point>,
    real_s: f64,
    straight_s: f64,
    roads_s: f64,
    /// By road, after the roads have learned from other trips.
    taught_s: f64,
}

type Estimate = fn(&Trip) -> f64;

impl Trip {
    fn ends(&self) -> (Point, Point) {
        (self.fixes[0], self.fixes[self.fixes.len() - 1])
    }
}

/// How far estimates are off, in seconds.
#[derive(Debug, Serialize)]
struct Row {
    estimate: String,
    trips: usize,
    median_abs_s: f64,
    p90_abs_s: f64,
    /// Estimate less truth, on the average.
    bias_s: f64,
    /// The median of the error over the truth.
    median_abs_pct: f64,
}

#[derive(Debug, Default, Serialize)]
struct Evaluation {
    read: usize,
    too_short: usize,
    off_road: usize,
    median_trip_s: f64,
    /// Drives between two fixes that the roads learned from.
    learned: usize,
    /// What `--time-pct` would be right for these trips.
    time_pct: f64,
    rows: Vec<Row>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let roads = args.city.open()?;
    let mut found = Evaluation::default();
    let mut trips = trips(args, &roads, &mut found).map_err(Failure::Trips)?;
    if trips.len() < TRIPS_MIN {
        let usable = trips.len();
        return Err(Failure::Trips(TripsError::TooFew { usable, read: found.read }));
    }
    // Every second trip is for fitting and teaching, the others for judging.
    found.learned = trips.iter().step_by(2).map(|trip| teach(&roads, trip, args.every_s)).sum();
    roads.recustomize();
    for trip in &mut trips {
        let (from, to) = trip.ends();
        trip.taught_s = seconds(roads.eta_ms(from, to)?);
    }
    let mut reals: Vec<f64> = trips.iter().map(|trip| trip.real_s).collect();
    reals.sort_by(f64::total_cmp);
    found.median_trip_s = percentile(&reals, 50);
    let fit: Vec<Trip> = trips.iter().step_by(2).cloned().collect();
    let judge: Vec<Trip> = trips.iter().skip(1).step_by(2).cloned().collect();
    let kinds: [(&str, Estimate); 3] = [
        ("straight line", |trip| trip.straight_s),
        ("roads", |trip| trip.roads_s),
        ("roads, taught by the even trips", |trip| trip.taught_s),
    ];
    for (name, estimate) in kinds.iter().take(2) {
        found.rows.push(row(&format!("{name}, all trips"), &trips, *estimate, 1.0));
    }
    for (name, estimate) in &kinds {
        found.rows.push(row(&format!("{name}, odd trips"), &judge, *estimate, 1.0));
    }
    for (name, estimate) in &kinds {
        let factor = factor(&fit, *estimate);
        let name = format!("{name}, x {factor:.2}, odd trips");
        found.rows.push(row(&name, &judge, *estimate, factor));
    }
    found.time_pct = (f64::from(args.city.time_pct) * factor(&fit, kinds[1].1)).round();
    answer(args.json, &found, || text(&found))
}

/// From one fix to so many later the roads learn: a minute of Porto's trips, so that waiting at a
/// light counts.
const HOP_FIXES: usize = 4;
/// Fewer trips than this say nothing.
const TRIPS_MIN: usize = 4;

/// What estimates must be multiplied with: the median of truth over estimate.
fn factor(trips: &[Trip], estimate: Estimate) -> f64 {
    let mut ratios: Vec<f64> = trips.iter().map(|t| t.real_s / estimate(t).max(1.0)).collect();
    ratios.sort_by(f64::total_cmp);
    percentile(&ratios, 50)
}

/// Shows the roads a trip, fix by fix. How many drives they could learn from.
fn teach(roads: &Roads, trip: &Trip, every_s: u32) -> usize {
    let took_ms = u64::from(every_s) * 1_000 * HOP_FIXES as u64;
    let hops = trip.fixes.windows(HOP_FIXES + 1).step_by(HOP_FIXES);
    hops.filter(|hop| roads.observe(hop[0], hop[HOP_FIXES], took_ms).is_ok()).count()
}

/// The usable trips.
fn trips(args: &Args, roads: &Roads, found: &mut Evaluation) -> Result<Vec<Trip>, TripsError> {
    let path = &args.trips;
    let rows = Rows::open(path, &ProgressBar::hidden())?;
    let polyline = rows.column("POLYLINE")?;
    let rows = rows.collect(|row| Ok(row.text(polyline).to_owned()))?;
    found.read = rows.len();
    let bar = bar(rows.len() as u64, "{elapsed_precise} [{bar:40}] {pos}/{len} trips");
    let mut trips = Vec::new();
    for (row, polyline) in rows.iter().enumerate() {
        bar.inc(1);
        let fixes: Vec<(f64, f64)> = serde_json::from_str(polyline)
            .map_err(|source| TripsError::Polyline { row: row + 1, source })?;
        let fixes: Vec<Point> = fixes.into_iter().filter_map(fix).collect();
        let real_ms = fixes.len().saturating_sub(1) as u64 * u64::from(args.every_s) * 1_000;
        if fixes.len() < 2 || real_ms < u64::from(args.at_least_s) * 1_000 {
            found.too_short += 1;
            continue;
        }
        let (from, to) = (fixes[0], fixes[fixes.len() - 1]);
        let Ok(eta_ms) = roads.eta_ms(from, to) else {
            found.off_road += 1;
            continue;
        };
        let road_cm = metres(from, to) * f64::from(args.detour_pct);
        trips.push(Trip {
            fixes,
            real_s: seconds(real_ms),
            straight_s: road_cm / f64::from(args.speed_cms.max(1)),
            roads_s: seconds(eta_ms),
            taught_s: 0.0,
        });
    }
    bar.finish_and_clear();
    Ok(trips)
}

#[expect(clippy::cast_precision_loss, reason = "no drive takes 2^52 ms")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

fn fix((lng, lat): (f64, f64)) -> Option<Point> {
    Point::from_degrees(lat, lng).ok()
}

fn row(name: &str, trips: &[Trip], estimate: Estimate, factor: f64) -> Row {
    let off: Vec<f64> = trips.iter().map(|trip| estimate(trip) * factor - trip.real_s).collect();
    let sorted = |values: &mut dyn Iterator<Item = f64>| {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let sizes = sorted(&mut off.iter().map(|off_s| off_s.abs()));
    let shares = sorted(&mut off.iter().zip(trips).map(|(off_s, trip)| off_s.abs() / trip.real_s));
    #[expect(clippy::cast_precision_loss, reason = "few trips")]
    let bias_s = off.iter().sum::<f64>() / off.len() as f64;
    Row {
        estimate: name.to_owned(),
        trips: trips.len(),
        median_abs_s: percentile(&sizes, 50),
        p90_abs_s: percentile(&sizes, 90),
        bias_s,
        median_abs_pct: percentile(&shares, 50) * 100.0,
    }
}

fn text(found: &Evaluation) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY);
    table.set_header([
        "estimate",
        "trips",
        "median |error|, s",
        "of the trip, %",
        "p90 |error|, s",
        "bias, s",
    ]);
    for row in &found.rows {
        let whole = |figure: f64| format!("{figure:.0}");
        table.add_row([
            row.estimate.clone(),
            row.trips.to_string(),
            whole(row.median_abs_s),
            whole(row.median_abs_pct),
            whole(row.p90_abs_s),
            format!("{:+.0}", row.bias_s),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let Evaluation { read, too_short, off_road, median_trip_s, learned, time_pct, .. } = found;
    format!(
        "{read} trips read, {too_short} too short, {off_road} off the roads; the median trip took {median_trip_s:.0} s.\n\
         The even trips (the first, the third, ...) are for fitting: factors are medians of truth over\n\
         estimate, and roads were taught by {learned} drives of theirs of {HOP_FIXES} fixes each. All is judged on\n\
         the odd ones. What fits: --time-pct {time_pct:.0}\n{table}"
    )
}
