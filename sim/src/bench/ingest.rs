//! `hansom bench ingest`: how many positions a second real nodes apply, through the door of edge
//! gateways, each acknowledged when a search finds it; beside what Redis and a bare handler do with
//! the same positions on the same machine in the same run.

mod compare;
mod kill;
mod row;

pub use kill::Killed;
pub use row::{Report, Row};

use super::BenchError;
use super::converse::{Manner, Phase};
use super::edge;
use super::load::{Fates, Pinging, Span, Under, WRITE_AT, span};
use super::machine::Usage;
use super::output::Measured;
use super::series::{Sample, Series};
use super::stage::Stage;
use super::traffic::{CITY, Car, Flock};
use super::verify::verify;
use compare::Compared;
use proto::units::Clock;
use proto::{DriverId, WallMs};
use row::Costs;
use std::sync::Arc;
use std::time::Duration;

/// What else is measured in the same run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Compare {
    /// A local redis-server, four pipelined commands a ping, at 16 and at 64 pings a batch.
    Redis,
    /// A bare axum handler, one ping a request as JSON; beside a node that is asked the same way.
    Axum,
}

/// How.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Examples:
  hansom bench ingest --drivers 100000,300000 --seconds 60 --verify --plot ingest.svg
  hansom bench ingest --compare redis
  hansom bench ingest --compare axum --connections 64
  hansom bench ingest --nodes 3
  hansom bench ingest --nodes 3 --kill
  hansom bench ingest --nodes 3 --skew 50 --warm 20")]
pub struct IngestArgs {
    /// How many drivers, registered and on duty; a row for each number.
    #[arg(long, default_value = "100000", value_delimiter = ',', value_name = "N,...", value_parser = drivers)]
    pub drivers: Vec<usize>,
    /// Pings in a frame.
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4_096))]
    pub batch: u16,
    /// Connections, in turn to the nodes.
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub connections: u16,
    /// Frames unanswered on each connection, if the node takes as many.
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4_096))]
    pub window: u16,
    /// Nodes.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=7))]
    pub nodes: u8,
    /// For how long each row is measured.
    #[arg(long, default_value_t = 10, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub seconds: u64,
    /// For how long each row runs before it is measured; long enough to split a hot cell.
    #[arg(long, default_value_t = 3, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=600))]
    pub warm: u64,
    /// Pings a second; as many as go if nothing is said.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// A second row with so many percent of the traffic in one cell of resolution 7.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub skew: Option<u8>,
    /// Kill the last node under --rate pings a second (100,000 if nothing is said) and measure until
    /// its cells answer again. Takes two nodes or more.
    #[arg(long)]
    pub kill: bool,
    /// After each row of the last run, search for every driver at his last position.
    #[arg(long)]
    pub verify: bool,
    /// Measure something else beside it.
    #[arg(long, value_name = "WHAT")]
    pub compare: Option<Compare>,
    /// Further flags for the nodes, as one text.
    #[arg(long, default_value = "", value_name = "FLAGS", allow_hyphen_values = true)]
    pub node_flags: String,
}

/// As many as the nodes have room for in a city of this size.
const DRIVERS_MAX: usize = 2_000_000;

pub(super) fn drivers(text: &str) -> Result<usize, String> {
    let parsed = text.parse::<usize>().ok().filter(|n| (1..=DRIVERS_MAX).contains(n));
    parsed.ok_or_else(|| format!("must be 1 to {DRIVERS_MAX}"))
}

/// One thing that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Plan {
    drivers: usize,
    batch: usize,
    skew_pct: u8,
}

impl IngestArgs {
    fn plans(&self) -> Vec<Plan> {
        let batches = match self.compare {
            Some(Compare::Redis) => vec![16, 64],
            Some(Compare::Axum) => vec![],
            None => vec![usize::from(self.batch)],
        };
        let skews: Vec<u8> = std::iter::once(0).chain(self.skew).collect();
        let mut plans = Vec::new();
        for drivers in &self.drivers {
            for batch in &batches {
                let plan =
                    |skew_pct: &u8| Plan { drivers: *drivers, batch: *batch, skew_pct: *skew_pct };
                plans.extend(skews.iter().map(plan));
            }
        }
        plans
    }

    fn lasts(&self) -> (Duration, Duration) {
        (Duration::from_secs(self.warm), Duration::from_secs(self.seconds))
    }
}

/// Everything that the rows share.
struct Bench<'a> {
    args: &'a IngestArgs,
    stage: &'a Stage,
    drivers: &'a [DriverId],
    clock: &'a Arc<dyn Clock>,
    /// What the phones' clocks have come to: pings of a later row must be newer.
    at: WallMs,
    series: Vec<Series>,
}

/// Measures so many runs.
pub async fn run(
    args: &IngestArgs,
    runs: u32,
    clock: Arc<dyn Clock>,
) -> Result<Measured<Report>, BenchError> {
    if args.kill && args.nodes < 2 {
        return Err(BenchError::Usage("--kill takes --nodes 2 or more".into()));
    }
    let flags = args.node_flags.split_whitespace().map(str::to_owned).collect();
    let stage = Stage::start(usize::from(args.nodes), flags, Arc::clone(&clock)).await?;
    let most = args.drivers.iter().copied().max().unwrap_or(1);
    let began = clock.mono();
    let drivers = stage.register(most).await?;
    let registering_s = clock.mono().since(began) as f64 / 1_000.0;
    let mut bench = Bench {
        args,
        stage: &stage,
        drivers: &drivers,
        clock: &clock,
        at: WallMs(0),
        series: Vec::new(),
    };
    let mut reports = Vec::new();
    for run in 1..=runs {
        bench.series.clear();
        let (rows, notes) =
            bench.rows(run == runs).await.map_err(|error| stage.with_logs(error))?;
        let killed = match args.kill {
            true => Some(bench.kill(most).await.map_err(|error| stage.with_logs(error))?),
            false => None,
        };
        let report = Report {
            city: CITY.into(),
            nodes: args.nodes,
            connections: args.connections,
            window: args.window,
            registered: most,
            registering_s,
            ratios: compare::ratios(&rows),
            rows,
            killed,
            notes,
        };
        reports.push(report);
    }
    Ok(Measured { bench: "ingest", runs: reports, series: bench.series })
}

impl Bench<'_> {
    /// Every row once.
    async fn rows(&mut self, last: bool) -> Result<(Vec<Row>, Vec<String>), BenchError> {
        let (mut rows, mut notes) = (Vec::new(), Vec::new());
        for plan in self.args.plans() {
            rows.push(self.frames(plan, last).await?);
        }
        match self.args.compare {
            None => {}
            Some(Compare::Redis) => match super::redis::installed() {
                None => notes.push("redis-server is not installed: nothing is compared".into()),
                Some(version) => {
                    for plan in self.args.plans() {
                        rows.push(self.redis(plan, &version).await?);
                    }
                }
            },
            Some(Compare::Axum) => {
                rows.push(self.json(Compared::Bare).await?);
                rows.push(self.json(Compared::Node).await?);
            }
        }
        Ok((rows, notes))
    }

    /// Flocks whose clocks go on where those of the last row ended.
    fn flocks(&self, plan: Plan) -> Vec<Flock> {
        let drivers = &self.drivers[..plan.drivers.min(self.drivers.len())];
        let connections = usize::from(self.args.connections).min(drivers.len());
        let flocks = Flock::spread(drivers, connections, plan.skew_pct, 1);
        let at = self.at.plus_ms(1);
        flocks.into_iter().map(|flock| flock.not_before(at)).collect()
    }

    /// How each of so many connections is used.
    fn manner(&self, window: usize, batch: usize, connections: usize) -> Manner {
        let frames = (batch * connections).max(1) as f64;
        let per_s = self.args.rate.map(|rate| f64::from(rate) / frames);
        Manner { window, per_s, write_at: WRITE_AT }
    }

    /// Frames to the edge door.
    async fn frames(&mut self, plan: Plan, last: bool) -> Result<Row, BenchError> {
        let (edges, phase) = (self.stage.edges(), Phase::default());
        let mut window = usize::from(self.args.window);
        let (mut talks, mut changes) = (Vec::new(), 0.0);
        for (flock, number) in self.flocks(plan).into_iter().zip(0usize..) {
            let (stream, most) = edge::open(edges[number % edges.len()]).await?;
            window = window.min(most);
            changes = if number == 0 { flock.changes_pct() } else { changes };
            talks.push((stream, Pinging::new(flock, plan.batch, Arc::clone(self.clock))));
        }
        let what = plan.name();
        let manner = self.manner(window, plan.batch, talks.len());
        let load = Under::load(talks, &manner, &phase, self.clock);
        let applied_before = self.stage.applied().await;
        let lasts = self.args.lasts();
        let span = span(&phase, lasts, self.clock, || self.stage.usage(), &what).await;
        let (talks, samples) = load.ended().await?;
        let applied_after = self.stage.applied().await;
        let mut fates = Fates::default();
        talks.iter().for_each(|talk| fates.add(talk.fates));
        self.at = talks.iter().map(|talk| talk.flock.at()).max().unwrap_or(self.at);
        let cars =
            || -> Vec<Car> { talks.iter().flat_map(|talk| talk.flock.cars()).copied().collect() };
        let verified = match self.args.verify && last {
            true => Some(verify(&edges, cars(), self.clock).await?),
            false => None,
        };
        let row = self.row(what, plan, &samples, span);
        let by_node: Vec<f64> =
            applied_before.iter().zip(&applied_after).map(|(old, new)| new - old).collect();
        let Fates { applied: _, stale, refused, lost } = fates;
        let node_shares_pct = row::shares(&by_node);
        Ok(Row { stale, refused, lost, changes_pct: changes, node_shares_pct, verified, ..row })
    }

    /// The figures that every row has.
    fn row(&mut self, what: String, plan: Plan, samples: &[Sample], span: Span) -> Row {
        self.series.push(Series::of(what.as_str(), samples));
        Row::of(what, plan.batch, plan.drivers, samples, Costs::of(span))
    }

    /// The system's word on a process that is compared.
    async fn measured<T: super::converse::Talk>(
        &mut self,
        (what, plan): (String, Plan),
        load: Under<T>,
        phase: &Phase,
        usage: impl Fn() -> Usage,
    ) -> Result<(Vec<T>, Row), BenchError> {
        let span = span(phase, self.args.lasts(), self.clock, usage, &what).await;
        let (talks, samples) = load.ended().await?;
        let row = self.row(what, plan, &samples, span);
        Ok((talks, row))
    }
}

impl Plan {
    fn name(&self) -> String {
        let skewed = match self.skew_pct {
            0 => String::new(),
            pct => format!(", {pct} % in one cell"),
        };
        format!("hansom, {} drivers, {} a frame{skewed}", self.drivers, self.batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(Debug, clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: IngestArgs,
    }

    fn plans(flags: &[&str]) -> Vec<(usize, usize, u8)> {
        let args = Cli::parse_from([&["x"], flags].concat()).args;
        args.plans().into_iter().map(|plan| (plan.drivers, plan.batch, plan.skew_pct)).collect()
    }

    #[test]
    fn flags_say_which_rows_there_are() {
        assert_eq!(plans(&[]), [(100_000, 64, 0)]);
        assert_eq!(plans(&["--drivers", "5,7"]), [(5, 64, 0), (7, 64, 0)]);
        assert_eq!(plans(&["--drivers", "5", "--skew", "50"]), [(5, 64, 0), (5, 64, 50)]);
        assert_eq!(plans(&["--compare", "redis"]), [(100_000, 16, 0), (100_000, 64, 0)]);
        assert_eq!(plans(&["--compare", "axum"]), []);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for flags in [["--drivers", "0"], ["--batch", "5000"], ["--skew", "101"], ["--nodes", "9"]]
        {
            assert!(Cli::try_parse_from([&["x"], &flags[..]].concat()).is_err(), "{flags:?}");
        }
    }
}
