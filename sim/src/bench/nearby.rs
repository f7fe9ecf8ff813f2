//! `hansom bench nearby`: how many searches a second nodes answer, first alone, then paced while
//! positions go in; and whether the answers are what a look at every car gives.

mod oracle;

use super::BenchError;
use super::converse::{Manner, Phase, Talk};
use super::edge::{self, answer, first, senseless};
use super::load::{Pinging, Span, Under, WRITE_AT, next, span};
use super::output::{Measured, table};
use super::series::{Sample, Series, took_ms};
use super::stage::Stage;
use super::traffic::{Area, CITY, Car, Flock};
use super::verify::{Verified, near, verify};
use crate::dice::Dice;
use crate::stats::Spread;
use oracle::{Answered, wrong};
use proto::edge::{Found, Kind};
use proto::units::Clock;
use proto::{DriverId, Point};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// How.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Examples:
  hansom bench nearby
  hansom bench nearby --nodes 3 --seconds 30 --plot nearby.svg")]
pub struct NearbyArgs {
    /// How many drivers, registered and on duty.
    #[arg(long, default_value = "100000", value_name = "N", value_parser = super::ingest::drivers)]
    pub drivers: usize,
    /// Connections that search, in turn to the nodes.
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub connections: u16,
    /// Searches unanswered on each.
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4_096))]
    pub window: u16,
    /// How many drivers a search wants.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=200))]
    pub nearest: u16,
    /// Within how many metres.
    #[arg(long, default_value_t = 5_000, value_name = "M", value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub radius_m: u32,
    /// Nodes.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=7))]
    pub nodes: u8,
    /// For how long each row is measured.
    #[arg(long, default_value_t = 10, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub seconds: u64,
    /// Searches a second in the mixed row.
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub mixed_searches: u32,
    /// Pings a second in the mixed row.
    #[arg(long, default_value_t = 200_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub mixed_pings: u32,
    /// Further flags for the nodes, as one text.
    #[arg(long, default_value = "", value_name = "FLAGS", allow_hyphen_values = true)]
    pub node_flags: String,
}

/// Connections that ping, and pings in their frames.
const PINGERS: usize = 4;
const BATCH: usize = 64;
const PING_WINDOW: usize = 32;
/// How often each parked car is heard of, in seconds: often enough to be found.
const PARKED_EVERY_S: f64 = 10.0;
/// Before a row is measured.
const WARM: Duration = Duration::from_secs(2);
/// Answers of each connection that are compared with a look at every car.
const COMPARED: usize = 50;

/// One row.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Row {
    /// What.
    pub what: String,
    /// Searches answered a second.
    pub per_s: f64,
    /// How long an answer took: the median, in milliseconds.
    pub p50_ms: f64,
    /// The 99th percentile.
    pub p99_ms: f64,
    /// Pings applied a second meanwhile.
    pub pings_per_s: f64,
    /// CPU of the nodes per search, in microseconds, pings and all.
    pub cpu_us_server: f64,
    /// Drivers in an answer.
    pub found: f64,
    /// Answers that said that some owner was missing.
    pub partial: u64,
    /// Answers that were compared with a look at every car.
    pub compared: usize,
    /// Those that were wrong.
    pub wrong: usize,
}

/// A run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Where the cars were.
    pub city: String,
    /// Nodes.
    pub nodes: u8,
    /// Drivers.
    pub drivers: usize,
    /// How many drivers a search wanted.
    pub nearest: u16,
    /// Within how many metres.
    pub radius_m: u32,
    /// Whether all drivers were there before the first search.
    pub before: Verified,
    /// What was measured.
    pub rows: Vec<Row>,
}

impl Report {
    /// For people.
    pub fn table(&self) -> String {
        let header = [
            "",
            "searches/s",
            "p50 ms",
            "p99 ms",
            "pings/s",
            "server CPU us",
            "found",
            "partial",
            "compared, wrong",
        ];
        let rows = self.rows.iter().map(|row| {
            [
                row.what.clone(),
                format!("{:.0}", row.per_s),
                format!("{:.2}", row.p50_ms),
                format!("{:.2}", row.p99_ms),
                format!("{:.0}", row.pings_per_s),
                format!("{:.1}", row.cpu_us_server),
                format!("{:.1}", row.found),
                row.partial.to_string(),
                format!("{}, {}", row.compared, row.wrong),
            ]
        });
        let Self { city, nodes, drivers, nearest, radius_m, before, .. } = self;
        format!(
            "{city}; {nodes} node(s), {drivers} drivers ({} not found before); nearest {nearest} \
             within {radius_m} m, at uniform random points\n{}",
            before.misplaced,
            table(header, rows)
        )
    }
}

/// Searches at random points.
struct Searching {
    dice: Dice,
    area: Area,
    nearest: u16,
    radius_m: u32,
    number: u32,
    /// Where the next answers are about.
    centers: VecDeque<Point>,
    found: u64,
    answers: u64,
    partial: u64,
    kept: Vec<Answered>,
}

impl Talk for Searching {
    fn ask(&mut self, to: &mut Vec<u8>) -> bool {
        let (lat, lng) = self.area.anywhere(&mut self.dice);
        let Ok(center) = Point::from_e7(lat, lng) else { return false };
        self.number = next(self.number);
        near(center, self.radius_m, self.nearest).put(self.number, to);
        self.centers.push_back(center);
        true
    }
    fn hear(&mut self, heard: &[u8], counts: bool) -> Result<Option<(usize, u32)>, BenchError> {
        let Some(frame) = first(heard)? else { return Ok(None) };
        let (_, body) = answer(&frame, Kind::Found)?;
        let Found { partial, drivers } = Found::get(body).map_err(senseless)?;
        let center = self.centers.pop_front();
        if counts {
            self.answers += 1;
            self.found += drivers.len() as u64;
            self.partial += u64::from(partial);
            if let Some(center) = center.filter(|_| !partial && self.kept.len() < COMPARED) {
                self.kept.push(Answered { center, drivers });
            }
        }
        Ok(Some((frame.size(), 1)))
    }
}

struct Bench<'a> {
    args: &'a NearbyArgs,
    stage: &'a Stage,
    clock: &'a Arc<dyn Clock>,
    flocks: Vec<Flock>,
    series: Vec<Series>,
}

/// Measures so many runs.
pub async fn run(
    args: &NearbyArgs,
    runs: u32,
    clock: Arc<dyn Clock>,
) -> Result<Measured<Report>, BenchError> {
    let flags = args.node_flags.split_whitespace().map(str::to_owned).collect();
    let stage = Stage::start(usize::from(args.nodes), flags, Arc::clone(&clock)).await?;
    let drivers: Vec<DriverId> = stage.register(args.drivers).await?;
    let flocks = Flock::spread(&drivers, PINGERS.min(drivers.len()), 0, 1);
    let mut bench = Bench { args, stage: &stage, clock: &clock, flocks, series: Vec::new() };
    let mut reports = Vec::new();
    for run in 1..=runs {
        bench.series.clear();
        let measured = bench.report(run).await;
        reports.push(measured.map_err(|error| stage.with_logs(error))?);
    }
    Ok(Measured { bench: "nearby", runs: reports, series: bench.series })
}

impl Bench<'_> {
    async fn report(&mut self, run: u32) -> Result<Report, BenchError> {
        let before = self.settle().await?;
        let alone = self.row(run, None).await?;
        let mixed = self.row(run, Some(self.args.mixed_searches)).await?;
        let &NearbyArgs { nodes, drivers, nearest, radius_m, .. } = self.args;
        let rows = vec![alone, mixed];
        Ok(Report { city: CITY.into(), nodes, drivers, nearest, radius_m, before, rows })
    }

    /// Parks all cars where the nodes know them.
    async fn settle(&mut self) -> Result<Verified, BenchError> {
        let phase = Phase::default();
        let (load, _) = self.pinging(&phase, None, false).await?;
        super::progress::wait(WARM, "placing all drivers").await;
        phase.end();
        self.take_back(load).await?;
        verify(&self.stage.edges(), self.cars(), self.clock).await
    }

    fn cars(&self) -> Vec<Car> {
        self.flocks.iter().flat_map(Flock::cars).copied().collect()
    }

    /// Has the flocks ping: so many pings a second in all, or as many as go.
    async fn pinging(
        &mut self,
        phase: &Phase,
        pings_per_s: Option<f64>,
        moving: bool,
    ) -> Result<(Under<Pinging>, usize), BenchError> {
        let edges = self.stage.edges();
        let (mut talks, mut window) = (Vec::new(), PING_WINDOW);
        for (flock, number) in std::mem::take(&mut self.flocks).into_iter().zip(0usize..) {
            let (stream, most) = edge::open(edges[number % edges.len()]).await?;
            window = window.min(most);
            let flock = if moving { flock.moving() } else { flock.parked() };
            talks.push((stream, Pinging::new(flock, BATCH, Arc::clone(self.clock))));
        }
        let pingers = talks.len().max(1);
        let per_s = pings_per_s.map(|all| all / BATCH as f64 / pingers as f64);
        let manner = Manner { window, per_s, write_at: WRITE_AT };
        Ok((Under::load(talks, &manner, phase, self.clock), pingers))
    }

    /// Ends the pinging; how many pings were applied of those that count.
    async fn take_back(&mut self, load: Under<Pinging>) -> Result<u64, BenchError> {
        let (talks, _) = load.ended().await?;
        let applied = talks.iter().map(|talk| talk.fates.applied).sum();
        self.flocks = talks.into_iter().map(|talk| talk.flock).collect();
        Ok(applied)
    }

    /// Searches: as many as go over parked cars, or so many a second over cars that drive.
    async fn row(&mut self, run: u32, searches_per_s: Option<u32>) -> Result<Row, BenchError> {
        let phase = Phase::default();
        let args = self.args;
        let pings_per_s = match searches_per_s {
            Some(_) => f64::from(args.mixed_pings),
            None => args.drivers as f64 / PARKED_EVERY_S,
        };
        let (pinging, _) =
            self.pinging(&phase, Some(pings_per_s), searches_per_s.is_some()).await?;
        let edges = self.stage.edges();
        let (mut talks, mut window) = (Vec::new(), usize::from(args.window));
        for number in 0..usize::from(args.connections) {
            let (stream, most) = edge::open(edges[number % edges.len()]).await?;
            window = window.min(most);
            talks.push((stream, self.searching(run, number)));
        }
        let per_s = searches_per_s.map(|all| f64::from(all) / f64::from(args.connections));
        let manner = Manner { window, per_s, write_at: WRITE_AT };
        let searching = Under::load(talks, &manner, &phase, self.clock);
        let what = match searches_per_s {
            None => "searches alone".to_owned(),
            Some(all) => format!("{all} searches/s while {} pings/s go in", args.mixed_pings),
        };
        let lasts = (WARM, Duration::from_secs(args.seconds));
        let span = span(&phase, lasts, self.clock, || self.stage.usage(), &what).await;
        let (talks, samples) = searching.ended().await?;
        let applied = self.take_back(pinging).await?;
        self.series.push(Series::of(what.as_str(), &samples));
        let row = figures(what, &samples, span, applied, &talks);
        if searches_per_s.is_some() {
            return Ok(row); // cars drive on while an answer is under way
        }
        let cars = self.cars();
        let kept: Vec<Answered> = talks.into_iter().flat_map(|talk| talk.kept).collect();
        let wrong = wrong(&kept, &cars, args.radius_m, usize::from(args.nearest));
        Ok(Row { compared: kept.len(), wrong, ..row })
    }

    fn searching(&self, run: u32, number: usize) -> Searching {
        Searching {
            dice: Dice::of(u64::from(run), &format!("searches {number}")),
            area: Area::city(),
            nearest: self.args.nearest,
            radius_m: self.args.radius_m,
            number: 0,
            centers: VecDeque::new(),
            found: 0,
            answers: 0,
            partial: 0,
            kept: Vec::new(),
        }
    }
}

fn figures(what: String, samples: &[Sample], span: Span, applied: u64, talks: &[Searching]) -> Row {
    let a_second = |count: u64| count as f64 * 1e6 / span.lasted_us.max(1) as f64;
    let answers: u64 = talks.iter().map(|talk| talk.answers).sum();
    let found: u64 = talks.iter().map(|talk| talk.found).sum();
    let Spread { p50, p99, .. } = took_ms(samples);
    Row {
        what,
        per_s: a_second(samples.len() as u64),
        p50_ms: p50,
        p99_ms: p99,
        pings_per_s: a_second(applied),
        cpu_us_server: span.server_cpu_us as f64 / samples.len().max(1) as f64,
        found: found as f64 / answers.max(1) as f64,
        partial: talks.iter().map(|talk| talk.partial).sum(),
        compared: 0,
        wrong: 0,
    }
}
