//! `hansom roads bench`.

use super::{City, Failure, answer, bar, percentile};
use crate::hierarchy::Direction;
use crate::index::Snap;
use crate::places::Places;
use crate::roads::{Oracle, Roads};
use comfy_table::{CellAlignment, Table, presets};
use proto::Point;
use proto::units::Clock;
use serde::Serialize;

/// Flags of `hansom roads bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    city: City,
    /// Cars in each query.
    #[arg(long, default_value_t = 50)]
    cars: usize,
    /// The cars are drawn from a circle around the pickup of so many metres, and again from the
    /// whole city.
    #[arg(long, default_value_t = 5_000.0)]
    within_m: f64,
    /// Queries of each kind; medians are over these.
    #[arg(long, default_value_t = 200)]
    rounds: u64,
    /// Where places are drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
}

/// One kind of work, in microseconds.
#[derive(Debug, Serialize)]
struct Row {
    what: String,
    median_us: f64,
    p99_us: f64,
    /// How many times slower Dijkstra's algorithm was on the same query in the same run.
    dijkstra_times: Option<f64>,
}

pub(super) fn run(args: &Args, clock: &dyn Clock) -> Result<(), Failure> {
    let us = |began: u64| micros(clock.precise_us() - began);
    let began = clock.precise_us();
    let roads = args.city.open()?;
    let open_us = us(began);
    let oracle = roads.oracle();
    let mut places = Places::new(&roads, args.seed);
    let bar = bar(args.rounds, "{elapsed_precise} [{bar:40}] {pos}/{len} rounds");
    let mut near = Kinds::default();
    let mut anywhere = Kinds::default();
    let (mut snap, mut customize) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        let pickup = places.draw();
        for (kinds, within_m) in [(&mut near, args.within_m), (&mut anywhere, f64::INFINITY)] {
            let car = |_| places.near(pickup, within_m).unwrap_or(pickup);
            let cars: Vec<Point> = (0..args.cars).map(car).collect();
            let began = clock.precise_us();
            let snapped: Result<Vec<Snap>, _> = cars.iter().map(|car| roads.snap(*car)).collect();
            snap.push(us(began) / micros(args.cars.max(1) as u64));
            let (pickup, cars) = (roads.snap(pickup)?, snapped?);
            if !kinds.round(&roads, &oracle, &pickup, &cars, clock) {
                return Err(Failure::Wrong { wrong: 1, asked: args.rounds });
            }
        }
        bar.inc(1);
    }
    for _ in 0..args.rounds.min(CUSTOMIZED_MAX) {
        let began = clock.precise_us();
        roads.recustomize();
        customize.push(us(began));
    }
    bar.finish_and_clear();
    let (n, km) = (args.cars, args.within_m / 1_000.0);
    let mut rows = vec![
        Row::of("open the file, contract, customize, index", vec![open_us], None),
        Row::of("find the street of a place", snap, None),
    ];
    rows.extend(near.rows(&format!("{n} within {km} km")));
    rows.extend(anywhere.rows(&format!("{n} anywhere")));
    rows.push(Row::of("customize to new times", customize, None));
    answer(args.json, &rows, || table(&rows).to_string())
}

/// Customizing is timed this often at most: it takes a thousand times as long as a query.
const CUSTOMIZED_MAX: u64 = 20;

/// Times of the kinds of query, in microseconds.
#[derive(Debug, Default)]
struct Kinds {
    into: Vec<f64>,
    into_slow: Vec<f64>,
    out: Vec<f64>,
    out_slow: Vec<f64>,
    pair: Vec<f64>,
}

impl Kinds {
    /// Asks everything once; whether the answers are Dijkstra's.
    fn round(
        &mut self,
        roads: &Roads,
        oracle: &Oracle,
        pickup: &Snap,
        cars: &[Snap],
        clock: &dyn Clock,
    ) -> bool {
        let timed = |into: &mut Vec<f64>, work: &dyn Fn() -> Vec<u64>| {
            let began = clock.precise_us();
            let answer = work();
            into.push(micros(clock.precise_us() - began));
            answer
        };
        let Self { into, into_slow, out, out_slow, pair } = self;
        let to_pickup = timed(into, &|| roads.many_to_one(cars, pickup));
        let truth = timed(into_slow, &|| roads.slow(oracle, Direction::Into, pickup, cars));
        let from_pickup = timed(out, &|| roads.one_to_many(pickup, cars));
        let truth_out = timed(out_slow, &|| roads.slow(oracle, Direction::Out, pickup, cars));
        timed(pair, &|| roads.one_to_many(pickup, &cars[..cars.len().min(1)]));
        to_pickup == truth && from_pickup == truth_out
    }

    fn rows(self, cars: &str) -> [Row; 5] {
        let Self { into, into_slow, out, out_slow, pair } = self;
        [
            Row::of(&format!("{cars} to one place"), into, Some(&into_slow)),
            Row::of(&format!("one place to {cars}"), out, Some(&out_slow)),
            Row::of(&format!("one place to one of {cars}"), pair, None),
            Row::of(&format!("Dijkstra, {cars} to one place"), into_slow, None),
            Row::of(&format!("Dijkstra, one place to {cars}"), out_slow, None),
        ]
    }
}

impl Row {
    fn of(what: &str, mut values: Vec<f64>, slow: Option<&[f64]>) -> Self {
        values.sort_by(f64::total_cmp);
        let median_us = percentile(&values, 50);
        let dijkstra_times = slow.map(|slow| {
            let mut slow = slow.to_vec();
            slow.sort_by(f64::total_cmp);
            percentile(&slow, 50) / median_us.max(0.1)
        });
        Self { what: what.to_owned(), median_us, p99_us: percentile(&values, 99), dijkstra_times }
    }
}

#[expect(clippy::cast_precision_loss, reason = "no run takes 2^52 us")]
fn micros(us: u64) -> f64 {
    us as f64
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY);
    table.set_header(["", "median, us", "p99, us", "Dijkstra takes"]);
    for row in rows {
        let times = row.dijkstra_times.map(|times| format!("{times:.0} x as long"));
        let figure = |us: f64| format!("{us:.1}");
        let cells = [row.what.clone(), figure(row.median_us), figure(row.p99_us)];
        table.add_row(cells.into_iter().chain([times.unwrap_or_default()]));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
